"""Archived blocks, and events whose decisions are stored together: the store still has what they have deleted."""

from hashlib import sha256

import pytest

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.interface import BlockRequested, ResolveHtlc, SendToClient
from asyncpay.engine.lsp.records import Archived, Htlc
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import NodeId, Resolution
from asyncpay.node_events import BlockConnected, HtlcOffered, LinkClosed
from asyncpay.wire.messages import BlockReply, BlockRequest, BlockState, BlockStatus, unblock_hash

from .factories import HEIGHT, PREIMAGE, START, A, B, request
from .harness import LspHarness

SOON = int(START) + 10


def pid_of(number: int) -> bytes:
    return sha256(b"pid %d" % number).digest()


def asked(number: int, height: int, until: int) -> BlockRequest:
    hashes = (sha256(b"hash %d" % number).digest(),)
    name = unblock_hash(pid_of(number))
    return request(unblock_hash=name, payment_hashes=hashes, release_by_height=height, hold_until=until)


def cancelled(harness: LspHarness, number: int, height: int, client: NodeId = A, until: int = SOON) -> bytes:
    """A block that is archived, and over after this height; its unblock_hash."""
    harness.feed(BlockRequested(client, asked(number, height, until)))
    harness.cancel(client, pid_of(number))
    name = unblock_hash(pid_of(number))
    assert (Archived, name) in harness.stored
    return name


def archived(harness: LspHarness) -> int:
    """How many blocks the store has archived. The engine counts those of them that are not in memory."""
    archive = harness.engine.state.records.archive
    stored = sum(kind is Archived for kind, _ in harness.stored)
    assert archive.total + len(archive.loaded) == sum(archive.blocks_of.values()) + len(archive.loaded) == stored
    return stored


def two_blocks_end(harness: LspHarness) -> None:
    """Blocks of A are over at two heights, and both come in one transaction."""
    for number in (1, 2):
        cancelled(harness, number, HEIGHT + number)
    harness.sleep(60)
    harness.feed(BlockConnected(HEIGHT + 1))
    harness.feed_together(BlockConnected(HEIGHT + 2), BlockConnected(HEIGHT + 3))


def test_a_block_that_is_deleted_is_not_counted_twice() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.payee_settles()
    two_blocks_end(harness)
    assert archived(harness) == 1
    harness.cancel()
    assert harness.updates()[-1] == (BlockState.SETTLED, 1)
    sent = [effect.message for effect in harness.block(unblock_hash=b"n" * 32) if isinstance(effect, SendToClient)]
    assert [reply.status for reply in sent if isinstance(reply, BlockReply)] == [BlockStatus.CONFLICT]


def test_a_claimed_part_that_is_offered_again_on_chain_is_settled() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(1100)
    harness.disconnect(A)
    harness.release()
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.connect(A)
    two_blocks_end(harness)
    (part,) = (record for record in harness.stored.values() if isinstance(record, Htlc))
    harness.feed(LinkClosed(part.key.channel_id))
    resolved = [effect for effect in harness.feed(HtlcOffered(part.htlc)) if isinstance(effect, ResolveHtlc)]
    assert [(effect.resolution, effect.preimage) for effect in resolved] == [(Resolution.SETTLE, PREIMAGE)]


@pytest.mark.parametrize("waiting", [False, True], ids=["", "with updates that wait"])
def test_blocks_that_are_kept_for_their_height_delay_no_others(waiting: bool) -> None:
    """There are more than one look-up finds, and their updates have not left: another client's block is deleted."""
    harness, number, until = LspHarness(policy=LspPolicy(pace_seconds=0.3)), 45, int(START) + 40_000
    for each in range(number):
        cancelled(harness, each, HEIGHT + 1000, until=until)
        harness.sleep(2)
    others = cancelled(harness, number, HEIGHT + 1, client=B, until=until + 5)
    harness.feed(BlockConnected(HEIGHT + 3))
    harness.now = until - 1
    for each in range(number if waiting else 0):
        harness.feed(BlockRequested(A, asked(each, HEIGHT + 1000, until)))
    harness.now = until + 20
    harness.engine.slice_size = 10
    for _ in range(20):
        harness.now += 0.02
        harness.engine.next_deadline = harness.now  # something is due all the time
        harness.feed(Tick())
    assert (Archived, others) not in harness.stored
    assert archived(harness) == number
