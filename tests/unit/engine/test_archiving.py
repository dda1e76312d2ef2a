"""Finished blocks that nothing waits for: only the store has them, and they answer as before."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from asyncpay.engine.core import Commit, Recall, Tick, drive
from asyncpay.engine.lsp.archive import Due, Lookup
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    ReleaseSeen,
    ResolveHtlc,
    SendAlong,
    SendToClient,
    UpdateSent,
)
from asyncpay.engine.lsp.records import BLOCK_BYTES, Archived, Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import PaymentResult, PaymentStatus, Resolution
from asyncpay.node_events import BlockConnected, HtlcGone, HtlcOffered
from asyncpay.wire import blinding
from asyncpay.wire.blinding import HopData
from asyncpay.wire.messages import (
    BlockReply,
    BlockState,
    BlockStatus,
    BlockUpdate,
    CancelRequest,
    ReleaseReply,
    ReleaseStatus,
    unblock_hash,
)
from tests.support.full_scan import differences

from .factories import CHANNEL_B, HASH, HEIGHT, PID, PREIMAGE, START, A, B, courier, request
from .harness import LspHarness, paying_on_behalf, settled

BLOCK = unblock_hash(PID)


def failed_back() -> LspHarness:
    """A has cancelled a held payment."""
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.cancel()
    return harness


def claimed() -> LspHarness:
    """The LSP has paid in A's place and claimed the part; A has come back and knows."""
    harness = paying_on_behalf()
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.connect(A)
    assert harness.state() is State.CLAIMED
    return harness


def is_archived(harness: LspHarness) -> bool:
    """The store has it archived, and memory does not have it."""
    records = harness.engine.state.records
    of_parts = [part.block for part in records.htlcs.values()]
    of_attempts = [attempt.block for attempt in records.attempts.values()]
    loaded = BLOCK in (*records.blocks, *of_parts, *of_attempts)
    archived = (Archived, BLOCK) in harness.stored
    entries = [each for each in harness.stored.values() if isinstance(each, Archived)]
    attempts = [each for each in harness.stored.values() if isinstance(each, Attempt)]
    assert list(differences(harness.engine.state, harness.policy, entries, attempts)) == []
    assert archived or loaded
    assert not archived or loaded or harness.engine.state.schedule.kept_until(BLOCK) == (None, None)
    return archived and not loaded


@pytest.fixture(params=[False, True], ids=["", "restarted"])
def then(request: pytest.FixtureRequest) -> Callable[[LspHarness], LspHarness]:
    """What comes next comes to the same process, or to the next one."""

    def go_on(harness: LspHarness) -> LspHarness:
        assert is_archived(harness)
        if request.param:
            harness.restart()
        assert is_archived(harness)
        return harness

    return go_on


@pytest.mark.parametrize("ended", [settled, failed_back, claimed])
def test_a_block_that_has_ended_leaves_memory(ended: Callable[[], LspHarness]) -> None:
    harness = ended()
    assert is_archived(harness)
    block = harness.stored[Block, BLOCK]
    assert isinstance(block, Block)
    assert (block.courier, block.invoice) == (None, None)
    assert harness.engine.state.records.number_of_blocks(A) == 1
    assert harness.engine.state.records.block_bytes(A) == harness.engine.state.records.block_bytes() == BLOCK_BYTES


def test_one_whose_payer_does_not_know_stays() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.disconnect(A)
    harness.payee_settles()
    harness.feed(HtlcGone(key))
    assert harness.state() is State.SETTLED
    assert not is_archived(harness)
    harness.connect(A)
    assert harness.updates()[-1] == (BlockState.SETTLED, 1)
    assert is_archived(harness)


def test_one_whose_part_is_still_on_its_channel_stays() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.change_link(harness.link_named(harness.htlcs[key].htlc.outgoing_channel).short_channel_id)  # type: ignore[union-attr]
    harness.links[key.channel_id] = replace(harness.links[key.channel_id], usable=False)
    harness.payee_settles()
    assert harness.state() is State.SETTLED
    assert not is_archived(harness)
    harness.feed(HtlcGone(key))
    assert is_archived(harness)


def test_one_with_a_payment_in_flight_stays() -> None:
    harness = claimed()
    attempt = harness.stored[Attempt, HASH]
    assert isinstance(attempt, Attempt)
    harness.stored[Attempt, HASH] = replace(attempt, state=AttemptState.IN_FLIGHT)
    harness.paid[HASH] = PaymentResult(status=PaymentStatus.IN_FLIGHT)
    del harness.stored[Archived, BLOCK]
    harness.restart()
    assert not is_archived(harness)


def test_nothing_is_archived_before_the_node_is_attached() -> None:
    """It may have renamed channels meanwhile. The store is from before the archive."""
    harness = settled()
    del harness.stored[Archived, BLOCK]
    engine = Lsp(harness.policy, harness.capabilities, list(harness.stored.values()))
    assert engine.handle(harness.now, Tick()).changes == ()
    harness.restart()
    assert is_archived(harness)


def test_an_update_that_waits_for_its_turn_keeps_no_block_in_memory() -> None:
    harness = settled(LspHarness(policy=LspPolicy(pace_seconds=10)))
    harness.sleep(1000)
    assert is_archived(harness)
    for _ in range(8):
        harness.cancel()
    sent = len(harness.updates())
    assert is_archived(harness)
    harness.sleep(1000)
    assert harness.updates()[sent:] == [(BlockState.SETTLED, 1)]
    assert is_archived(harness)


def test_a_block_that_is_found_twice_is_recalled_once() -> None:
    harness = settled()
    found = harness.recall(Lookup(due=Due(int(START) + 90_000, HEIGHT, 1)))
    assert found.blocks
    for _ in range(2):
        harness.engine.recall(found)
    records = harness.engine.state.records
    assert (records.number_of_blocks(A), records.totals.blocks[State.SETTLED]) == (1, 1)


def test_the_same_request_is_accepted_as_before(then: Callable[[LspHarness], LspHarness]) -> None:
    harness = then(settled())
    effects = harness.block(courier=courier())
    sent = [each.message for each in effects if isinstance(each, SendToClient)]
    assert sent == [
        BlockReply(unblock_hash=BLOCK, status=BlockStatus.ACCEPTED),
        BlockUpdate(unblock_hash=BLOCK, state=BlockState.SETTLED, parts=1),
    ]
    assert harness.state() is State.SETTLED
    assert is_archived(harness)


@pytest.mark.parametrize(
    "changes",
    [{"payment_hashes": (bytes(32),)}, {"unblock_hash": b"o" * 32}, {"amount_msat": 999}],
    ids=["pid", "payment hash", "both"],
)
def test_a_pid_or_a_payment_hash_is_not_used_twice(
    then: Callable[[LspHarness], LspHarness], changes: dict[str, Any]
) -> None:
    harness = then(settled())
    replies = [each.message for each in harness.block(**changes) if isinstance(each, SendToClient)]
    assert [reply.status for reply in replies if isinstance(reply, BlockReply)] == [BlockStatus.CONFLICT]
    assert harness.state() is State.SETTLED
    assert is_archived(harness)


def test_a_payer_that_cancels_is_told_how_it_ended(then: Callable[[LspHarness], LspHarness]) -> None:
    harness = then(settled())
    harness.cancel()
    assert harness.updates()[-1] == (BlockState.SETTLED, 1)
    assert harness.state() is State.SETTLED
    assert is_archived(harness)


@pytest.mark.parametrize(
    ("ended", "status"), [(settled, ReleaseStatus.RELEASED), (failed_back, ReleaseStatus.TOO_LATE)]
)
def test_the_pid_is_answered_as_before(
    then: Callable[[LspHarness], LspHarness], ended: Callable[[], LspHarness], status: ReleaseStatus
) -> None:
    harness = then(ended())
    path = blinding.build(blinding.hops_through([B], HopData()), bytes([5]) * 32)
    (reply,) = (each for each in harness.feed(ReleaseSeen(PID, path)) if isinstance(each, SendAlong))
    assert reply.message == ReleaseReply(unblock_hash=BLOCK, status=status)
    assert is_archived(harness)


@pytest.mark.parametrize(
    ("ended", "resolution"),
    [(settled, Resolution.RESUME), (failed_back, Resolution.FAIL), (claimed, Resolution.FAIL)],
)
def test_a_late_part_is_resolved_as_before(
    then: Callable[[LspHarness], LspHarness], ended: Callable[[], LspHarness], resolution: Resolution
) -> None:
    harness = then(ended())
    key = harness.pay()
    assert harness.answered(key) == [[resolution]]
    assert is_archived(harness)


def test_a_part_that_is_offered_once_more_gets_the_same_answer(then: Callable[[LspHarness], LspHarness]) -> None:
    """Its channel was closed, and the node asks for the preimage on chain."""
    harness = then(claimed())
    (part,) = (each for each in harness.stored.values() if isinstance(each, Htlc))
    effects = harness.feed(HtlcOffered(part.htlc))
    assert [each.resolution for each in effects if isinstance(each, ResolveHtlc)] == [Resolution.SETTLE]
    assert is_archived(harness), "it is gone again"


def test_no_hash_is_paid_twice_on_behalf(then: Callable[[LspHarness], LspHarness]) -> None:
    """B asks for the invoice that was paid for A. What is known of that stays in memory, also after a restart."""
    harness = then(claimed())
    harness.block(B, unblock_hash=unblock_hash(b"b" * 32), invoice="lnbcrt1")
    for _ in range(2):
        assert HASH in harness.engine.state.records.attempts
        assert not is_archived(harness)
        harness.restart()
    harness.pay(1100, peer=B, channel=CHANNEL_B)
    harness.disconnect(B)
    harness.paid.clear()  # the node has forgotten it
    harness.release(b"b" * 32)
    assert len(harness.pay_orders) == 1


def test_one_that_shares_its_hash_is_archived_when_the_other_has_ended() -> None:
    harness = claimed()
    harness.block(B, unblock_hash=unblock_hash(b"b" * 32), invoice="lnbcrt1")
    assert not is_archived(harness)
    harness.cancel(B, b"b" * 32)
    harness.sleep(1000)
    assert is_archived(harness)


@pytest.mark.parametrize("first", ["height", "time"])
def test_it_is_forgotten_when_its_time_is_over(then: Callable[[LspHarness], LspHarness], first: str) -> None:
    harness = then(claimed())
    pass_height: Callable[[], object] = lambda: harness.mine_to(HEIGHT + 433)  # noqa: E731
    pass_time: Callable[[], object] = lambda: harness.sleep(86_500)  # noqa: E731
    one, other = (pass_height, pass_time) if first == "height" else (pass_time, pass_height)
    one()
    harness.mine()
    assert harness.state() is State.CLAIMED
    assert harness.engine.wanted(harness.now, BlockConnected(harness.height + 1)) is None, "nothing is due now"
    harness = then(harness)
    entry = harness.stored[Archived, BLOCK]
    harness.cancel()
    assert harness.stored[Archived, BLOCK] == entry, "it is kept no longer because it is asked for"
    assert is_archived(harness)
    other()
    harness.mine()
    kinds = {kind for kind, _ in harness.stored}
    assert kinds.isdisjoint({Block, Htlc, Attempt, Archived})
    records = harness.engine.state.records
    assert (records.number_of_blocks(A), records.block_bytes(), +records.totals.blocks) == (0, 0, {})


def test_archived_blocks_count_among_those_that_a_client_may_have(then: Callable[[LspHarness], LspHarness]) -> None:
    harness = then(settled(LspHarness(policy=LspPolicy(pace_seconds=0, max_blocks=1))))
    sent = harness.block(unblock_hash=b"n" * 32, payment_hashes=(sha256(b"n").digest(),))
    replies = [each.message for each in sent if isinstance(each, SendToClient)]
    assert [reply.status for reply in replies if isinstance(reply, BlockReply)] == [BlockStatus.TOO_MANY_HOLDS]


def test_archived_blocks_of_every_state_count_after_a_restart() -> None:
    harness = settled()
    harness.block(unblock_hash=unblock_hash(b"n" * 32), payment_hashes=(sha256(b"n").digest(),))
    harness.cancel(A, b"n" * 32)
    harness.restart()
    assert is_archived(harness)
    records = harness.engine.state.records
    assert (records.number_of_blocks(A), records.block_bytes()) == (2, 2 * BLOCK_BYTES)


def test_the_engine_knows_the_time_of_what_is_archived() -> None:
    harness = LspHarness(clients=())
    harness.sleep(1000)
    settled(harness)
    harness.restart()
    assert is_archived(harness)
    assert harness.engine.stored_time == START + 1000


def test_what_is_archived_is_found_by_an_event_of_the_same_transaction() -> None:
    """The store does not have it archived before the transaction is committed."""
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    events: list[Any] = [
        CancelRequested(A, CancelRequest(unblock_hash=BLOCK, signature=bytes(65))),
        UpdateSent(BLOCK, BlockState.FAILED_BACK),
        HtlcGone(key),
        BlockRequested(A, request(amount_msat=999), None),
    ]
    recalled, sent = [], []
    for action in drive(harness.engine, lambda: harness.now, events):
        match action:
            case Recall(wanted, _):
                recalled.append(wanted)
            case Commit(changes=changes):
                for change in changes:
                    harness.store(change)
            case _ if isinstance(action.effect, SendToClient):
                sent.append(action.effect.message)
    assert recalled == []
    assert [each.status for each in sent if isinstance(each, BlockReply)] == [BlockStatus.CONFLICT]
    assert is_archived(harness)
