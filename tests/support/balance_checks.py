"""Checks of the balances after a payment from A to B through their common LSP."""

from asyncpay.lightning import PaymentResult, PaymentStatus
from harness.checks import balances
from harness.checks.balances import Balances
from harness.testbed import Testbed


def assert_paid_once(testbed: Testbed, before: Balances, result: PaymentResult, amount_msat: int) -> None:
    """Assert that B has the amount, the LSP has its fee, and A paid exactly their sum."""
    assert result.status is PaymentStatus.SUCCEEDED
    moved = balances.count(testbed).moved_since(before)
    assert moved == {"A": -amount_msat - result.fee_msat, "LSP": result.fee_msat, "B": amount_msat}
    assert result.fee_msat > 0


def assert_returned(testbed: Testbed, before: Balances, result: PaymentResult) -> None:
    """Assert that the payment failed, and all balances are as before."""
    assert result.status is PaymentStatus.FAILED
    assert balances.count(testbed) == before
