"""The payer cancels, or the payee refuses: everything goes back, unless it is on its way."""

from asyncpay.wire.messages import BlockState, BlockUpdate, ReleaseStatus
from harness.services.lsp import htlcs_held
from harness.waits import wait_for

from .hold_harness import AMOUNT_MSAT, Scene, wait_until_got


def test_cancelled_before_the_parts_come(scene: Scene) -> None:
    hold = scene.hold().ask()
    hold.cancel()
    hold.update(BlockState.FAILED_BACK, 0)

    assert scene.failed_back(hold)["because"] == "payer cancels"
    scene.assert_turned_away(hold)


def test_cancelled_while_parts_are_missing(scene: Scene) -> None:
    hold = scene.hold(amount_msat=AMOUNT_MSAT + 1).ask().pay(parts=2)
    wait_for(htlcs_held(scene.lsp, 2))
    assert scene.block(hold)["stage"] == "accepted"

    hold.cancel()

    hold.update(BlockState.FAILED_BACK, 2)
    scene.assert_returned(hold)
    assert scene.failed_back(hold)["because"] == "payer cancels"


def test_cancelled_while_held(scene: Scene) -> None:
    hold = scene.hold().ask().pay(parts=16).update(BlockState.HELD, 16)

    hold.cancel()

    hold.update(BlockState.FAILED_BACK, 16)
    assert scene.release(hold) is ReleaseStatus.TOO_LATE
    scene.assert_returned(hold)
    assert scene.failed_back(hold)["because"] == "payer cancels"


def test_refused_by_the_payee(scene: Scene) -> None:
    hold = scene.hold().ask().pay(parts=2).update(BlockState.HELD, 2)

    assert scene.refuse(hold) is ReleaseStatus.TOO_LATE

    hold.update(BlockState.FAILED_BACK, 2)
    scene.assert_returned(hold)
    assert scene.failed_back(hold)["because"] == "payee refuses"


def test_part_after_the_failure_fails(scene: Scene) -> None:
    hold = scene.hold().ask().pay().update(BlockState.HELD)
    hold.cancel()
    scene.assert_returned(hold)

    scene.a.forget_failures()
    scene.assert_turned_away(hold)

    assert len(scene.block(hold)["parts"]) == 1


def test_nothing_ends_what_is_on_its_way(scene: Scene) -> None:
    last = scene.testbed.chain.height_blocks + 2
    hold = scene.hold(release_by_height=last).ask()
    assert scene.release(hold) is ReleaseStatus.RELEASED

    with scene.testbed.engine.frozen("B"):
        hold.pay(parts=2).update(BlockState.RELEASED, 2)
        hold.cancel()
        released = BlockUpdate(unblock_hash=hold.request.unblock_hash, state=BlockState.RELEASED, parts=2)
        wait_until_got(scene.a, 2, released)
        scene.mine_to(last + 1)
        assert scene.block(hold)["stage"] == "released"

    hold.update(BlockState.SETTLED, 2)
    scene.assert_paid(hold)


def test_cancelled_after_all_is_paid(scene: Scene) -> None:
    hold = scene.hold().ask().pay(parts=2).update(BlockState.HELD, 2)
    assert scene.release(hold) is ReleaseStatus.RELEASED
    hold.update(BlockState.SETTLED, 2)

    hold.cancel()

    settled = BlockUpdate(unblock_hash=hold.request.unblock_hash, state=BlockState.SETTLED, parts=2)
    wait_until_got(scene.a, 2, settled)
    assert scene.refuse(hold) is ReleaseStatus.RELEASED
    scene.assert_paid(hold)
