"""A cancel asks the LSP until it answers, and ends nothing that the node may have begun."""

import pytest

from asyncpay.engine.payer.interface import CancelOrdered
from asyncpay.engine.payer.states import State
from asyncpay.engine.policy import PayerPolicy
from asyncpay.wire.messages import BlockState, CancelRequest

from .factories import BLOCK, HASH, HEIGHT, START, order
from .harness import PayerHarness


def handed_over() -> PayerHarness:
    harness = PayerHarness()
    harness.order()
    assert harness.state is State.HANDED_OVER
    return harness


@pytest.mark.parametrize("state", [State.REQUESTED, State.BLOCKED])
def test_before_anything_is_paid_it_simply_ends(state: State) -> None:
    harness = PayerHarness(online=False)
    harness.order()
    if state is State.BLOCKED:
        harness.lsp_accepts()
    assert harness.state is state
    harness.cancel()
    assert harness.state is State.FAILED
    assert harness.payment.failure == "cancelled before anything was paid"
    harness.connect()
    assert harness.begun == []
    assert len(harness.sent(CancelRequest)) >= 1
    assert harness.payment.cancel_next_at is None


def test_the_message() -> None:
    harness = handed_over()
    harness.cancel()
    (cancel,) = harness.sent(CancelRequest)
    assert cancel.unblock_hash == BLOCK
    assert cancel.encode() == order().cancel


def test_the_parts_come_back_and_then_it_has_failed() -> None:
    harness = handed_over()
    harness.blackhole_from_lsp = True
    harness.disconnect()
    harness.cancel()
    assert harness.payment.cancelled
    assert harness.state is State.HANDED_OVER
    harness.blackhole_from_lsp = False
    harness.connect()
    assert harness.state is State.FAILED
    assert harness.payment.failure == "cancelled"
    assert harness.node[HASH].parts == []


def test_the_cancel_alone_does_not_end_it() -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.update(BlockState.FAILED_BACK)
    assert harness.state is State.HANDED_OVER
    harness.node_fails("temporary channel failure")
    harness.run()
    assert harness.state is State.FAILED


def test_repeated_at_doubling_intervals_until_answered() -> None:
    harness = PayerHarness(PayerPolicy(cancel_seconds=10, cancel_most_seconds=60))
    harness.order()
    harness.blackhole_to_lsp = True
    harness.cancel()
    times = [0]
    for second in range(1, 300):
        harness.sleep(1)
        if len(harness.sent(CancelRequest)) > len(times):
            times.append(second)
    assert times == [0, 10, 30, 70, 130, 190, 250]
    harness.blackhole_to_lsp = False
    harness.sleep(20)
    assert harness.state is State.FAILED
    assert harness.payment.cancel_next_at is None
    sent = len(harness.sent(CancelRequest))
    harness.sleep(10_000)
    assert len(harness.sent(CancelRequest)) == sent


def test_the_node_s_answer_is_no_reason_to_hurry() -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.sleep(15)
    assert len(harness.sent(CancelRequest)) == 2
    harness.node_fails("temporary channel failure")
    harness.run()
    assert harness.state is State.FAILED
    assert len(harness.sent(CancelRequest)) == 2
    harness.sleep(15)
    assert len(harness.sent(CancelRequest)) == 3


def test_an_lsp_that_says_held_has_not_answered() -> None:
    """It may be paying on the payer's behalf, and knows only later whether it can return the parts."""
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.update(BlockState.HELD)
    harness.sleep(10)
    assert len(harness.sent(CancelRequest)) == 2


@pytest.mark.parametrize("state", [BlockState.RELEASED, BlockState.SETTLED])
def test_too_late(state: BlockState) -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.update(state)
    assert not harness.payment.cancelled
    sent = len(harness.sent(CancelRequest))
    harness.sleep(10_000)
    assert len(harness.sent(CancelRequest)) == sent
    harness.node_succeeds()
    harness.run()
    assert harness.state is State.SETTLED
    assert harness.payment.failure == ""


def test_a_payment_that_succeeds_in_spite_of_a_cancel_is_settled_and_nothing_else() -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.node_succeeds()
    harness.run()
    assert harness.state is State.SETTLED
    assert (harness.payment.cancelled, harness.payment.failure, harness.payment.cancel_next_at) == (False, "", None)
    assert harness.engine.next_deadline == float("inf")


@pytest.mark.parametrize("state", [BlockState.RELEASED, BlockState.SETTLED, BlockState.FAILED_BACK])
def test_what_the_lsp_has_let_go_cannot_be_cancelled(state: BlockState) -> None:
    harness = handed_over()
    harness.update(state)
    harness.cancel()
    assert not harness.payment.cancelled
    assert harness.sent(CancelRequest) == []


def test_no_cancel_beyond_the_deadlines() -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.height = HEIGHT + 432
    harness.mine()
    sent = len(harness.sent(CancelRequest))
    harness.sleep(10_000)
    assert len(harness.sent(CancelRequest)) == sent
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.now = START + 86_401
    harness.sleep(10_000)
    assert len(harness.sent(CancelRequest)) == 1


@pytest.mark.parametrize("blackhole", [False, True])
def test_a_finished_payment_cannot_be_cancelled(blackhole: bool) -> None:
    harness = handed_over()
    harness.blackhole_from_lsp = blackhole
    harness.lsp_releases()
    harness.run()
    harness.cancel()
    assert harness.state is State.SETTLED
    assert not harness.payment.cancelled
    assert harness.sent(CancelRequest) == []


def test_nothing_is_cancelled_that_was_never_ordered() -> None:
    harness = PayerHarness()
    (said,) = harness.feed(CancelOrdered(HASH))
    assert "no such payment" in said.because


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_a_new_connection_is_used_at_once(how: str) -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.sleep(1000)
    harness.blackhole_to_lsp = False
    match how:
        case "connection":
            harness.disconnect()
            harness.connect()
        case "node":
            harness.detach()
            harness.attach()
        case "wallet":
            harness.restart()
    assert harness.state is State.FAILED
    assert harness.payment.cancel_next_at is None


def test_while_the_node_is_away_nothing_is_sent() -> None:
    harness = handed_over()
    harness.detach()
    harness.cancel()
    harness.sleep(1000)
    assert harness.sent(CancelRequest) == []


def test_a_refusal_of_the_payee_is_like_a_cancel_with_its_reason() -> None:
    harness = handed_over()
    harness.refusal_seen("paid already")
    assert len(harness.sent(CancelRequest)) == 1
    assert harness.state is State.FAILED
    assert harness.payment.failure == "the payee refuses it: paid already"


def test_the_first_reason_stays() -> None:
    harness = handed_over()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.refusal_seen("paid already")
    assert harness.payment.failure == "cancelled"


def test_a_refusal_with_a_guessed_pid_or_of_an_unpaid_payment_is_ignored() -> None:
    harness = PayerHarness(online=False)
    harness.order()
    assert harness.refusal_seen() == []
    assert harness.state is State.REQUESTED
    assert not harness.payment.cancelled


def test_a_payment_that_failed_by_itself_frees_its_block() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    harness.blackhole_to_lsp = True
    harness.node_fails("no route")
    harness.run()
    assert harness.state is State.FAILED
    assert len(harness.sent(CancelRequest)) == 1
    harness.restart()
    assert len(harness.sent(CancelRequest)) == 2
    harness.update(BlockState.FAILED_BACK, 0)
    harness.sleep(10_000)
    assert len(harness.sent(CancelRequest)) == 2
