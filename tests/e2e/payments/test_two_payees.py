"""One payer, two payees, one LSP: payments are released in the order in which the payees come online."""

from collections.abc import Iterator

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load
from tests.support.implementations import TOPOLOGIES
from tests.support.payment_harness import PaymentHarness, restore


@pytest.fixture(scope="module")
def testbed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    topology = load(TOPOLOGIES / "two-payees.yaml")
    with running_testbed(topology, pytestconfig) as running:
        restore(running.phones.values())
        yield running


def test_three_payments_released_in_another_order(testbed: Testbed) -> None:
    payments = PaymentHarness(testbed, balances.count(testbed))
    b, c = testbed.phone("B"), testbed.phone("C")
    first, second = payments.new_case(11_000_000, payee=b), payments.new_case(12_000_000, payee=b)
    third = payments.new_case(13_000_000, payee=c)
    b.disconnect()
    c.disconnect()
    for case in (first, second, third):
        case.hand_over()
    payments.wait_for_htlcs(A=3, LSP=3, B=0, C=0)
    c.reconnect()
    third.wait_until_paid()
    payments.wait_for_htlcs(A=2, LSP=2, B=0, C=0)  # the payment that B has not released was not forwarded
    payments.a.disconnect()
    b.reconnect()
    for case in (second, first):
        case.wait_until_paid()
    payments.a.reconnect()
    payments.assert_paid(first, second, third)
