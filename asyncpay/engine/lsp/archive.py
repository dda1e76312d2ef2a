"""What the engine knows of archived blocks without having them in memory, and how it asks the store for them.

Finished blocks are remembered for days, so there are many more of them than of others, and nothing waits for nearly all
of them. These are archived (archiving.py): the store has them, and memory has a count for each client. `Lookup` says
which of them an event may concern; the shell finds them before the event is decided on (asyncpay.engine.core.Recall).
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.lsp.records import Archived, Attempt, Block, Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HtlcKey, NodeId


@dataclass(frozen=True, slots=True)
class Due:
    """Archived blocks whose time is over: `forget_after` or `forget_at_height` is reached. most: of each, in order."""

    unix_second: int
    height: int
    most: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """Archived blocks: by unblock_hash, by client and payment hash, by part, by hash of an attempt, or by time."""

    unblock_hashes: tuple[bytes, ...] = ()
    payments: tuple[tuple[NodeId, bytes], ...] = ()
    htlcs: tuple[HtlcKey, ...] = ()
    attempts: tuple[bytes, ...] = ()
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class ArchivedBlock:
    """An archived block as the store gives it back, with everything that belongs to it."""

    entry: Archived
    block: Block
    parts: tuple[Htlc, ...]
    attempts: tuple[Attempt, ...]

    @property
    def records(self) -> tuple[Block | Htlc | Attempt, ...]:
        """All records, the block first."""
        return self.block, *self.parts, *self.attempts


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a Lookup; more than was asked for does no harm.

    first_forget_after, first_forget_at_height: if `due` was asked for, the first of all others; infinity for none.
    """

    blocks: tuple[ArchivedBlock, ...]
    first_forget_after: float | None = None
    first_forget_at_height: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the store tells of archived blocks at the start.

    blocks: how many there are, by client and state. The rest: as in Archived, the latest time, and the first deadlines.
    """

    blocks: tuple[tuple[NodeId, State, int], ...] = ()
    latest_at: float | None = None
    first_forget_after: float = math.inf
    first_forget_at_height: float = math.inf


NOTHING: Summary = Summary()
Entries: TypeAlias = dict[bytes, Archived]


@dataclass
class Archive:
    """Archived blocks, as far as they are known without looking. By unblock_hash, unless stated otherwise.

    blocks_of: how many each client has that are not in memory; total: of all clients.
    latest_at, first_forget_after, first_forget_at_height: as in Summary; the deadlines may be early, never too late.
    loaded: those that are in memory too, as the store has them: an event asked for them, or they were just archived.
    to_unload: those among them that leave memory once all decisions are stored.
    candidates: finished blocks in memory, of which is to be seen whether they can be archived.
    look_again_at: finished blocks that something in memory still refers to.
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

    @classmethod
    def begin(cls, summary: Summary) -> "Archive":
        """As the store has it: nothing of it is loaded."""
        archive = cls(
            latest_at=summary.latest_at,
            first_forget_after=summary.first_forget_after,
            first_forget_at_height=summary.first_forget_at_height,
        )
        for client, _, number in summary.blocks:
            archive.blocks_of[client] += number
            archive.total += number
        return archive

    def count(self, client: NodeId, sign: int) -> None:
        """A block of this client has left memory (1), or was recalled (-1)."""
        self.total += sign
        self.blocks_of[client] += sign
        if not self.blocks_of[client]:
            del self.blocks_of[client]

    def note(self, entry: Archived) -> None:
        """This one is archived: it may be the first whose time is over."""
        if entry.forget_after is not None:
            self.first_forget_after = min(self.first_forget_after, entry.forget_after)
        if entry.forget_at_height is not None:
            self.first_forget_at_height = min(self.first_forget_at_height, entry.forget_at_height)
        if entry.latest_at is not None:
            self.latest_at = entry.latest_at if self.latest_at is None else max(self.latest_at, entry.latest_at)
