"""Parts are held and released together; an HTLC without a block is forwarded."""

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.wire.messages import BlockState, ReleaseStatus
from harness.services.lsp import htlcs_held
from harness.waits import wait_for
from tests.support.scripted_peer import Hold

from .hold_harness import AMOUNT_MSAT, HoldHarness


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_payment_is_held_until_it_is_released(payments: HoldHarness, parts: int) -> None:
    hold = payments.hold().ask().pay(parts).update(BlockState.HELD, parts)
    payments.assert_held(hold, parts)

    assert payments.release(hold) is ReleaseStatus.RELEASED

    hold.update(BlockState.SETTLED, parts)  # RELEASED may be skipped: an update has the state at its sending
    payments.assert_paid(hold)


def test_unblocked_payment_passes_while_another_is_held(payments: HoldHarness) -> None:
    held = payments.hold().ask().pay().update(BlockState.HELD)

    unblocked = payments.hold().pay(parts=2)
    assert unblocked.result().status is PaymentStatus.SUCCEEDED

    payments.assert_held(held, 1)
    assert payments.release(held) is ReleaseStatus.RELEASED
    payments.assert_paid(held, unblocked)


def test_pid_may_come_before_the_parts(payments: HoldHarness) -> None:
    hold = payments.hold().ask()
    assert payments.release(hold) is ReleaseStatus.RELEASED

    hold.pay(parts=2).update(BlockState.SETTLED, 2)

    payments.assert_paid(hold)


def test_pid_between_the_parts_waits_for_the_last(payments: HoldHarness) -> None:
    """One block for two payments: no part is forwarded before both are complete."""
    second = payments.b.invoice(AMOUNT_MSAT)
    first = payments.b.invoice(AMOUNT_MSAT)
    both = {"payment_hashes": (first.payment_hash, second.payment_hash), "amount_msat": 2 * AMOUNT_MSAT}
    hold = Hold(payments.a, "LSP", first, **both).ask().pay()
    wait_for(htlcs_held(payments.lsp, 1))
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_held(hold, 1)

    sibling = Hold(payments.a, "LSP", second).pay()

    hold.update(BlockState.SETTLED, 2)
    payments.assert_paid(hold, sibling)


def test_part_after_the_release_passes(payments: HoldHarness) -> None:
    hold = payments.hold(amount_msat=AMOUNT_MSAT // 2).ask()
    assert payments.release(hold) is ReleaseStatus.RELEASED

    hold.pay(parts=2).update(BlockState.SETTLED, 1)  # complete, and therefore released, with the first of the two

    assert len(payments.block(hold)["parts"]) == 1
    payments.assert_paid(hold)
