"""The release: what it needs, who is waited for, and what whoever shows a pid is told."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.lsp.effects import ResolveHtlc, SendAlong
from asyncpay.engine.lsp.events import RefusalSeen, ReleaseSeen
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capability, Resolution
from asyncpay.node_events import HtlcOffered, OnionInTransit
from asyncpay.wire.blinding import BlindedHop, BlindedPath
from asyncpay.wire.messages import BlockState, ReleaseStatus, unblock_hash
from asyncpay.wire.onion import OnionMessage

from .given import CHANNEL_A2, CHANNEL_B, HEIGHT, PID, ROUTER, START, A, B, cln
from .world import World

PATH = BlindedPath(B, B, (BlindedHop(B, b""),))
WRONG_PID = b"q" * 32


def replies(effects: list[Any]) -> list[ReleaseStatus]:
    return [effect.message.status for effect in effects if isinstance(effect, SendAlong)]


def ask(world: World, pid: bytes = PID) -> ReleaseStatus:
    (status,) = replies(world.feed(ReleaseSeen(pid, PATH)))
    return status


@pytest.mark.parametrize("parts", [1, 2, 16, 450])
def test_all_parts_are_answered_in_one_step_before_anything_else(parts: int) -> None:
    world = World()
    world.block(amount_msat=1000 * parts)
    keys = [world.pay() for _ in range(parts)]
    effects = world.release()
    assert [type(effect) for effect in effects[:parts]] == [ResolveHtlc] * parts
    assert world.answered(*keys) == [[Resolution.RESUME]] * parts
    assert world.updates()[-1] == (BlockState.RELEASED, parts)


@pytest.mark.parametrize("order", ["parts first", "pid first", "pid in between"])
def test_pid_and_parts_in_any_order(order: str) -> None:
    world = World()
    world.block(amount_msat=2000)
    steps = {"parts first": "PPR", "pid first": "RPP", "pid in between": "PRP"}[order]
    for step in steps:
        assert "forwarded" not in world.fates()
        world.pay() if step == "P" else world.release()
    assert world.fates() == ["forwarded", "forwarded"]


def test_an_early_pid_outlives_a_crash() -> None:
    world = World()
    world.block()
    world.release()
    world.restart()
    world.pay()
    assert world.fates() == ["forwarded"]


@pytest.mark.parametrize("pid", [WRONG_PID, PID[:31], PID + b"p", b""])
def test_a_wrong_pid_releases_nothing_and_leaves_no_trace(pid: bytes) -> None:
    world = World()
    world.block()
    world.pay()
    stored = dict(world.stored)
    assert ask(world, pid) is ReleaseStatus.UNKNOWN
    assert world.stored == stored
    assert world.fates() == ["held"]


def test_one_payments_pid_does_not_release_another() -> None:
    world = World()
    other = b"o" * 32
    world.block()
    world.pay()
    world.block(unblock_hash=unblock_hash(WRONG_PID), payment_hashes=(other,))
    world.pay(payment_hash=other)
    world.release(WRONG_PID)
    assert world.fates() == ["held", "forwarded"]


def test_a_replayed_pid_changes_nothing() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.release()
    world.release()
    world.payee_settles()
    assert ask(world) is ReleaseStatus.RELEASED
    assert world.answered(key) == [[Resolution.RESUME]]


def test_what_is_told_in_each_stage() -> None:
    world = World()
    assert ask(world) is ReleaseStatus.UNKNOWN
    world.block()
    assert ask(world) is ReleaseStatus.RELEASED  # about to be
    world.pay()
    assert ask(world) is ReleaseStatus.RELEASED
    world.payee_settles()
    assert ask(world) is ReleaseStatus.RELEASED


def test_too_late_after_a_fail_back() -> None:
    world = World()
    world.block()
    world.pay()
    world.cancel()
    assert ask(world) is ReleaseStatus.TOO_LATE
    assert world.fates() == ["failed"]


def test_too_late_after_all_parts_came_back() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.release()
    world.payee_fails(key)
    assert ask(world) is ReleaseStatus.TOO_LATE


def test_the_clock_is_looked_at_before_the_pid() -> None:
    world = World()
    world.block(hold_until=int(START) + 100)
    world.pay()
    world.now = START + 101  # nobody has ticked
    assert ask(world) is ReleaseStatus.TOO_LATE
    assert world.fates() == ["failed"]


# --- refusal ---


def test_a_refusal_fails_the_parts_back_and_tells_the_payer() -> None:
    world = World()
    world.block()
    world.pay()
    effects = world.feed(RefusalSeen(PID, "not mine", PATH))
    assert world.fates() == ["failed"]
    assert world.updates()[-1] == (BlockState.FAILED_BACK, 1)
    assert replies(effects) == [ReleaseStatus.TOO_LATE]


def test_only_who_knows_the_pid_can_refuse() -> None:
    world = World()
    world.block()
    world.pay()
    world.refuse(WRONG_PID)
    assert world.state() is State.HELD


def test_a_refusal_after_the_release_is_too_late() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    assert replies(world.feed(RefusalSeen(PID, None, PATH))) == [ReleaseStatus.RELEASED]
    assert world.fates() == ["forwarded"]


# --- channels ---


def test_on_lnd_the_payer_is_called_and_its_channel_waited_for() -> None:
    world = World()
    world.block()
    world.pay()
    world.disconnect(A)
    world.release()
    assert world.fates() == ["held"]
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_on_cln_the_payer_may_stay_away() -> None:
    world = World(cln())
    world.block()
    world.pay()
    world.disconnect(A)
    world.release()
    assert world.fates() == ["forwarded"]
    assert world.pushes(A) == []


@pytest.mark.parametrize("capabilities", [None, cln()])
def test_the_way_on_is_waited_for(capabilities: Any) -> None:
    world = World(capabilities)
    world.block()
    world.pay()
    world.disconnect(ROUTER)
    world.release()
    assert world.fates() == ["held"]
    world.connect(ROUTER)
    assert world.fates() == ["forwarded"]


def test_no_part_goes_before_all_can() -> None:
    world = World()
    world.block(amount_msat=3000)
    world.disconnect(B)
    world.pay()
    world.pay(channel=CHANNEL_A2)
    world.pay(outgoing_channel=CHANNEL_B)
    world.release()
    assert world.fates() == ["held", "held", "held"]
    world.connect(B)
    assert world.fates() == ["forwarded", "forwarded", "forwarded"]


def test_parts_not_on_offer_are_waited_for_and_their_payer_called() -> None:
    world = World()
    world.block()
    world.pay()
    world.restart_node()
    world.connect(ROUTER)
    world.release()
    assert world.state() is State.DUE
    assert "async_payments.settlement_pending" in world.pushes(A)
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_after_a_restart_nothing_goes_before_every_part_is_on_offer_again() -> None:
    world = World()
    world.block(amount_msat=2000)
    first, second = world.pay(), world.pay()
    world.disconnect(ROUTER)
    world.release()
    world.htlcs[second].in_memory = False
    world.restart()
    world.connect(ROUTER)
    assert world.answered(first, second) == [[], []]
    world.feed(HtlcOffered(world.htlcs[second].htlc))
    assert world.answered(first, second) == [[Resolution.RESUME]] * 2


def test_a_new_stream_has_offered_nothing_yet() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.htlcs[key].in_memory = False
    world.attach()  # nobody said that the old stream had ended
    world.release()
    assert world.answered(key) == [[]]
    world.feed(HtlcOffered(world.htlcs[key].htlc))
    assert world.answered(key) == [[Resolution.RESUME]]


def test_whoever_must_come_before_a_restarted_node_speaks_is_called() -> None:
    """A node that could forward without the payer, but offers what it held only when the payer is back."""
    half = replace(cln(), reoffers_without_payer=Capability(False, "a third implementation"))
    world = World(half)
    world.block()
    world.pay()
    world.restart_node()
    world.connect(ROUTER)
    world.release()
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.connect(A)
    assert world.fates() == ["forwarded"]


@pytest.mark.parametrize("limit", ["height", "time"])
def test_whoever_does_not_come_is_not_waited_for_beyond_the_deadline(limit: str) -> None:
    world = World()
    world.block()
    world.pay()
    world.disconnect(A)
    world.release()
    if limit == "height":
        world.mine_to(HEIGHT + 433)
    else:
        world.sleep(86_401)
    assert world.fates() == ["failed"]
    assert world.state() is State.FAILED_BACK


def test_a_released_part_offered_again_without_its_payer_waits_for_it_once_more() -> None:
    """After a crash between storing and answering the payer may have gone: a RESUME now would fail the part."""
    world = World()
    world.block(amount_msat=2000)
    keys = world.pay(), world.pay()
    world.crash_at = world.actions + 2  # stored, nothing answered
    world.on_crash = lambda: world.disconnect(A)
    world.release()
    assert world.answered(*keys) == [[], []]
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.connect(A)
    assert world.fates() == ["forwarded", "forwarded"]


def test_a_released_part_never_waits_beyond_the_blocks_deadlines() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.release()
    world.disconnect(A)
    world.restart()
    world.replay(key)
    assert world.answered(key) == [[Resolution.RESUME]]
    world.sleep(86_401)
    assert world.answered(key) == [[Resolution.RESUME, Resolution.RESUME]]
    assert world.losses == []


# --- the pid in transit ---


def transit(payment_unblock: bytes | None, destination: bytes = A) -> OnionInTransit:
    return OnionInTransit(
        source=ROUTER,
        message=OnionMessage(B, bytes(1366)),
        next_node_id=destination,
        payment_unblock=payment_unblock,
        undelivered=False,
    )


def test_a_pid_in_transit_releases_and_is_not_stored_for_the_payer() -> None:
    world = World()
    world.block()
    world.pay()
    world.disconnect(A)
    world.connect(A)
    world.disconnect(A)
    world.feed(transit(PID))
    assert world.state() is State.DUE
    assert "lsps5.onion_message_incoming" not in world.pushes(A)
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_a_message_with_an_unknown_pid_is_a_message_like_any_other() -> None:
    world = World()
    world.disconnect(A)
    world.feed(transit(WRONG_PID))
    assert world.pushes(A) == ["lsps5.onion_message_incoming"]
