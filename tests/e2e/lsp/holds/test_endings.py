"""The payer cancels, or the payee refuses: all parts are returned, unless they are forwarded already."""

from asyncpay.wire.messages import BlockState, BlockUpdate, ReleaseStatus
from harness.services.lsp import htlcs_held
from harness.waits import wait_for

from .hold_harness import AMOUNT_MSAT, HoldHarness, wait_until_got


def test_cancelled_before_the_parts_come(payments: HoldHarness) -> None:
    hold = payments.hold().ask()
    hold.cancel()
    hold.update(BlockState.FAILED_BACK, 0)

    assert payments.failed_back(hold)["because"] == "payer cancels"
    payments.assert_turned_away(hold)


def test_cancelled_while_parts_are_missing(payments: HoldHarness) -> None:
    hold = payments.hold(amount_msat=AMOUNT_MSAT + 1).ask().pay(parts=2)
    wait_for(htlcs_held(payments.lsp, 2))
    assert payments.block(hold)["state"] == "accepted"

    hold.cancel()

    hold.update(BlockState.FAILED_BACK, 2)
    payments.assert_returned(hold)
    assert payments.failed_back(hold)["because"] == "payer cancels"


def test_cancelled_while_held(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay(parts=16).update(BlockState.HELD, 16)

    hold.cancel()

    hold.update(BlockState.FAILED_BACK, 16)
    assert payments.release(hold) is ReleaseStatus.TOO_LATE
    payments.assert_returned(hold)
    assert payments.failed_back(hold)["because"] == "payer cancels"


def test_refused_by_the_payee(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay(parts=2).update(BlockState.HELD, 2)

    assert payments.refuse(hold) is ReleaseStatus.TOO_LATE

    hold.update(BlockState.FAILED_BACK, 2)
    payments.assert_returned(hold)
    assert payments.failed_back(hold)["because"] == "payee refuses"


def test_part_after_the_failure_fails(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)
    hold.cancel()
    payments.assert_returned(hold)

    payments.a.forget_failures()
    payments.assert_turned_away(hold)

    assert len(payments.block(hold)["parts"]) == 1


def test_nothing_ends_what_is_on_its_way(payments: HoldHarness) -> None:
    last = payments.testbed.chain.height_blocks + 2
    hold = payments.hold(release_by_height=last).ask()
    assert payments.release(hold) is ReleaseStatus.RELEASED

    with payments.testbed.engine.frozen("B"):
        hold.pay(parts=2).update(BlockState.RELEASED, 2)
        hold.cancel()
        released = BlockUpdate(unblock_hash=hold.request.unblock_hash, state=BlockState.RELEASED, parts=2)
        wait_until_got(payments.a, 2, released)
        payments.mine_to(last + 1)
        assert payments.block(hold)["state"] == "released"

    hold.update(BlockState.SETTLED, 2)
    payments.assert_paid(hold)


def test_cancelled_after_all_is_paid(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay(parts=2).update(BlockState.HELD, 2)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    hold.update(BlockState.SETTLED, 2)

    hold.cancel()

    settled = BlockUpdate(unblock_hash=hold.request.unblock_hash, state=BlockState.SETTLED, parts=2)
    wait_until_got(payments.a, 2, settled)
    assert payments.refuse(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)
