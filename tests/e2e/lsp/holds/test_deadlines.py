"""Each deadline at its exact block or second: until then the parts are held, and from then on they are returned."""

import time

from asyncpay.wire.messages import BlockState, ReleaseStatus
from tests.support.implementations import lsp_policy
from tests.support.scripted_peer import SLACK_BLOCKS, Hold

from .hold_harness import AMOUNT_MSAT, HoldHarness

CLOCK_SECONDS = 90
"""After earlier tests have killed it, the component knows Unix time only as an interval for some minutes
(asyncpay.service.common.clock): hold_until has passed when the earliest possible time is later."""


def test_released_at_the_last_useful_block(payments: HoldHarness) -> None:
    """With the whole slack used; B's node still accepts it."""
    last = payments.testbed.chain.height_blocks + SLACK_BLOCKS
    hold = payments.hold(release_by_height=last).ask().pay(parts=2).update(BlockState.HELD, 2)

    payments.mine_to(last)
    payments.assert_held(hold, 2)

    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)


def test_failed_at_the_block_after_it(payments: HoldHarness) -> None:
    last = payments.testbed.chain.height_blocks + 3
    hold = payments.hold(release_by_height=last).ask().pay(parts=2).update(BlockState.HELD, 2)
    payments.mine_to(last)
    payments.assert_held(hold, 2)

    payments.mine_to(last + 1)

    assert payments.block(hold)["state"] == "failed back"
    hold.update(BlockState.FAILED_BACK, 2)
    assert payments.failed_back(hold)["because"] == "a deadline of the block"
    assert payments.release(hold) is ReleaseStatus.TOO_LATE
    payments.assert_returned(hold)


def test_hold_without_parts_ends_there_too(payments: HoldHarness) -> None:
    last = payments.testbed.chain.height_blocks + 1
    hold = payments.hold(release_by_height=last).ask()
    payments.mine_to(last)
    assert payments.block(hold)["state"] == "accepted"

    payments.mine_to(last + 1)

    hold.update(BlockState.FAILED_BACK, 0)
    payments.assert_turned_away(hold)


def test_failed_at_the_second_after_hold_until(payments: HoldHarness) -> None:
    hold_until = int(time.time()) + 8
    hold = payments.hold(hold_until=hold_until).ask().pay(parts=2).update(BlockState.HELD, 2)

    hold.update(BlockState.FAILED_BACK, 2, timeout_seconds=CLOCK_SECONDS)

    ended = payments.failed_back(hold)
    assert ended["because"] == "a deadline of the block"
    assert int(ended["time"]) > hold_until
    payments.assert_returned(hold)


def test_failed_when_a_part_comes_near_its_expiry(payments: HoldHarness) -> None:
    far = payments.testbed.chain.height_blocks + 1000
    hold = payments.hold(release_by_height=far).ask().pay(parts=2, slack_blocks=0).update(BlockState.HELD, 2)
    margin_blocks = lsp_policy(payments.testbed, "LSP").min_margin_blocks
    too_near = payments.block(hold)["parts"][0]["incoming_expiry"] - margin_blocks

    payments.mine_to(too_near - 1)
    payments.assert_held(hold, 2)
    payments.mine_to(too_near)

    assert payments.block(hold)["state"] == "failed back"
    hold.update(BlockState.FAILED_BACK, 2)
    assert payments.failed_back(hold)["because"] == "a part near its expiry"
    payments.assert_returned(hold)


def test_sets_that_stay_incomplete_are_failed(payments: HoldHarness) -> None:
    """One lacks the amount of a part, the other lacks one of its two payments."""
    began_at = time.time()
    one_part_short = payments.hold(amount_msat=AMOUNT_MSAT * 3 // 2).ask().pay(parts=2)
    paid, unpaid = payments.b.invoice(AMOUNT_MSAT), payments.b.invoice(AMOUNT_MSAT)
    both_hashes = (paid.payment_hash, unpaid.payment_hash)
    one_hash_short = Hold(payments.a, "LSP", paid, payment_hashes=both_hashes).ask().pay()

    one_part_short.update(BlockState.FAILED_BACK, 2)
    one_hash_short.update(BlockState.FAILED_BACK, 1)

    policy = payments.testbed.topology.components["LSP"].policy
    for hold in (one_part_short, one_hash_short):
        ended = payments.failed_back(hold)
        assert ended["because"] == "parts missing for too long"
        assert ended["time"] >= began_at + policy.incomplete_seconds
    payments.assert_returned(one_part_short, one_hash_short)
