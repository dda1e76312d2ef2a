"""The cells of the interop matrix, as a test: the async payment on a testbed of each combination of implementations.

`testbed matrix` runs this file for the selected combinations (harness.scenarios.matrix). Another suite
imports both functions and provides its combinations with a fixture `combination`.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from harness.pytest_plugin import running_testbed
from harness.scenarios.async_payment import ROLES, AsyncPayment
from harness.scenarios.matrix import ALL_STEPS
from harness.testbed import Testbed
from harness.topology import load


@pytest.fixture
def testbed(combination: dict[str, str], pytestconfig: pytest.Config) -> Iterator[Testbed]:
    """A testbed of this combination: the implementation of each node, by its name."""
    with running_testbed(load("line", combination), pytestconfig) as running:
        yield running


def test_async_payment(testbed: Testbed, record_property: Callable[[str, object], None]) -> None:
    """A pays B, and the two are never online at the same time. Record the payment's duration in seconds, the steps that
    were reached, and how LSP_a released the payment.
    """
    payment, began = AsyncPayment(testbed), time.monotonic()
    try:
        moved_msat = payment.play()
    finally:
        record_property("seconds", round(time.monotonic() - began, 1))
        record_property("steps", tuple(sorted(reached.step.number for reached in payment.reached)))
    record_property("how", _how(testbed))
    assert tuple(sorted(reached.step.number for reached in payment.reached)) == ALL_STEPS
    assert moved_msat[ROLES.payee] > 0
    assert moved_msat[ROLES.payer] == -sum(msat for name, msat in moved_msat.items() if name != ROLES.payer)


def _how(testbed: Testbed) -> str:
    """Return how LSP_a released the payment while A was offline, from its own event log."""
    done = {event["what"] for event in testbed.lsp(ROLES.payer_lsp).events()}
    if "claimed" in done:
        return "LSP_a paid in A's place"
    if any(push.method == "async_payments.settlement_pending" for push in testbed.push.pushes(ROLES.payer)):
        return "forwarded, A called for its preimage"
    return "forwarded while A was away"
