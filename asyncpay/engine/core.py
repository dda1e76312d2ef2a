"""What the three engines share: what goes in, what comes out, and the two measures of time.

An engine takes one event at a time and returns a `Transition`: changes to its records, then effects. `driver` stores
the first and carries out the second.
"""

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from sortedcontainers import SortedList

R = TypeVar("R", covariant=True)
"""A record: a frozen dataclass with a `key`."""
F = TypeVar("F", covariant=True)
"""An effect: something to be done outside."""
E = TypeVar("E", contravariant=True)
"""An event."""
K = TypeVar("K")

# --- in ---


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Due when the engine's `next_deadline` is reached; harmless at any other time."""


@dataclass(frozen=True, slots=True)
class Detached:
    """The node's stream has ended. It will offer everything again; what it was asked it may never answer."""


@dataclass(frozen=True, slots=True)
class ClockRead:
    """By how much Unix time is ahead of the `now` of `handle`: between these two.

    Both are the same as long as the clock is not in doubt (see asyncpay.service.common.clock).
    """

    earliest_offset_seconds: int
    latest_offset_seconds: int


# --- out ---


@dataclass(frozen=True, slots=True)
class Put(Generic[R]):
    """Write this record in place of the one with the same key."""

    record: R


@dataclass(frozen=True, slots=True)
class Drop(Generic[R]):
    """Delete this record."""

    record: R


Change: TypeAlias = Put[R] | Drop[R]


@dataclass(frozen=True, slots=True)
class Transition(Generic[R, F]):
    """Store `changes` in one transaction, then carry out `effects` in this order."""

    changes: tuple[Change[R], ...]
    effects: tuple[F, ...]


class Engine(Protocol[E, R, F]):
    """A payer, a payee, both (asyncpay.engine.wallet), or an LSP (see asyncpay.engine.lsp.engine for the contract)."""

    @property
    def next_deadline(self) -> float:
        """When the engine needs a Tick, if nothing happens before; infinity for never."""
        ...

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that its records prove to have passed; None if there are none."""
        ...

    def handle(self, now: float, event: E) -> Transition[R, F]:
        """Decide on one event at `now`: seconds, on a clock that never goes back."""
        ...


# --- time ---


@dataclass(slots=True)
class UnixTime:
    """Unix time as an engine knows it: an interval, because a clock may be wrong.

    The `now` of `handle` never goes back and never leaps: it is right for everything that lasts so many seconds. What
    two nodes have agreed on in Unix time (hold_until, the expiry of an invoice) is compared with this interval, and
    nothing that cannot be taken back is decided unless it is true at both of its ends.

    now: the engine's own time, in seconds. Unix time lies between `now` + earliest_offset_seconds and `now` +
    latest_offset_seconds; both are 0 until a ClockRead says otherwise.
    """

    now: float = 0
    earliest_offset_seconds: int = 0
    latest_offset_seconds: int = 0

    def advance(self, now: float, event: object) -> None:
        """Go on to the time of this event. A ClockRead counts before anything is due by it."""
        self.now = now
        if isinstance(event, ClockRead):
            self.earliest_offset_seconds = event.earliest_offset_seconds
            self.latest_offset_seconds = event.latest_offset_seconds

    @property
    def latest(self) -> float:
        """The latest Unix time that it can be."""
        return self.now + self.latest_offset_seconds

    @property
    def last_past_second(self) -> int:
        """The last Unix second that is over, however the clock is read."""
        return math.floor(self.now + self.earliest_offset_seconds) - 1

    def surely_past(self, unix_seconds: int) -> bool:
        """Whether this Unix second is over, however the clock is read. The second itself is not past."""
        return unix_seconds <= self.last_past_second

    def past_at(self, unix_seconds: float) -> float:
        """When, in the engine's own time, `surely_past` becomes true."""
        return unix_seconds + 1.0 - self.earliest_offset_seconds


class Deadlines(Generic[K]):
    """Keys ordered by what each waits for: a time, or a height. A key waits for one number, or for none.

    An operation costs O(log n), so an event costs the same however much is remembered.
    """

    def __init__(self) -> None:
        # The second number is another one in each entry, so keys are never compared: they need no order.
        self._entries: dict[K, tuple[float, int, K]] = {}
        self._order: SortedList[Any] = SortedList()
        self._entered = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, deadline: float) -> None:
        """Let `key` wait for this, and for nothing else any more; infinity: for nothing."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == deadline:
            return
        self.discard(key)
        if deadline < math.inf:
            self._entered += 1
            entry = self._entries[key] = deadline, self._entered, key
            self._order.add(entry)

    def get(self, key: K) -> float:
        """What `key` waits for; infinity for nothing."""
        entry = self._entries.get(key)
        return math.inf if entry is None else entry[0]

    def clear(self) -> None:
        """Let no key wait any more."""
        self._entries.clear()
        self._order.clear()

    def discard(self, key: K) -> None:
        """Let `key` wait for nothing."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._order.remove(entry)

    @property
    def earliest(self) -> K | None:
        """The key that waits for the earliest of all, if there is one."""
        return cast(K, self._order[0][2]) if self._order else None

    @property
    def first(self) -> float:
        """The earliest of all; infinity if there is none."""
        return cast(float, self._order[0][0]) if self._order else math.inf

    def due(self, reached: float, most: int | None = None) -> list[K]:
        """The keys that wait for this or something earlier, earliest first; `most`: no more of them than that."""
        return [key for _, _, key in islice(self._order.irange(maximum=(reached, math.inf)), most)]


_MOST_DOUBLINGS = 60  # by then any pause is longer than any wait, and still far from a float's limit


def backoff_seconds(first_seconds: float, most_seconds: float, times: int) -> float:
    """How long to wait before the next repetition: `first_seconds`, doubled `times` times, `most_seconds` at most."""
    return min(first_seconds * 2.0 ** min(times, _MOST_DOUBLINGS), most_seconds)
