"""What the state of each engine, and the handling of one event, have in common."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from asyncpay.engine.core import Change, Transition, UnixTime
from asyncpay.engine.node_view import NodeView


@dataclass(kw_only=True)
class EngineState:
    """What every engine knows besides its records; lost with the process.

    unix: the time of the event, and Unix time as far as the clock is to be believed. node: what the node last said.
    """

    unix: UnixTime = field(default_factory=UnixTime)
    node: NodeView = field(default_factory=NodeView)


S = TypeVar("S", bound=EngineState)
P = TypeVar("P")
R = TypeVar("R")
F = TypeVar("F")


@dataclass
class EventContext(Generic[S, P, R, F]):
    """The handling of one event. Changes show in `state` immediately; effects wait until they are stored.

    policy: the limits that a user may set.
    """

    state: S
    policy: P
    changes: list[Change[R]] = field(default_factory=list, kw_only=True)
    effects: list[F] = field(default_factory=list, kw_only=True)

    @property
    def node(self) -> NodeView:
        """What the node last said."""
        return self.state.node

    @property
    def now(self) -> float:
        """The time of this event."""
        return self.state.unix.now

    def emit(self, effect: F) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def transition(self) -> Transition[R, F]:
        """Return what was decided."""
        return Transition(tuple(self.changes), tuple(self.effects))
