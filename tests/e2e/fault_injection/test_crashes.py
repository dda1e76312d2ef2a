"""A fault in every service at every step of the protocol: a payment is paid once, or returned in full where outcomes.py
says why.
"""

import pytest

from harness.faults.targets import Fault, injected, target
from harness.testbed import Testbed
from tests.support.payment_harness import PaymentHarness

from .cells import cells
from .outcomes import assert_ended
from .steps import PAUSE_POINTS

pytestmark = pytest.mark.seconds(25)

TARGETS = ("A-wallet", "A", "LSP_a-lsp", "LSP_a", "router", "LSP_b-lsp", "LSP_b", "B-wallet", "B", "push")
"""The targets, with the names of harness.faults.targets; A and B are the phones' nodes."""

ALWAYS = {
    ("1-request", "LSP_a", Fault.KILL),
    ("2-accept", "LSP_a-lsp", Fault.KILL),
    ("3-pay", "A", Fault.KILL),
    ("3-held", "A-wallet", Fault.KILL),
    ("4-hand-over", "LSP_b-lsp", Fault.KILL),
    ("5-pending", "B-wallet", Fault.KILL),
    ("6-release", "push", Fault.KILL),
    ("7-let-go", "router", Fault.KILL),
    ("8-settle", "LSP_a", Fault.KILL),
}
"""The selection of `make test`: one crash at each step, on alternating targets."""

TABLE = [(step, name, fault) for step in PAUSE_POINTS for name in TARGETS for fault in Fault]


@pytest.fixture(scope="module")
def testbed(line_of_phones: Testbed) -> Testbed:
    return line_of_phones


@pytest.fixture
def payments(line_payments: PaymentHarness) -> PaymentHarness:
    return line_payments


@pytest.mark.parametrize(("step", "name", "fault"), cells(TABLE, ALWAYS))
def test_fault(payments: PaymentHarness, step: str, name: str, fault: Fault) -> None:
    payments.record_fault(f"{fault} {name}")
    with PAUSE_POINTS[step](payments, payee_sleeps=name == "push") as paused:
        with injected(target(payments.testbed, name), fault):
            paused.resume()
        paused.resume()
    assert_ended(payments, paused.case, step, name, fault)
