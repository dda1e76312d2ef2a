"""A cancel asks the LSP until it answers, and ends nothing that the node may have begun."""

import pytest

from asyncpay.engine.payer.events import CancelOrdered
from asyncpay.engine.payer.policy import PayerPolicy
from asyncpay.engine.payer.stages import Stage
from asyncpay.wire.messages import BlockState, CancelRequest

from .given import BLOCK, HASH, HEIGHT, START, order
from .world import World


def handed_over() -> World:
    world = World()
    world.order()
    assert world.stage is Stage.HANDED_OVER
    return world


@pytest.mark.parametrize("stage", [Stage.REQUESTED, Stage.BLOCKED])
def test_before_anything_is_paid_it_simply_ends(stage: Stage) -> None:
    world = World(online=False)
    world.order()
    if stage is Stage.BLOCKED:
        world.lsp_accepts()
    assert world.stage is stage
    world.cancel()
    assert world.stage is Stage.FAILED
    assert world.payment.failure == "cancelled before anything was paid"
    world.connect()
    assert world.begun == []
    assert len(world.sent(CancelRequest)) >= 1
    assert world.payment.cancel_next_at is None


def test_the_message() -> None:
    world = handed_over()
    world.cancel()
    (cancel,) = world.sent(CancelRequest)
    assert cancel.unblock_hash == BLOCK
    assert cancel.encode() == order().cancel


def test_the_parts_come_back_and_then_it_has_failed() -> None:
    world = handed_over()
    world.mute = True
    world.disconnect()
    world.cancel()
    assert world.payment.cancelled
    assert world.stage is Stage.HANDED_OVER
    world.mute = False
    world.connect()
    assert world.stage is Stage.FAILED
    assert world.payment.failure == "cancelled"
    assert world.node[HASH].parts == []


def test_the_cancel_alone_does_not_end_it() -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.update(BlockState.FAILED_BACK)
    assert world.stage is Stage.HANDED_OVER
    world.node_fails("temporary channel failure")
    world.run()
    assert world.stage is Stage.FAILED


def test_repeated_at_doubling_intervals_until_answered() -> None:
    world = World(PayerPolicy(cancel_seconds=10, cancel_most_seconds=60))
    world.order()
    world.deaf = True
    world.cancel()
    times = [0]
    for second in range(1, 300):
        world.sleep(1)
        if len(world.sent(CancelRequest)) > len(times):
            times.append(second)
    assert times == [0, 10, 30, 70, 130, 190, 250]
    world.deaf = False
    world.sleep(20)
    assert world.stage is Stage.FAILED
    assert world.payment.cancel_next_at is None
    sent = len(world.sent(CancelRequest))
    world.sleep(10_000)
    assert len(world.sent(CancelRequest)) == sent


def test_the_node_s_answer_is_no_reason_to_hurry() -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.sleep(15)
    assert len(world.sent(CancelRequest)) == 2
    world.node_fails("temporary channel failure")
    world.run()
    assert world.stage is Stage.FAILED
    assert len(world.sent(CancelRequest)) == 2
    world.sleep(15)
    assert len(world.sent(CancelRequest)) == 3


def test_an_lsp_that_says_held_has_not_answered() -> None:
    """It may be paying on the payer's behalf, and knows only later whether it can return the parts."""
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.update(BlockState.HELD)
    world.sleep(10)
    assert len(world.sent(CancelRequest)) == 2


@pytest.mark.parametrize("state", [BlockState.RELEASED, BlockState.SETTLED])
def test_too_late(state: BlockState) -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.update(state)
    assert not world.payment.cancelled
    sent = len(world.sent(CancelRequest))
    world.sleep(10_000)
    assert len(world.sent(CancelRequest)) == sent
    world.node_succeeds()
    world.run()
    assert world.stage is Stage.SETTLED
    assert world.payment.failure == ""


def test_a_payment_that_succeeds_in_spite_of_a_cancel_is_settled_and_nothing_else() -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.node_succeeds()
    world.run()
    assert world.stage is Stage.SETTLED
    assert (world.payment.cancelled, world.payment.failure, world.payment.cancel_next_at) == (False, "", None)
    assert world.payer.next_deadline == float("inf")


@pytest.mark.parametrize("state", [BlockState.RELEASED, BlockState.SETTLED, BlockState.FAILED_BACK])
def test_what_the_lsp_has_let_go_cannot_be_cancelled(state: BlockState) -> None:
    world = handed_over()
    world.update(state)
    world.cancel()
    assert not world.payment.cancelled
    assert world.sent(CancelRequest) == []


def test_no_cancel_beyond_the_deadlines() -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.height = HEIGHT + 432
    world.mine()
    sent = len(world.sent(CancelRequest))
    world.sleep(10_000)
    assert len(world.sent(CancelRequest)) == sent
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.now = START + 86_401
    world.sleep(10_000)
    assert len(world.sent(CancelRequest)) == 1


@pytest.mark.parametrize("mute", [False, True])
def test_a_finished_payment_cannot_be_cancelled(mute: bool) -> None:
    world = handed_over()
    world.mute = mute
    world.lsp_releases()
    world.run()
    world.cancel()
    assert world.stage is Stage.SETTLED
    assert not world.payment.cancelled
    assert world.sent(CancelRequest) == []


def test_nothing_is_cancelled_that_was_never_ordered() -> None:
    world = World()
    (said,) = world.feed(CancelOrdered(HASH))
    assert "no such payment" in said.because


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_a_new_connection_is_used_at_once(how: str) -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.sleep(1000)
    world.deaf = False
    match how:
        case "connection":
            world.disconnect()
            world.connect()
        case "node":
            world.detach()
            world.attach()
        case "wallet":
            world.restart()
    assert world.stage is Stage.FAILED
    assert world.payment.cancel_next_at is None


def test_while_the_node_is_away_nothing_is_sent() -> None:
    world = handed_over()
    world.detach()
    world.cancel()
    world.sleep(1000)
    assert world.sent(CancelRequest) == []


def test_a_refusal_of_the_payee_is_like_a_cancel_with_its_reason() -> None:
    world = handed_over()
    world.refusal_seen("paid already")
    assert len(world.sent(CancelRequest)) == 1
    assert world.stage is Stage.FAILED
    assert world.payment.failure == "the payee refuses it: paid already"


def test_the_first_reason_stays() -> None:
    world = handed_over()
    world.deaf = True
    world.cancel()
    world.refusal_seen("paid already")
    assert world.payment.failure == "cancelled"


def test_a_refusal_with_a_guessed_pid_or_of_an_unpaid_payment_is_ignored() -> None:
    world = World(online=False)
    world.order()
    assert world.refusal_seen() == []
    assert world.stage is Stage.REQUESTED
    assert not world.payment.cancelled


def test_a_payment_that_failed_by_itself_frees_its_block() -> None:
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    world.deaf = True
    world.node_fails("no route")
    world.run()
    assert world.stage is Stage.FAILED
    assert len(world.sent(CancelRequest)) == 1
    world.restart()
    assert len(world.sent(CancelRequest)) == 2
    world.update(BlockState.FAILED_BACK, 0)
    world.sleep(10_000)
    assert len(world.sent(CancelRequest)) == 2
