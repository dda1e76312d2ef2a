"""Run an engine: decide, store, then act. The order is written here once; the service, the simulator and the unit tests
carry it out, and may be killed between any two of its actions.

    for action in drive(engine, clock, events):
        match action:
            case Commit():          store `action.changes` in one transaction
            case Perform(effect):   do it, and report what it asks to be reported as new events

If a Commit fails, nothing was decided: throw the engine away and start another one from the store. A failed write is a
crash, and a crash is harmless. For the same reason several events may be decided on together and stored in one
transaction, as long as no effect is performed before.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from asyncpay.engine.core import Change, Engine, Transition

E = TypeVar("E")
R = TypeVar("R")
F = TypeVar("F")


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


Action: TypeAlias = Commit[E, R] | Perform[F]


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
            decisions.append((event, engine.handle(clock(), event)))
        except Exception as error:  # whatever it is, the events before it were decided on well
            failure = EngineError(event)
            failure.__cause__ = error
            break
    yield Commit(tuple(decisions))
    for _, transition in decisions:
        for effect in transition.effects:
            yield Perform(effect)
    if failure is not None:
        raise failure
