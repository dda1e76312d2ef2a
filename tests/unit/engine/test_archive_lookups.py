"""Which archived blocks each event of an LSP concerns: these are looked up in the store before it is handled."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.archive import Due, Lookup
from asyncpay.engine.lsp.interface import BlockRequested, CancelRequested, PaymentReported, RefusalSeen, ReleaseSeen
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.schedule import SLICE
from asyncpay.lightning import ChannelId, HtlcKey, PaymentResult, PaymentStatus
from asyncpay.node_events import BlockConnected, HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled, OnionInTransit
from asyncpay.wire.messages import CancelRequest, unblock_hash
from asyncpay.wire.onion import OnionMessage

from .factories import HASH, HEIGHT, PID, PREIMAGE, START, A, B, request
from .harness import settled

BLOCK = unblock_hash(PID)
KEY = HtlcKey(ChannelId.from_name(7), 77)
CANCEL = CancelRequest(unblock_hash=BLOCK, signature=bytes(65))
IN_TRANSIT = OnionInTransit(
    source=A, message=OnionMessage(B, bytes(1366)), next_node_id=B, payment_unblock=PID, undelivered=False
)


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (BlockRequested(A, request()), Lookup((BLOCK,), ((A, HASH),))),
        (BlockRequested(B, request()), Lookup((BLOCK,))),
        (BlockRequested(A, request(invoice="lnbcrt1")), Lookup((BLOCK,), ((A, HASH),), attempts_if_new=(HASH,))),
        (CancelRequested(A, CANCEL), Lookup((BLOCK,))),
        (CancelRequested(B, CANCEL), None),
        (ReleaseSeen(PID), Lookup((BLOCK,))),
        (RefusalSeen(PID), Lookup((BLOCK,))),
        (IN_TRANSIT, Lookup((BLOCK,))),
        (replace(IN_TRANSIT, payment_unblock=None), None),
        (HtlcSettled(KEY, PREIMAGE), Lookup(htlcs=(KEY,))),
        (HtlcFailed(KEY), Lookup(htlcs=(KEY,))),
        (HtlcGone(KEY), Lookup(htlcs=(KEY,))),
        (PaymentReported(HASH, PaymentResult(status=PaymentStatus.FAILED)), Lookup(attempts=(HASH,))),
        (BlockConnected(HEIGHT + 1), None),
        (Tick(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_event_names_the_archived_blocks_that_it_concerns(event: Any, wanted: Lookup | None) -> None:
    harness = settled()
    assert harness.engine.wanted(harness.now, event) == wanted


def test_what_is_over_is_looked_up_on_a_block_and_when_other_work_is_due() -> None:
    engine, now = settled().engine, START + 86_500
    engine.next_deadline = now + 1  # of something else
    assert engine.wanted(now, Tick()) is None
    assert engine.wanted(now, BlockConnected(HEIGHT + 1)) == Lookup(due=Due(int(now) - 1, HEIGHT + 1, SLICE))
    assert engine.wanted(now + 1, Tick()) == Lookup(due=Due(int(now), HEIGHT, SLICE))


def test_nothing_is_looked_up_for_clients_without_archived_blocks() -> None:
    harness = settled()
    engine, part = harness.engine, next(each for each in harness.stored.values() if isinstance(each, Htlc))
    new = replace(part.htlc, key=replace(part.key, htlc_id=99))
    assert engine.wanted(harness.now, HtlcOffered(new)) == Lookup(htlcs=(new.key,), payments=((A, HASH),))
    assert engine.wanted(harness.now, HtlcOffered(replace(new, peer=B))) is None
