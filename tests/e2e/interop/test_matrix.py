"""The whole payment for every combination of LND and Core Lightning as A, LSP_a, LSP_b and B, whose phones never meet
online. `testbed matrix` plays the same for people, and for the implementations that they choose.
"""

from collections.abc import Iterator

import pytest

from harness.pytest_plugin import running_testbed
from harness.scenarios.async_payment import ROLES, AsyncPayment
from harness.scenarios.matrix import ALL_STEPS, COMBINED, combinations
from harness.testbed import Testbed
from harness.topology import load

pytestmark = [pytest.mark.full, pytest.mark.seconds(60)]


@pytest.fixture(params=combinations(("lnd", "cln")), ids=lambda combined: "-".join(combined[role] for role in COMBINED))
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(load("line", request.param), request.config) as running:
        yield running


def test_the_payer_pays_and_the_two_are_never_online_together(testbed: Testbed) -> None:
    payment = AsyncPayment(testbed)
    moved_msat = payment.play()
    assert tuple(sorted(reached.step.number for reached in payment.reached)) == ALL_STEPS
    assert moved_msat[ROLES.payee] > 0
    assert moved_msat[ROLES.payer] == -sum(msat for name, msat in moved_msat.items() if name != ROLES.payer)
