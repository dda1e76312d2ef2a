"""What the three engines share: what goes in, what comes out, how they are driven, and the two measures of time.

An engine takes one event at a time and returns a `Transition`: changes to its records, then effects. First the changes
are stored, then the effects are carried out. That order is written here once, in `drive`; the service, the simulator
and the unit tests carry it out, and may be killed between any two of its actions:

    for action in drive(engine, clock, events):
        match action:
            case Recall():          read `action.wanted` of what is archived, and give it to `action.take`
            case Commit():          store `action.changes` in one transaction
            case Perform(effect):   do it, and report what it asks to be reported as new events

If a Commit fails, nothing was decided: throw the engine away and start another one from the store. A failed write is a
crash, and a crash is harmless. For the same reason several events may be decided on together and stored in one
transaction, as long as no effect is performed before.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

R = TypeVar("R", covariant=True)
"""A record: a frozen dataclass with a `key`."""
F = TypeVar("F", covariant=True)
"""An effect: something to be done outside."""
E = TypeVar("E", contravariant=True)
"""An event."""

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

    def wanted(self, now: float, event: E) -> Any:
        """What of the archived records the decision on this event may rest on; None for nothing."""
        ...

    def recall(self, found: Any) -> None:
        """Take in what was found of that."""
        ...

    def handle(self, now: float, event: E) -> Transition[R, F]:
        """Decide on one event at `now`: seconds, on a clock that never goes back."""
        ...

    def committed(self) -> None:
        """All that was decided is stored: what is archived need not be in memory any more."""
        ...


class WholeInMemory:
    """For an engine that archives nothing: all of its records are in memory."""

    def wanted(self, _now: float, _event: object) -> None:
        """Nothing: see Engine.wanted."""

    def recall(self, _found: object) -> None:
        """Not called: see Engine.recall."""

    def committed(self) -> None:
        """Nothing: see Engine.committed."""


# --- driving ---


@dataclass(frozen=True, slots=True)
class Recall:
    """Look for what is wanted among the archived records, and give what is found to `take`. It may be nothing."""

    wanted: Any
    take: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Commit(Generic[E, R]):
    """Store the changes of these decisions in one transaction; there may be none. decisions: events, in their order."""

    decisions: tuple[tuple[E, Transition[R, Any]], ...]

    @property
    def changes(self) -> tuple[Change[R], ...]:
        """All changes, in the order in which they were made."""
        return tuple(change for _, transition in self.decisions for change in transition.changes)


@dataclass(frozen=True, slots=True)
class Perform(Generic[F]):
    """Carry out this effect. Everything that it rests on is stored."""

    effect: F


Action: TypeAlias = Recall | Commit[E, R] | Perform[F]


class EngineError(Exception):
    """The engine has failed on `event`, and cannot be trusted any more: throw it away. The cause is chained."""

    def __init__(self, event: object) -> None:
        super().__init__(f"the engine has failed on {type(event).__name__}")
        self.event = event


def drive(engine: Engine[E, R, F], clock: Callable[[], float], events: Iterable[E]) -> Iterator[Action[E, R, F]]:
    """Decide on `events` together, and yield what to do about them, in the order in which it must be done.

    clock: the engine's time, read for each event. EngineError if the engine fails on an event: after all that was
    decided before that event has been yielded.
    """
    decisions: list[tuple[E, Transition[R, F]]] = []
    failure: EngineError | None = None
    for event in events:
        try:
            now = clock()
            if (wanted := engine.wanted(now, event)) is not None:
                yield Recall(wanted, engine.recall)
            decisions.append((event, engine.handle(now, event)))
        except Exception as error:  # of any kind: the events before it were decided on well
            failure = EngineError(event)
            failure.__cause__ = error
            break
    yield Commit(tuple(decisions))
    engine.committed()
    for _, transition in decisions:
        for effect in transition.effects:
            yield Perform(effect)
    if failure is not None:
        raise failure


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


@dataclass(frozen=True, slots=True)
class StoredClock:
    """What a component must not forget of its clock: how the engine's time and Unix time belong together.

    time: the engine's, in seconds, when this was written. believed_offset_seconds: by how much Unix time was ahead of
    it, as believed. shown_offset_seconds: by how much the system's clock was ahead of it; another one while in doubt.
    id: 0, there is one clock.
    """

    time: float
    believed_offset_seconds: float
    shown_offset_seconds: float
    id: int = 0

    @property
    def key(self) -> int:
        """As of any record."""
        return self.id


_MOST_DOUBLINGS = 60  # by then any pause is longer than any wait, and still far from a float's limit


def backoff_seconds(first_seconds: float, most_seconds: float, times: int) -> float:
    """How long to wait before the next repetition: `first_seconds`, doubled `times` times, `most_seconds` at most."""
    return min(first_seconds * 2.0 ** min(times, _MOST_DOUBLINGS), most_seconds)
