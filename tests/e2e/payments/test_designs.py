"""LDK's own async payments between phones that reach only their LSPs, with the faults of docs/comparison.md.

What asyncpay makes of the same faults is in fault_injection; `make comparison` plays both.
"""

from collections.abc import Iterator

import pytest

from harness.pytest_plugin import running_testbed
from harness.scenarios.comparison import CASES, play
from harness.scenarios.designs import LdkNative
from harness.testbed import Testbed

pytestmark = [pytest.mark.full, pytest.mark.seconds(45)]

PAID = {"plain", "lsp-a-crash", "lsp-b-crash", "asleep"}
"""In the others the message for B is lost and not repeated, or the payment is too old when B is back."""


@pytest.fixture(scope="module")
def testbed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    with running_testbed(LdkNative.topology(), pytestconfig) as running:
        yield running


@pytest.fixture(scope="module")
def design(testbed: Testbed) -> LdkNative:
    design = LdkNative(testbed)
    design.prepare()
    return design


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_ldk_native(design: LdkNative, name: str) -> None:
    """The money of every node is counted in `play`."""
    (case,) = (each for each in CASES if each.name == name)
    run = play(design, case)
    assert run.paid == (name in PAID)
    assert (run.b_seconds is not None) == (name in PAID), "B has it while A is away, or not at all"
