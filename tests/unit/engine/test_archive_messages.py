"""Messages about archived blocks: their cost does not depend on the blocks' parts, and damaged rows concern few.

The archive is that of a real store.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.archive import Found, Lookup
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    Log,
    RefusalSeen,
    ReleaseSeen,
    SendAlong,
    SendToClient,
)
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HtlcKey, Resolution
from asyncpay.log_events import LogEvent
from asyncpay.node_events import BlockConnected, HtlcGone, HtlcOffered, OnionInTransit
from asyncpay.store import LspStore
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
from asyncpay.wire.onion import OnionMessage

from .factories import HASH, HEIGHT, PID, A, B, request
from .harness import LspHarness

BLOCK = unblock_hash(PID)
PARTS = 20
PATH = blinding.build(blinding.hops_through([B], HopData()), bytes([5]) * 32)
UPDATE = BlockUpdate(unblock_hash=BLOCK, state=BlockState.FAILED_BACK, parts=PARTS)
ACCEPTED = BlockReply(unblock_hash=BLOCK, status=BlockStatus.ACCEPTED)
TOO_LATE = ReleaseReply(unblock_hash=BLOCK, status=ReleaseStatus.TOO_LATE)
OTHER_PID = sha256(b"another").digest()
OTHER_HASH = sha256(b"another hash").digest()


class StoredHarness(LspHarness):
    """Its records are in a real store. found: what the look-ups for the latest events have found."""

    def __init__(self, path: Path) -> None:
        self.db = LspStore(path)
        self.found: list[Found] = []
        super().__init__()

    def start(self) -> None:
        self._queue.clear()
        self._awaited.clear()
        self.engine = Lsp(self.policy, self.capabilities, self.db.load(), self.db.archived())
        self.attach()

    def store(self, change: Any) -> None:
        self.db.commit([change])
        super().store(change)

    def recall(self, wanted: Lookup) -> Found:
        self.found.append(self.db.recall(wanted))
        return self.found[-1]

    def failed_back(self, pid: bytes, payment_hash: bytes, parts: int) -> HtlcKey:
        """An archived block with so many parts; the key of the last one."""
        self.block(unblock_hash=unblock_hash(pid), payment_hashes=(payment_hash,), amount_msat=parts * 1000)
        keys = [self.pay(1000, payment_hash=payment_hash) for _ in range(parts)]
        self.cancel(A, pid)
        for key in keys:
            self.feed(HtlcGone(key))
        assert unblock_hash(pid) not in self.engine.state.records.blocks
        self.found.clear()
        return keys[-1]

    def damage(self, pid: bytes) -> None:
        """Let the archived block be one that this release cannot read."""
        change = "UPDATE archived_blocks SET told = 77 WHERE unblock_hash = ?"
        assert self.db._database.execute(change, (unblock_hash(pid),)).rowcount == 1


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[StoredHarness]:
    harness = StoredHarness(tmp_path / "lsp.sqlite")
    yield harness
    harness.db.close()


def asked(**changes: Any) -> BlockRequested:
    return BlockRequested(A, request(**{"payment_hashes": (HASH,), "amount_msat": PARTS * 1000, **changes}), None)


MESSAGES: dict[str, tuple[Any, list[Any]]] = {
    "release": (ReleaseSeen(PID, PATH), [TOO_LATE]),
    "release in transit": (
        OnionInTransit(
            source=A,
            message=OnionMessage(B, bytes(1366)),
            next_node_id=B,
            payment_unblock=PID,
            undelivered=False,
        ),
        [],
    ),
    "refusal": (RefusalSeen(PID, "no", PATH), [TOO_LATE]),
    "cancel": (CancelRequested(A, CancelRequest(unblock_hash=BLOCK, signature=bytes(65))), [UPDATE]),
    "the same request": (asked(), [ACCEPTED, UPDATE]),
    "another request": (asked(amount_msat=1), [replace(ACCEPTED, status=BlockStatus.CONFLICT)]),
    "a request for its payment": (
        asked(unblock_hash=b"n" * 32),
        [BlockReply(unblock_hash=b"n" * 32, status=BlockStatus.CONFLICT)],
    ),
}


def answers(effects: list[Any]) -> list[Any]:
    """The messages sent, without reasons."""
    sent = [each.message for each in effects if isinstance(each, (SendAlong, SendToClient))]
    return [replace(each, reason=None) if isinstance(each, BlockReply) else each for each in sent]


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_answered_without_reading_the_parts(
    harness: StoredHarness, message: Any, expected: list[Any]
) -> None:
    harness.failed_back(PID, HASH, PARTS)
    for _ in range(2):
        harness.found.clear()
        effects = harness.feed(message)
        assert answers(effects) == expected
        assert [(found.blocks, len(found.outlines)) for found in harness.found] == [((), 1)]
        assert harness.engine.state.records.archive.outlines == {}
        assert harness.state() is State.FAILED_BACK


def test_a_late_part_is_failed_without_reading_the_others(harness: StoredHarness) -> None:
    harness.failed_back(PID, HASH, PARTS)
    assert harness.answered(harness.pay(1000)) == [[Resolution.FAIL]]
    assert [(found.blocks, len(found.outlines)) for found in harness.found] == [((), 1)]


UNANSWERED: dict[str, Callable[[StoredHarness], Any]] = {
    **{name: lambda _, name=name: MESSAGES[name][0] for name in ("release", "release in transit", "refusal", "cancel")},  # type: ignore[misc]
    "an HTLC that may have been forwarded": lambda harness: HtlcOffered(
        next(each.htlc for each in harness.stored.values() if isinstance(each, Htlc) and each.block == BLOCK)
    ),
}


def unreadable(effects: list[Any]) -> list[str]:
    return [
        each.because for each in effects if isinstance(each, Log) and each.what is LogEvent.ARCHIVED_BLOCK_UNREADABLE
    ]


@pytest.mark.parametrize("event", UNANSWERED.values(), ids=UNANSWERED)
def test_an_event_about_a_block_that_cannot_be_read_decides_nothing(
    harness: StoredHarness, event: Callable[[StoredHarness], Any]
) -> None:
    harness.failed_back(PID, HASH, 2)
    harness.failed_back(OTHER_PID, OTHER_HASH, 2)
    harness.damage(PID)
    stored = dict(harness.stored)
    effects = harness.feed(event(harness))
    assert [BLOCK.hex() in line for line in unreadable(effects)] == [True]
    assert all(isinstance(each, Log) for each in effects)
    assert harness.stored == stored
    other = ReleaseReply(unblock_hash=unblock_hash(OTHER_PID), status=ReleaseStatus.TOO_LATE)
    assert answers(harness.feed(ReleaseSeen(OTHER_PID, PATH))) == [other]


def test_a_request_that_concerns_one_is_refused(harness: StoredHarness) -> None:
    harness.failed_back(PID, HASH, 2)
    harness.damage(PID)
    for each in (asked(), asked(unblock_hash=b"n" * 32)):
        reply = BlockReply(unblock_hash=each.request.unblock_hash, status=BlockStatus.UNAVAILABLE)
        assert answers(harness.feed(each)) == [reply]
    harness.block(unblock_hash=unblock_hash(OTHER_PID), payment_hashes=(OTHER_HASH,))
    assert unblock_hash(OTHER_PID) in harness.engine.state.records.blocks


def test_a_late_part_of_one_is_failed(harness: StoredHarness) -> None:
    harness.failed_back(PID, HASH, 2)
    harness.damage(PID)
    assert harness.answered(harness.pay(1000)) == [[Resolution.FAIL]]


def test_one_that_is_due_does_not_keep_others_from_being_deleted(harness: StoredHarness) -> None:
    harness.failed_back(PID, HASH, 2)
    harness.failed_back(OTHER_PID, OTHER_HASH, 2)
    harness.damage(PID)
    harness.mine_to(HEIGHT + 433)
    logged = len(unreadable(harness.effects))
    harness.sleep(86_500)
    harness.feed(BlockConnected(HEIGHT + 500))
    assert {name for kind, name in harness.stored if kind is Block} == {BLOCK}
    assert len(unreadable(harness.effects)) == logged + 1
    harness.found.clear()
    for number in range(10):
        harness.feed(BlockConnected(HEIGHT + 501 + number))
        harness.feed(Tick())
    assert harness.found == [], "it is not looked up again before a day has passed"
    harness.sleep(90_000)
    harness.feed(BlockConnected(HEIGHT + 600))
    assert len(unreadable(harness.effects)) == logged + 2
