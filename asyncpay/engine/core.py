"""The common interface of the three engines: inputs, outputs, the driver, and the two measures of time.

An engine takes one event at a time and returns a `Transition`: changes to its records, then effects. The changes are
stored first, then the effects are performed. That order is implemented once, in `drive`; the service, the simulator
and the unit tests execute its actions, and may be killed between any two of them:

    for action in drive(engine, clock, events):
        match action:
            case Recall():          look up `action.wanted` in the archive, and pass the result to `action.take`
            case Commit():          store `action.changes` in one transaction
            case Perform(effect):   perform it, and report its result as a new event if the effect requires it

If a Commit fails, nothing was decided: discard the engine and start another one from the store. A failed write is
equivalent to a crash, and a crash is harmless. For the same reason several events may be handled together and stored in
one transaction, as long as no effect is performed before it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

R = TypeVar("R", covariant=True)
"""A record: a frozen dataclass with a `key`."""
F = TypeVar("F", covariant=True)
"""An effect: an action outside the engine."""
E = TypeVar("E", contravariant=True)
"""An event."""

# --- in ---


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. The engine needs it when its `next_deadline` is reached; at any other time it is harmless."""


@dataclass(frozen=True, slots=True)
class Detached:
    """The node's stream has ended. A new stream offers everything again; open requests may never be answered."""


@dataclass(frozen=True, slots=True)
class ClockRead:
    """The least and the most by which Unix time is ahead of the `now` of `handle`.

    Both are equal as long as the clock is not in doubt (see asyncpay.service.common.clock).
    """

    earliest_offset_seconds: int
    latest_offset_seconds: int


# --- out ---


@dataclass(frozen=True, slots=True)
class Put(Generic[R]):
    """Write this record; it replaces the one with the same key."""

    record: R


@dataclass(frozen=True, slots=True)
class Drop(Generic[R]):
    """Delete this record."""

    record: R


Change: TypeAlias = Put[R] | Drop[R]


@dataclass(frozen=True, slots=True)
class Transition(Generic[R, F]):
    """Store `changes` in one transaction, then perform `effects` in this order."""

    changes: tuple[Change[R], ...]
    effects: tuple[F, ...]


class Engine(Protocol[E, R, F]):
    """A payer, a payee, both (asyncpay.engine.wallet), or an LSP (see asyncpay.engine.lsp.engine for the contract)."""

    @property
    def next_deadline(self) -> float:
        """The time at which the engine needs a Tick, if no event comes before; infinity for never."""
        ...

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that its records prove to have passed; None if there are none."""
        ...

    def wanted(self, now: float, event: E) -> Any:
        """Return a look-up of the archived records that the decision on this event may need; None if it needs none."""
        ...

    def recall(self, found: Any) -> None:
        """Add the archived records that the look-up found."""
        ...

    def handle(self, now: float, event: E) -> Transition[R, F]:
        """Handle one event at `now`: seconds, on a clock that never goes back."""
        ...

    def committed(self) -> None:
        """Handle that all decisions are stored: archived records need not stay in memory."""
        ...


class WholeInMemory:
    """Base class of an engine that archives nothing: all of its records are in memory."""

    def wanted(self, _now: float, _event: object) -> None:
        """Return None: see Engine.wanted."""

    def recall(self, _found: object) -> None:
        """Not called: see Engine.recall."""

    def committed(self) -> None:
        """Do nothing: see Engine.committed."""


# --- driving ---


@dataclass(frozen=True, slots=True)
class Recall:
    """Look up `wanted` in the archived records, and pass the result, which may be empty, to `take`."""

    wanted: Any
    take: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Commit(Generic[E, R]):
    """Store the changes of these decisions, which may be none, in one transaction. decisions: in the events' order."""

    decisions: tuple[tuple[E, Transition[R, Any]], ...]

    @property
    def changes(self) -> tuple[Change[R], ...]:
        """All changes, in the order in which they were made."""
        return tuple(change for _, transition in self.decisions for change in transition.changes)


@dataclass(frozen=True, slots=True)
class Perform(Generic[F]):
    """Perform this effect. All changes that it depends on are stored."""

    effect: F


Action: TypeAlias = Recall | Commit[E, R] | Perform[F]


class EngineError(Exception):
    """The engine has failed on `event`, and its state is undefined: discard it. The cause is chained."""

    def __init__(self, event: object) -> None:
        super().__init__(f"the engine has failed on {type(event).__name__}")
        self.event = event


def drive(engine: Engine[E, R, F], clock: Callable[[], float], events: Iterable[E]) -> Iterator[Action[E, R, F]]:
    """Handle `events` together, and yield the required actions in order.

    clock: the engine's time, read for each event. EngineError if the engine fails on an event; the actions for the
    events before it are yielded first.
    """
    decisions: list[tuple[E, Transition[R, F]]] = []
    failure: EngineError | None = None
    for event in events:
        try:
            now = clock()
            if (wanted := engine.wanted(now, event)) is not None:
                found: list[Any] = []
                yield Recall(wanted, found.append)
                for each in found:  # here, where an error of the engine is one on this event
                    engine.recall(each)
            decisions.append((event, engine.handle(now, event)))
        except Exception as error:  # of any kind: the decisions on the events before it are valid
            failure = EngineError(event)
            failure.__cause__ = error
            break
    yield Commit(tuple(decisions))
    if failure is None:  # the state of an engine that has failed is undefined
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

    The `now` of `handle` never goes back and never leaps: it is correct for durations. A time that two nodes have
    agreed on in Unix time (hold_until, the expiry of an invoice) is compared with this interval, and an irreversible
    decision is made only if its condition holds at both ends of the interval.

    now: the engine's own time, in seconds. Unix time lies between `now` + earliest_offset_seconds and `now` +
    latest_offset_seconds; both are 0 until a ClockRead says otherwise. certain_offset_seconds: the last one that was in
    no doubt, or what is nearest to it in the interval.
    """

    now: float = 0
    earliest_offset_seconds: int = 0
    latest_offset_seconds: int = 0
    certain_offset_seconds: int = 0

    def advance(self, now: float, event: object) -> None:
        """Advance to the time of this event. A ClockRead takes effect before deadlines are checked."""
        self.now = now
        if isinstance(event, ClockRead):
            self.earliest_offset_seconds = event.earliest_offset_seconds
            self.latest_offset_seconds = event.latest_offset_seconds
            certain = max(self.certain_offset_seconds, event.earliest_offset_seconds)
            self.certain_offset_seconds = min(certain, event.latest_offset_seconds)

    @property
    def likely(self) -> float:
        """Unix time as if the clock had never shown what is in doubt."""
        return self.now + self.certain_offset_seconds

    @property
    def last_past_second(self) -> int:
        """The last Unix second that is certainly over."""
        return math.floor(self.now + self.earliest_offset_seconds) - 1

    def surely_past(self, unix_seconds: int) -> bool:
        """Return whether this Unix second is certainly over. During that second itself it is not."""
        return unix_seconds <= self.last_past_second

    def past_at(self, unix_seconds: float) -> float:
        """Return the engine's own time at which `surely_past` becomes true."""
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


_MOST_DOUBLINGS = 60  # after so many any pause exceeds any maximum, and is still far below a float's limit


def backoff_seconds(first_seconds: float, most_seconds: float, times: int) -> float:
    """Return the pause before the next repetition: `first_seconds`, doubled `times` times, at most `most_seconds`."""
    return min(first_seconds * 2.0 ** min(times, _MOST_DOUBLINGS), most_seconds)
