"""A release that reaches the payer itself is passed on, and answered as things stand."""

import pytest

from asyncpay.engine.payer.effects import SendAlong
from asyncpay.engine.payer.events import ReleaseSeen
from asyncpay.engine.payer.stages import Stage
from asyncpay.wire.messages import BlockState, PaymentRelease, ReleaseReply, ReleaseStatus

from .given import BLOCK, PATH, PID
from .world import World, in_stage


def deaf_in_stage(stage: Stage) -> World:
    """What the payer sends does not move the LSP."""
    world = in_stage(stage)
    world.deaf = True
    return world


@pytest.mark.parametrize(
    ("stage", "passed_on", "status"),
    [
        (Stage.REQUESTED, False, None),
        (Stage.BLOCKED, False, None),
        (Stage.PAYING, True, None),
        (Stage.HELD, True, ReleaseStatus.RELEASED),
        (Stage.HANDED_OVER, True, ReleaseStatus.RELEASED),
        (Stage.SETTLED, False, ReleaseStatus.RELEASED),
        (Stage.FAILED, False, ReleaseStatus.TOO_LATE),
    ],
)
def test_by_stage(stage: Stage, passed_on: bool, status: ReleaseStatus | None) -> None:
    world = deaf_in_stage(stage)
    world.release_seen()
    assert world.sent(PaymentRelease) == [PaymentRelease(pid=PID)] * passed_on
    expected = [] if status is None else [SendAlong(PATH, ReleaseReply(unblock_hash=BLOCK, status=status))]
    assert world.did(SendAlong) == expected
    assert world.stage is stage


@pytest.mark.parametrize("why", ["cancelled", "returned"])
def test_what_is_on_its_way_back_is_not_released(why: str) -> None:
    world = deaf_in_stage(Stage.HANDED_OVER)
    if why == "cancelled":
        world.cancel()
    else:
        world.update(BlockState.FAILED_BACK)
    world.release_seen()
    assert world.sent(PaymentRelease) == []
    assert [each.message.status for each in world.did(SendAlong)] == [ReleaseStatus.TOO_LATE]


def test_passed_on_as_often_as_it_comes() -> None:
    world = deaf_in_stage(Stage.HANDED_OVER)
    world.release_seen()
    world.release_seen()
    assert len(world.sent(PaymentRelease)) == 2


def test_without_a_way_back_there_is_no_answer() -> None:
    world = deaf_in_stage(Stage.HANDED_OVER)
    world.feed(ReleaseSeen(PID))
    assert len(world.sent(PaymentRelease)) == 1
    assert world.did(SendAlong) == []


def test_a_guessed_pid_does_nothing() -> None:
    world = deaf_in_stage(Stage.HANDED_OVER)
    assert world.release_seen(b"x" * 32) == []


def test_a_release_by_way_of_the_payer_settles_the_payment() -> None:
    world = deaf_in_stage(Stage.HANDED_OVER)
    world.deaf = False
    world.release_seen()
    assert world.stage is Stage.SETTLED
