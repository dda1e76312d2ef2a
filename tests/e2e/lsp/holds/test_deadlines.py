"""Each deadline at its block or second: until then the parts are held, and from then on they go back."""

import time

from asyncpay.wire.messages import BlockState, ReleaseStatus
from tests.support.scripted_peer import SLACK_BLOCKS, Hold

from .hold_harness import AMOUNT_MSAT, Scene


def test_released_at_the_last_useful_block(scene: Scene) -> None:
    """With the whole slack used up, and B's node takes it still."""
    last = scene.testbed.chain.height_blocks + SLACK_BLOCKS
    hold = scene.hold(release_by_height=last).ask().pay(parts=2).update(BlockState.HELD, 2)

    scene.mine_to(last)
    scene.assert_held(hold, 2)

    assert scene.release(hold) is ReleaseStatus.RELEASED
    scene.assert_paid(hold)


def test_failed_at_the_block_after_it(scene: Scene) -> None:
    last = scene.testbed.chain.height_blocks + 3
    hold = scene.hold(release_by_height=last).ask().pay(parts=2).update(BlockState.HELD, 2)
    scene.mine_to(last)
    scene.assert_held(hold, 2)

    scene.mine_to(last + 1)

    assert scene.block(hold)["stage"] == "failed back"
    hold.update(BlockState.FAILED_BACK, 2)
    assert scene.failed_back(hold)["because"] == "a deadline of the block"
    assert scene.release(hold) is ReleaseStatus.TOO_LATE
    scene.assert_returned(hold)


def test_hold_without_parts_ends_there_too(scene: Scene) -> None:
    last = scene.testbed.chain.height_blocks + 1
    hold = scene.hold(release_by_height=last).ask()
    scene.mine_to(last)
    assert scene.block(hold)["stage"] == "accepted"

    scene.mine_to(last + 1)

    hold.update(BlockState.FAILED_BACK, 0)
    scene.assert_turned_away(hold)


def test_failed_at_the_second_after_hold_until(scene: Scene) -> None:
    hold_until = int(time.time()) + 8
    hold = scene.hold(hold_until=hold_until).ask().pay(parts=2).update(BlockState.HELD, 2)

    hold.update(BlockState.FAILED_BACK, 2)

    ended = scene.failed_back(hold)
    assert ended["because"] == "a deadline of the block"
    assert int(ended["time"]) > hold_until
    scene.assert_returned(hold)


def test_failed_when_a_part_comes_near_its_expiry(scene: Scene) -> None:
    far = scene.testbed.chain.height_blocks + 1000
    hold = scene.hold(release_by_height=far).ask().pay(parts=2, slack_blocks=0).update(BlockState.HELD, 2)
    policy = scene.testbed.topology.components["LSP"].policy
    too_near = scene.block(hold)["parts"][0]["incoming_expiry"] - policy.min_margin_blocks

    scene.mine_to(too_near - 1)
    scene.assert_held(hold, 2)
    scene.mine_to(too_near)

    assert scene.block(hold)["stage"] == "failed back"
    hold.update(BlockState.FAILED_BACK, 2)
    assert scene.failed_back(hold)["because"] == "a part near its expiry"
    scene.assert_returned(hold)


def test_sets_that_stay_incomplete_are_failed(scene: Scene) -> None:
    """One lacks a part's money, the other a whole payment of the two that it is for."""
    began_at = time.time()
    one_part_short = scene.hold(amount_msat=AMOUNT_MSAT * 3 // 2).ask().pay(parts=2)
    paid, unpaid = scene.b.invoice(AMOUNT_MSAT), scene.b.invoice(AMOUNT_MSAT)
    both_hashes = (paid.payment_hash, unpaid.payment_hash)
    one_hash_short = Hold(scene.a, "LSP", paid, payment_hashes=both_hashes).ask().pay()

    one_part_short.update(BlockState.FAILED_BACK, 2)
    one_hash_short.update(BlockState.FAILED_BACK, 1)

    policy = scene.testbed.topology.components["LSP"].policy
    for hold in (one_part_short, one_hash_short):
        ended = scene.failed_back(hold)
        assert ended["because"] == "parts missing for too long"
        assert ended["time"] >= began_at + policy.incomplete_seconds
    scene.assert_returned(one_part_short, one_hash_short)
