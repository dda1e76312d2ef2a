"""The LSP is asked until it answers, and asked no longer than allowed."""

import pytest

from asyncpay.engine.payer.effects import Log, Pay
from asyncpay.engine.payer.stages import Stage
from asyncpay.node_events import PeerConnected
from asyncpay.wire.messages import BlockRequest, BlockState, BlockStatus, CancelRequest

from .given import AMOUNT, BLOCK, HASH, HEIGHT, LSP, OTHER_LSP, START, order
from .world import World, in_stage


def test_asked_blocked_and_paid_in_this_order() -> None:
    world = World()
    world.order()
    assert world.stage is Stage.HANDED_OVER
    (request,) = world.sent(BlockRequest)
    assert (request.unblock_hash, request.amount_msat) == (BLOCK, AMOUNT)
    assert request.encode() == order().request
    stages = [log.what for log in world.did(Log) if log.what in {stage.value for stage in Stage}]
    assert stages == ["requested", "blocked", "paying", "held", "handed over"]


def test_an_order_for_a_known_hash_is_ignored() -> None:
    world = World()
    world.order()
    before = world.payment
    assert [type(effect) for effect in world.order(pid=b"q" * 32, amount_msat=2)] == [Log]
    assert world.payment == before
    assert world.begun == [HASH]


def test_an_order_is_given_again_only_if_nothing_came_of_the_first() -> None:
    """The LSP refused it. What it says later of the first block is not taken for the second's."""
    world = World()
    world.mute = True
    world.order()
    world.reply(BlockStatus.UNAVAILABLE)
    assert world.stage is Stage.FAILED
    assert "try again later" in world.payment.failure
    world.order(pid=b"q" * 32)
    assert (world.stage, world.payment.pid) == (Stage.REQUESTED, b"q" * 32)
    world.reply(BlockStatus.ACCEPTED)
    assert world.stage is Stage.REQUESTED
    world.restart()
    assert (world.stage, world.payment.pid) == (Stage.REQUESTED, b"q" * 32)


def test_an_order_is_not_given_again_before_the_lsp_has_ended_the_first_block() -> None:
    world = World()
    world.mute = True
    world.order()
    world.sleep(41)
    assert world.stage is Stage.FAILED
    assert [type(effect) for effect in world.order(pid=b"q" * 32)] == [Log]
    assert world.payment.pid != b"q" * 32


def test_nothing_leaves_before_the_lsp_has_accepted() -> None:
    world = World()
    world.mute = True
    world.order()
    world.sleep(39)
    assert world.stage is Stage.REQUESTED
    assert world.did(Pay) == []


def test_the_same_bytes_every_ten_seconds_and_three_times_more() -> None:
    world = World()
    world.deaf = True
    world.order()
    times = [0.0]
    for second in range(1, 40):
        world.sleep(1)
        if len(world.sent(BlockRequest)) > len(times):
            times.append(second)
    assert times == [0, 10, 20, 30]
    assert {request.encode() for request in world.sent(BlockRequest)} == {order().request}
    assert world.stage is Stage.REQUESTED
    world.sleep(1)
    assert world.stage is Stage.FAILED
    assert "did not answer, asked 4 times" in world.payment.failure
    assert LSP.hex() in world.payment.failure
    assert world.begun == []


def test_an_lsp_that_does_not_answer_is_asked_to_forget() -> None:
    world = World()
    world.mute = True
    world.order()
    world.sleep(41)
    assert world.stage is Stage.FAILED
    assert world.over
    assert len(world.sent(CancelRequest)) >= 1


def test_an_answer_that_comes_after_giving_up_changes_nothing() -> None:
    world = World()
    world.mute = True
    world.order()
    world.sleep(41)
    assert world.reply(BlockStatus.ACCEPTED) == []
    assert world.stage is Stage.FAILED
    assert world.begun == []


@pytest.mark.parametrize("status", [status for status in BlockStatus if status is not BlockStatus.ACCEPTED])
def test_a_refusal_ends_it_with_the_reason(status: BlockStatus) -> None:
    world = World()
    world.status, world.reason = status, "because of the weather"
    world.order()
    assert world.stage is Stage.FAILED
    assert "will not hold this payment" in world.payment.failure
    assert "because of the weather" in world.payment.failure
    assert world.payment.ended_at == START
    world.sleep(3600)
    assert world.begun == []
    assert world.sent(CancelRequest) == []
    assert len(world.sent(BlockRequest)) == 1


def test_only_the_first_answer_counts() -> None:
    world = World()
    world.order()
    before = world.payment
    assert world.reply(BlockStatus.CONFLICT) == []
    assert world.reply(BlockStatus.ACCEPTED) == []
    assert world.payment == before
    assert world.begun == [HASH]


def test_answers_to_nothing_are_ignored() -> None:
    world = World()
    assert world.reply(BlockStatus.ACCEPTED) == []
    assert world.update(BlockState.FAILED_BACK) == []
    assert world.stored == {}


def test_a_new_connection_begins_the_asking_anew() -> None:
    world = World()
    world.deaf = True
    world.order()
    world.sleep(35)
    assert len(world.sent(BlockRequest)) == 4
    world.disconnect()
    world.deaf = False
    world.connect()
    assert len(world.sent(BlockRequest)) == 5
    assert world.stage is Stage.HANDED_OVER


def test_a_connection_told_of_twice_is_one() -> None:
    world = World()
    world.deaf = True
    world.order()
    world.connect()
    assert len(world.sent(BlockRequest)) == 1


def test_somebody_else_s_connection_changes_nothing() -> None:
    world = World()
    world.deaf = True
    world.order()
    assert world.feed(PeerConnected(OTHER_LSP)) == []


def test_while_the_node_is_away_the_asking_waits_for_it() -> None:
    world = World()
    world.detach()
    world.order()
    world.sleep(1000)
    assert world.sent(BlockRequest) == []
    assert world.stage is Stage.REQUESTED
    world.attach()
    assert world.stage is Stage.HANDED_OVER


@pytest.mark.parametrize("how", ["height", "time"])
def test_a_payment_that_was_not_answered_ends_at_its_deadlines(how: str) -> None:
    world = World()
    world.detach()
    world.order()
    if how == "height":
        world.height = HEIGHT + 432
        world.deaf = True
        world.attach()
        assert world.stage is Stage.REQUESTED
        world.mine()
    else:
        world.sleep(86_400)
        assert world.stage is Stage.REQUESTED
        world.sleep(1)
    assert world.stage is Stage.FAILED
    assert "its time was over" in world.payment.failure
    assert world.sent(CancelRequest) == []


def test_while_the_node_pays_the_request_is_repeated_less_and_less_often_for_the_sake_of_its_answer() -> None:
    """A request is 32 kB with its courier: a slow line must not be full of them when the HTLCs are to get through."""
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    assert world.stage is Stage.PAYING
    times = []
    for second in range(1, 2_000):
        before = len(world.sent(BlockRequest))
        world.sleep(1)
        times += [second] * (len(world.sent(BlockRequest)) - before)
    assert world.stage is Stage.PAYING
    assert times == [10, 20, 40, 80, 160, 320, 640, 1240, 1840], "doubled up to ten minutes"
    world.mute = False
    world.sleep(600)
    assert world.stage is Stage.HANDED_OVER
    sent = len(world.sent(BlockRequest))
    world.sleep(1000)
    assert len(world.sent(BlockRequest)) == sent


def test_a_new_connection_while_the_node_pays_begins_with_short_pauses_again() -> None:
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    world.sleep(1_000)
    world.disconnect()
    world.connect()
    sent = len(world.sent(BlockRequest))
    world.sleep(10)
    assert len(world.sent(BlockRequest)) == sent + 1


@pytest.mark.parametrize("why", ["cancelled", "ended"])
def test_nothing_is_asked_of_a_block_that_is_not_wanted_any_more(why: str) -> None:
    world = in_stage(Stage.PAYING)
    world.deaf = True
    if why == "cancelled":
        world.cancel()
    else:
        world.update(BlockState.FAILED_BACK)
    sent = len(world.sent(BlockRequest))
    world.sleep(100)
    world.restart()
    assert world.stage is Stage.PAYING
    assert len(world.sent(BlockRequest)) == sent


def test_a_block_that_ended_before_anything_was_paid_ends_the_payment() -> None:
    world = World(online=False)
    world.order()
    world.lsp_accepts()
    assert world.stage is Stage.BLOCKED
    world.update(BlockState.FAILED_BACK, 0)
    assert world.stage is Stage.FAILED
    assert "ended the block before anything was paid" in world.payment.failure
    world.connect()
    assert world.begun == []


def test_nothing_is_paid_over_an_lsp_that_released_what_it_never_got() -> None:
    """An update that makes no sense is noted and moves nothing."""
    world = World(online=False)
    world.order()
    world.update(BlockState.RELEASED)
    assert world.stage is Stage.REQUESTED
