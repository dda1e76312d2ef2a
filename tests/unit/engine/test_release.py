"""The release: what it needs, who is waited for, and what whoever shows a pid is told."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.lsp.interface import RefusalSeen, ReleaseSeen, ResolveHtlc, SendAlong
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capability, Resolution
from asyncpay.node_events import HtlcOffered, OnionInTransit
from asyncpay.wire.blinding import BlindedHop, BlindedPath
from asyncpay.wire.messages import BlockState, ReleaseStatus, unblock_hash
from asyncpay.wire.onion import OnionMessage

from .factories import CHANNEL_A2, CHANNEL_B, HEIGHT, PID, ROUTER, START, A, B, cln
from .harness import LspHarness

PATH = BlindedPath(B, B, (BlindedHop(B, b""),))
WRONG_PID = b"q" * 32


def replies(effects: list[Any]) -> list[ReleaseStatus]:
    return [effect.message.status for effect in effects if isinstance(effect, SendAlong)]


def ask(harness: LspHarness, pid: bytes = PID) -> ReleaseStatus:
    (status,) = replies(harness.feed(ReleaseSeen(pid, PATH)))
    return status


@pytest.mark.parametrize("parts", [1, 2, 16, 450])
def test_all_parts_are_answered_in_one_step_before_anything_else(parts: int) -> None:
    harness = LspHarness()
    harness.block(amount_msat=1000 * parts)
    keys = [harness.pay() for _ in range(parts)]
    effects = harness.release()
    assert [type(effect) for effect in effects[:parts]] == [ResolveHtlc] * parts
    assert harness.answered(*keys) == [[Resolution.RESUME]] * parts
    assert harness.updates()[-1] == (BlockState.RELEASED, parts)


@pytest.mark.parametrize("order", ["parts first", "pid first", "pid in between"])
def test_pid_and_parts_in_any_order(order: str) -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    steps = {"parts first": "PPR", "pid first": "RPP", "pid in between": "PRP"}[order]
    for step in steps:
        assert "forwarded" not in harness.fates()
        harness.pay() if step == "P" else harness.release()
    assert harness.fates() == ["forwarded", "forwarded"]


def test_an_early_pid_outlives_a_crash() -> None:
    harness = LspHarness()
    harness.block()
    harness.release()
    harness.restart()
    harness.pay()
    assert harness.fates() == ["forwarded"]


@pytest.mark.parametrize("pid", [WRONG_PID, PID[:31], PID + b"p", b""])
def test_a_wrong_pid_releases_nothing_and_leaves_no_trace(pid: bytes) -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    stored = dict(harness.stored)
    assert ask(harness, pid) is ReleaseStatus.UNKNOWN
    assert harness.stored == stored
    assert harness.fates() == ["held"]


def test_one_payments_pid_does_not_release_another() -> None:
    harness = LspHarness()
    other = b"o" * 32
    harness.block()
    harness.pay()
    harness.block(unblock_hash=unblock_hash(WRONG_PID), payment_hashes=(other,))
    harness.pay(payment_hash=other)
    harness.release(WRONG_PID)
    assert harness.fates() == ["held", "forwarded"]


def test_a_replayed_pid_changes_nothing() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.release()
    harness.payee_settles()
    assert ask(harness) is ReleaseStatus.RELEASED
    assert harness.answered(key) == [[Resolution.RESUME]]


def test_what_is_told_in_each_stage() -> None:
    harness = LspHarness()
    assert ask(harness) is ReleaseStatus.UNKNOWN
    harness.block()
    assert ask(harness) is ReleaseStatus.RELEASED  # about to be
    harness.pay()
    assert ask(harness) is ReleaseStatus.RELEASED
    harness.payee_settles()
    assert ask(harness) is ReleaseStatus.RELEASED


def test_too_late_after_a_fail_back() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.cancel()
    assert ask(harness) is ReleaseStatus.TOO_LATE
    assert harness.fates() == ["failed"]


def test_too_late_after_all_parts_came_back() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.payee_fails(key)
    assert ask(harness) is ReleaseStatus.TOO_LATE


def test_the_clock_is_looked_at_before_the_pid() -> None:
    harness = LspHarness()
    harness.block(hold_until=int(START) + 100)
    harness.pay()
    harness.now = START + 101  # nobody has ticked
    assert ask(harness) is ReleaseStatus.TOO_LATE
    assert harness.fates() == ["failed"]


# --- refusal ---


def test_a_refusal_fails_the_parts_back_and_tells_the_payer() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    effects = harness.feed(RefusalSeen(PID, "not mine", PATH))
    assert harness.fates() == ["failed"]
    assert harness.updates()[-1] == (BlockState.FAILED_BACK, 1)
    assert replies(effects) == [ReleaseStatus.TOO_LATE]


def test_only_who_knows_the_pid_can_refuse() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.refuse(WRONG_PID)
    assert harness.state() is State.HELD


def test_a_refusal_after_the_release_is_too_late() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    assert replies(harness.feed(RefusalSeen(PID, None, PATH))) == [ReleaseStatus.RELEASED]
    assert harness.fates() == ["forwarded"]


# --- channels ---


def test_on_lnd_the_payer_is_called_and_its_channel_waited_for() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.disconnect(A)
    harness.release()
    assert harness.fates() == ["held"]
    assert harness.pushes(A) == ["async_payments.settlement_pending"]
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


def test_on_cln_the_payer_may_stay_away() -> None:
    harness = LspHarness(cln())
    harness.block()
    harness.pay()
    harness.disconnect(A)
    harness.release()
    assert harness.fates() == ["forwarded"]
    assert harness.pushes(A) == []


@pytest.mark.parametrize("capabilities", [None, cln()])
def test_the_way_on_is_waited_for(capabilities: Any) -> None:
    harness = LspHarness(capabilities)
    harness.block()
    harness.pay()
    harness.disconnect(ROUTER)
    harness.release()
    assert harness.fates() == ["held"]
    harness.connect(ROUTER)
    assert harness.fates() == ["forwarded"]


def test_no_part_goes_before_all_can() -> None:
    harness = LspHarness()
    harness.block(amount_msat=3000)
    harness.disconnect(B)
    harness.pay()
    harness.pay(channel=CHANNEL_A2)
    harness.pay(outgoing_channel=CHANNEL_B)
    harness.release()
    assert harness.fates() == ["held", "held", "held"]
    harness.connect(B)
    assert harness.fates() == ["forwarded", "forwarded", "forwarded"]


def test_parts_not_on_offer_are_waited_for_and_their_payer_called() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.restart_node()
    harness.connect(ROUTER)
    harness.release()
    assert harness.state() is State.DUE
    assert "async_payments.settlement_pending" in harness.pushes(A)
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


def test_after_a_restart_nothing_goes_before_every_part_is_on_offer_again() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    first, second = harness.pay(), harness.pay()
    harness.disconnect(ROUTER)
    harness.release()
    harness.htlcs[second].in_memory = False
    harness.restart()
    harness.connect(ROUTER)
    assert harness.answered(first, second) == [[], []]
    harness.feed(HtlcOffered(harness.htlcs[second].htlc))
    assert harness.answered(first, second) == [[Resolution.RESUME]] * 2


def test_a_new_stream_has_offered_nothing_yet() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.htlcs[key].in_memory = False
    harness.attach()  # nobody said that the old stream had ended
    harness.release()
    assert harness.answered(key) == [[]]
    harness.feed(HtlcOffered(harness.htlcs[key].htlc))
    assert harness.answered(key) == [[Resolution.RESUME]]


def test_whoever_must_come_before_a_restarted_node_speaks_is_called() -> None:
    """A node that could forward without the payer, but offers what it held only when the payer is back."""
    half = replace(cln(), reoffers_without_payer=Capability(False, "a third implementation"))
    harness = LspHarness(half)
    harness.block()
    harness.pay()
    harness.restart_node()
    harness.connect(ROUTER)
    harness.release()
    assert harness.pushes(A) == ["async_payments.settlement_pending"]
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


@pytest.mark.parametrize("limit", ["height", "time"])
def test_whoever_does_not_come_is_not_waited_for_beyond_the_deadline(limit: str) -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.disconnect(A)
    harness.release()
    if limit == "height":
        harness.mine_to(HEIGHT + 433)
    else:
        harness.sleep(86_401)
    assert harness.fates() == ["failed"]
    assert harness.state() is State.FAILED_BACK


def test_a_released_part_offered_again_without_its_payer_waits_for_it_once_more() -> None:
    """After a crash between storing and answering the payer may have gone: a RESUME now would fail the part."""
    harness = LspHarness()
    harness.block(amount_msat=2000)
    keys = harness.pay(), harness.pay()
    harness.crash_at = harness.actions + 2  # stored, nothing answered
    harness.on_crash = lambda: harness.disconnect(A)
    harness.release()
    assert harness.answered(*keys) == [[], []]
    assert harness.pushes(A) == ["async_payments.settlement_pending"]
    harness.connect(A)
    assert harness.fates() == ["forwarded", "forwarded"]


def test_a_released_part_never_waits_beyond_the_blocks_deadlines() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.disconnect(A)
    harness.restart()
    harness.replay(key)
    assert harness.answered(key) == [[Resolution.RESUME]]
    harness.sleep(86_401)
    assert harness.answered(key) == [[Resolution.RESUME, Resolution.RESUME]]
    assert harness.losses == []


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
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.disconnect(A)
    harness.connect(A)
    harness.disconnect(A)
    harness.feed(transit(PID))
    assert harness.state() is State.DUE
    assert "lsps5.onion_message_incoming" not in harness.pushes(A)
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


def test_a_message_with_an_unknown_pid_is_a_message_like_any_other() -> None:
    harness = LspHarness()
    harness.disconnect(A)
    harness.feed(transit(WRONG_PID))
    assert harness.pushes(A) == ["lsps5.onion_message_incoming"]
