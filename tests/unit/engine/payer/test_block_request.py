"""The LSP is asked until it answers, and asked no longer than allowed."""

from typing import Any

import pytest

from asyncpay.engine.core import ClockRead
from asyncpay.engine.payer.interface import Log, Pay
from asyncpay.engine.payer.states import State
from asyncpay.node_events import BlockConnected, PeerConnected
from asyncpay.wire.messages import BlockRequest, BlockState, BlockStatus, CancelRequest

from .factories import AMOUNT, BLOCK, HASH, HEIGHT, LSP, OTHER_LSP, START, order
from .harness import PayerHarness, in_state


def test_asked_blocked_and_paid_in_this_order() -> None:
    harness = PayerHarness()
    harness.order()
    assert harness.state is State.HANDED_OVER
    (request,) = harness.sent(BlockRequest)
    assert (request.unblock_hash, request.amount_msat) == (BLOCK, AMOUNT)
    assert request.encode() == order().request
    states = [log.what for log in harness.did(Log) if log.what in {state.value for state in State}]
    assert states == ["requested", "blocked", "paying", "held", "handed over"]


def test_an_order_for_a_known_hash_is_ignored() -> None:
    harness = PayerHarness()
    harness.order()
    before = harness.payment
    assert [type(effect) for effect in harness.order(pid=b"q" * 32, amount_msat=2)] == [Log]
    assert harness.payment == before
    assert harness.begun == [HASH]


def test_an_order_is_given_again_only_if_nothing_came_of_the_first() -> None:
    """The LSP refused it. What it says later of the first block is not taken for the second's."""
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.reply(BlockStatus.UNAVAILABLE)
    assert harness.state is State.FAILED
    assert "try again later" in harness.payment.failure
    harness.order(pid=b"q" * 32)
    assert (harness.state, harness.payment.pid) == (State.REQUESTED, b"q" * 32)
    harness.reply(BlockStatus.ACCEPTED)
    assert harness.state is State.REQUESTED
    harness.restart()
    assert (harness.state, harness.payment.pid) == (State.REQUESTED, b"q" * 32)


def test_an_order_is_not_given_again_before_the_lsp_has_ended_the_first_block() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.sleep(41)
    assert harness.state is State.FAILED
    assert [type(effect) for effect in harness.order(pid=b"q" * 32)] == [Log]
    assert harness.payment.pid != b"q" * 32


def test_nothing_leaves_before_the_lsp_has_accepted() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.sleep(39)
    assert harness.state is State.REQUESTED
    assert harness.did(Pay) == []


def test_the_same_bytes_every_ten_seconds_and_three_times_more() -> None:
    harness = PayerHarness()
    harness.blackhole_to_lsp = True
    harness.order()
    times = [0.0]
    for second in range(1, 40):
        harness.sleep(1)
        if len(harness.sent(BlockRequest)) > len(times):
            times.append(second)
    assert times == [0, 10, 20, 30]
    assert {request.encode() for request in harness.sent(BlockRequest)} == {order().request}
    assert harness.state is State.REQUESTED
    harness.sleep(1)
    assert harness.state is State.FAILED
    assert "did not answer 4 requests" in harness.payment.failure
    assert LSP.hex() in harness.payment.failure
    assert harness.begun == []


def test_an_lsp_that_does_not_answer_is_asked_to_forget() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.sleep(41)
    assert harness.state is State.FAILED
    assert harness.over
    assert len(harness.sent(CancelRequest)) >= 1


def test_an_answer_that_comes_after_giving_up_changes_nothing() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.sleep(41)
    assert harness.reply(BlockStatus.ACCEPTED) == []
    assert harness.state is State.FAILED
    assert harness.begun == []


@pytest.mark.parametrize("status", [status for status in BlockStatus if status is not BlockStatus.ACCEPTED])
def test_a_refusal_ends_it_with_the_reason(status: BlockStatus) -> None:
    harness = PayerHarness()
    harness.status, harness.reason = status, "because of the weather"
    harness.order()
    assert harness.state is State.FAILED
    assert "will not hold this payment" in harness.payment.failure
    assert "because of the weather" in harness.payment.failure
    assert harness.payment.ended_at == START
    harness.sleep(3600)
    assert harness.begun == []
    assert harness.sent(CancelRequest) == []
    assert len(harness.sent(BlockRequest)) == 1


def test_only_the_first_answer_counts() -> None:
    harness = PayerHarness()
    harness.order()
    before = harness.payment
    assert harness.reply(BlockStatus.CONFLICT) == []
    assert harness.reply(BlockStatus.ACCEPTED) == []
    assert harness.payment == before
    assert harness.begun == [HASH]


def test_answers_to_nothing_are_ignored() -> None:
    harness = PayerHarness()
    assert harness.reply(BlockStatus.ACCEPTED) == []
    assert harness.update(BlockState.FAILED_BACK) == []
    assert harness.stored == {}


def test_a_new_connection_begins_the_asking_anew() -> None:
    harness = PayerHarness()
    harness.blackhole_to_lsp = True
    harness.order()
    harness.sleep(35)
    assert len(harness.sent(BlockRequest)) == 4
    harness.disconnect()
    harness.blackhole_to_lsp = False
    harness.connect()
    assert len(harness.sent(BlockRequest)) == 5
    assert harness.state is State.HANDED_OVER


def test_a_connection_told_of_twice_is_one() -> None:
    harness = PayerHarness()
    harness.blackhole_to_lsp = True
    harness.order()
    harness.connect()
    assert len(harness.sent(BlockRequest)) == 1


def test_somebody_else_s_connection_changes_nothing() -> None:
    harness = PayerHarness()
    harness.blackhole_to_lsp = True
    harness.order()
    assert harness.feed(PeerConnected(OTHER_LSP)) == []


def test_while_the_node_is_away_the_asking_waits_for_it() -> None:
    harness = PayerHarness()
    harness.detach()
    harness.order()
    harness.sleep(1000)
    assert harness.sent(BlockRequest) == []
    assert harness.state is State.REQUESTED
    harness.attach()
    assert harness.state is State.HANDED_OVER


@pytest.mark.parametrize("how", ["height", "time"])
def test_a_payment_that_was_not_answered_ends_at_its_deadlines(how: str) -> None:
    harness = PayerHarness()
    harness.detach()
    harness.order()
    if how == "height":
        harness.height = HEIGHT + 432
        harness.blackhole_to_lsp = True
        harness.attach()
        assert harness.state is State.REQUESTED
        harness.mine()
    else:
        harness.sleep(86_400)
        assert harness.state is State.REQUESTED
        harness.sleep(1)
    assert harness.state is State.FAILED
    assert "its time was over" in harness.payment.failure
    assert harness.sent(CancelRequest) == []


def test_while_the_node_pays_the_request_is_repeated_less_and_less_often_for_the_sake_of_its_answer() -> None:
    """A request is 32 kB with its courier: a slow line must not be full of them when the HTLCs are to get through."""
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    assert harness.state is State.PAYING
    times = []
    for second in range(1, 2_000):
        before = len(harness.sent(BlockRequest))
        harness.sleep(1)
        times += [second] * (len(harness.sent(BlockRequest)) - before)
    assert harness.state is State.PAYING
    assert times == [10, 20, 40, 80, 160, 320, 640, 1240, 1840], "doubled up to ten minutes"
    harness.blackhole_from_lsp = False
    harness.sleep(600)
    assert harness.state is State.HANDED_OVER
    sent = len(harness.sent(BlockRequest))
    harness.sleep(1000)
    assert len(harness.sent(BlockRequest)) == sent


def test_a_new_connection_while_the_node_pays_begins_with_short_pauses_again() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    harness.sleep(1_000)
    harness.disconnect()
    harness.connect()
    sent = len(harness.sent(BlockRequest))
    harness.sleep(10)
    assert len(harness.sent(BlockRequest)) == sent + 1


@pytest.mark.parametrize("how", ["height", "time"])
def test_a_deadline_that_has_not_passed_after_all_ends_no_repetition(how: str) -> None:
    """A reorganisation takes blocks back, and a clock that was ahead is put right."""
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order(release_by_height=HEIGHT)
    harness.lsp_accepts()
    heard: dict[str, tuple[Any, Any]] = {
        "height": (BlockConnected(HEIGHT + 1), BlockConnected(HEIGHT)),
        "time": (ClockRead(90_000, 90_000), ClockRead(0, 0)),
    }
    past, not_past = heard[how]
    harness.feed(past)
    sent = len(harness.sent(BlockRequest))
    harness.sleep(1_000)
    assert len(harness.sent(BlockRequest)) == sent
    assert harness.engine.next_deadline == float("inf"), "nothing is due for a block that is over"
    harness.feed(not_past)
    assert len(harness.sent(BlockRequest)) == sent + 1
    harness.sleep(1_000)
    assert len(harness.sent(BlockRequest)) > sent + 1


@pytest.mark.parametrize("why", ["cancelled", "ended"])
def test_nothing_is_asked_of_a_block_that_is_not_wanted_any_more(why: str) -> None:
    harness = in_state(State.PAYING)
    harness.blackhole_to_lsp = True
    if why == "cancelled":
        harness.cancel()
    else:
        harness.update(BlockState.FAILED_BACK)
    sent = len(harness.sent(BlockRequest))
    harness.sleep(100)
    harness.restart()
    assert harness.state is State.PAYING
    assert len(harness.sent(BlockRequest)) == sent


def test_a_block_that_ended_before_anything_was_paid_ends_the_payment() -> None:
    harness = PayerHarness(online=False)
    harness.order()
    harness.lsp_accepts()
    assert harness.state is State.BLOCKED
    harness.update(BlockState.FAILED_BACK, 0)
    assert harness.state is State.FAILED
    assert "ended the block before anything was paid" in harness.payment.failure
    harness.connect()
    assert harness.begun == []


def test_nothing_is_paid_over_an_lsp_that_released_what_it_never_got() -> None:
    """An update that makes no sense is noted and moves nothing."""
    harness = PayerHarness(online=False)
    harness.order()
    harness.update(BlockState.RELEASED)
    assert harness.state is State.REQUESTED
