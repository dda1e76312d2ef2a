"""A release that reaches the payer itself is passed on, and answered as things stand."""

import pytest

from asyncpay.engine.payer.interface import ReleaseSeen, SendAlong
from asyncpay.engine.payer.states import State
from asyncpay.wire.messages import BlockState, PaymentRelease, ReleaseReply, ReleaseStatus

from .factories import BLOCK, PATH, PID
from .harness import PayerHarness, in_state


def in_state_unheard(state: State) -> PayerHarness:
    """What the payer sends does not move the LSP."""
    harness = in_state(state)
    harness.blackhole_to_lsp = True
    return harness


@pytest.mark.parametrize(
    ("state", "passed_on", "status"),
    [
        (State.REQUESTED, False, None),
        (State.BLOCKED, False, None),
        (State.PAYING, True, None),
        (State.HELD, True, ReleaseStatus.RELEASED),
        (State.HANDED_OVER, True, ReleaseStatus.RELEASED),
        (State.SETTLED, False, ReleaseStatus.RELEASED),
        (State.FAILED, False, ReleaseStatus.TOO_LATE),
    ],
)
def test_by_state(state: State, passed_on: bool, status: ReleaseStatus | None) -> None:
    harness = in_state_unheard(state)
    harness.release_seen()
    assert harness.sent(PaymentRelease) == [PaymentRelease(pid=PID)] * passed_on
    expected = [] if status is None else [SendAlong(PATH, ReleaseReply(unblock_hash=BLOCK, status=status))]
    assert harness.did(SendAlong) == expected
    assert harness.state is state


@pytest.mark.parametrize("why", ["cancelled", "returned"])
def test_what_is_on_its_way_back_is_not_released(why: str) -> None:
    harness = in_state_unheard(State.HANDED_OVER)
    if why == "cancelled":
        harness.cancel()
    else:
        harness.update(BlockState.FAILED_BACK)
    harness.release_seen()
    assert harness.sent(PaymentRelease) == []
    assert [each.message.status for each in harness.did(SendAlong)] == [ReleaseStatus.TOO_LATE]


def test_passed_on_as_often_as_it_comes() -> None:
    harness = in_state_unheard(State.HANDED_OVER)
    harness.release_seen()
    harness.release_seen()
    assert len(harness.sent(PaymentRelease)) == 2


def test_without_a_way_back_there_is_no_answer() -> None:
    harness = in_state_unheard(State.HANDED_OVER)
    harness.feed(ReleaseSeen(PID))
    assert len(harness.sent(PaymentRelease)) == 1
    assert harness.did(SendAlong) == []


def test_a_guessed_pid_does_nothing() -> None:
    harness = in_state_unheard(State.HANDED_OVER)
    assert harness.release_seen(b"x" * 32) == []


def test_a_release_by_way_of_the_payer_settles_the_payment() -> None:
    harness = in_state_unheard(State.HANDED_OVER)
    harness.blackhole_to_lsp = False
    harness.release_seen()
    assert harness.state is State.SETTLED
