"""The summary of archived blocks that the engine keeps in memory, and look-ups of archived blocks in the store.

Finished blocks are kept for days, so they are far more numerous than others, and for nearly all of them nothing is
pending. These are archived (archiving.py): the store has them, and memory has only a count for each client. `Lookup`
names the blocks that an event may concern; the shell reads them before the event is handled
(asyncpay.engine.core.Recall). Most events need only an answer, for which `Outline` is enough: strangers and clients can
repeat their messages, so the cost of one must not depend on the number of a block's parts.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.lsp.records import Archived, Attempt, Block, Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HtlcKey, NodeId


@dataclass(frozen=True, slots=True)
class Due:
    """Archived blocks whose `forget_after` or `forget_at_height` is reached. most: the limit for each, in order."""

    unix_second: int
    height: int
    most: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """A look-up of archived blocks.

    unblock_hashes; payments (client and payment hash): only the outline is needed.
    htlcs (parts), attempts (by payment hash), due: the block with all of its parts and attempts is needed.
    attempts_if_new: as attempts, but not needed if a block is found by unblock_hash or payment.
    """

    unblock_hashes: tuple[bytes, ...] = ()
    payments: tuple[tuple[NodeId, bytes], ...] = ()
    htlcs: tuple[HtlcKey, ...] = ()
    attempts: tuple[bytes, ...] = ()
    attempts_if_new: tuple[bytes, ...] = ()
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class ArchivedBlock:
    """An archived block from the store, with its parts and attempts."""

    entry: Archived
    block: Block
    parts: tuple[Htlc, ...]
    attempts: tuple[Attempt, ...]

    @property
    def records(self) -> tuple[Block | Htlc | Attempt, ...]:
        """Return all records, the block first."""
        return self.block, *self.parts, *self.attempts


@dataclass(frozen=True, slots=True)
class Outline:
    """An archived block without its parts and attempts. parts: the number of its parts."""

    block: Block
    parts: int


class NamedBy(Enum):
    """The field of a Lookup that names a block."""

    MESSAGE = "unblock_hashes, payments"
    HTLC = "htlcs"
    ATTEMPT = "attempts, attempts_if_new"
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An archived block whose rows the store cannot read, and the reason."""

    unblock_hash: bytes
    named_by: NamedBy
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a Lookup; additional blocks are harmless.

    first_forget_after, first_forget_at_height: if `due` was requested, the first of all others; infinity for none.
    """

    blocks: tuple[ArchivedBlock, ...]
    first_forget_after: float | None = None
    first_forget_at_height: float | None = None
    outlines: tuple[Outline, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The store's summary of archived blocks at the start.

    blocks: how many there are, by client and state. unarchivable: unblock_hashes of blocks that could not be archived,
    and stay in memory. The rest: as in Archived, the latest time, and the first deadlines.
    """

    blocks: tuple[tuple[NodeId, State, int], ...] = ()
    latest_at: float | None = None
    first_forget_after: float = math.inf
    first_forget_at_height: float = math.inf
    unarchivable: frozenset[bytes] = frozenset()


NOTHING: Summary = Summary()
Entries: TypeAlias = dict[bytes, Archived]


@dataclass
class Archive:
    """The state in memory about archived blocks. By unblock_hash, unless stated otherwise.

    blocks_of: by client, the number of archived blocks that are not in memory; total: of all clients.
    latest_at, first_forget_after, first_forget_at_height: as in Summary; the deadlines may be early, never too late.
    unarchivable: as in Summary.
    loaded: those that are in memory too, as the store has them: an event asked for them, or they were just archived.
    to_unload: those among them that are removed from memory once all decisions are stored.
    candidates: finished blocks in memory that may be ready to be archived.
    look_again_at: when to check finished blocks again that something in memory still refers to.
    taken_back: blocks that are no longer archived by decisions that are not stored yet; the store still has them.
    outlines, unreadable: what the look-up for the present event found; both are empty between events.
    """

    blocks_of: Counter[NodeId] = field(default_factory=Counter)
    total: int = 0
    latest_at: float | None = None
    first_forget_after: float = math.inf
    first_forget_at_height: float = math.inf
    loaded: Entries = field(default_factory=dict)
    to_unload: dict[bytes, None] = field(default_factory=dict)
    candidates: dict[bytes, None] = field(default_factory=dict)
    look_again_at: Deadlines[bytes] = field(default_factory=Deadlines)
    taken_back: set[bytes] = field(default_factory=set)
    outlines: dict[bytes, Outline] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    unarchivable: frozenset[bytes] = frozenset()

    @classmethod
    def begin(cls, summary: Summary) -> "Archive":
        """Return the state at the start: no archived block is in memory."""
        archive = cls(
            latest_at=summary.latest_at,
            first_forget_after=summary.first_forget_after,
            first_forget_at_height=summary.first_forget_at_height,
            unarchivable=summary.unarchivable,
        )
        for client, _, number in summary.blocks:
            archive.blocks_of[client] += number
            archive.total += number
        return archive

    def count(self, client: NodeId, sign: int) -> None:
        """Count a block of this client that was removed from memory (sign 1), or recalled (sign -1)."""
        self.total += sign
        self.blocks_of[client] += sign
        if not self.blocks_of[client]:
            del self.blocks_of[client]

    def note(self, entry: Archived) -> None:
        """Record an archived block, whose deadline may be the first."""
        if entry.forget_after is not None:
            self.first_forget_after = min(self.first_forget_after, entry.forget_after)
        if entry.forget_at_height is not None:
            self.first_forget_at_height = min(self.first_forget_at_height, entry.forget_at_height)
        if entry.latest_at is not None:
            self.latest_at = entry.latest_at if self.latest_at is None else max(self.latest_at, entry.latest_at)
