"""A process that runs an engine: events in, decide, store, act; and the places where it can be killed.

This is the loop of `asyncpay.service`, without asyncio. Store first, then act; several events that are there
at once are decided on together and stored in one transaction. Answers to HTLCs are given on the spot, all
other effects a little later and for themselves, as the tasks of the real performer are: a crash can fall
before, between and after any of them.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .kernel import ETERNAL, Kernel, Life

SIDE_SECONDS = 0.002
LOOK_AGAIN_SECONDS = 1.0
"""Between two attempts to attach to the node."""


class Step(Protocol):
    """What an engine gives out."""

    @property
    def changes(self) -> Iterable[Any]: ...

    @property
    def effects(self) -> Iterable[Any]: ...


class Engine(Protocol):
    """Any engine of `asyncpay.engine`."""

    next_deadline: float

    def handle(self, now: float, event: Any) -> Step: ...


class Process:
    """Life and death of one process. Subclasses say which engines it runs and how effects are performed."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel, self.name = kernel, name
        self.life = ETERNAL
        self.running = False
        self.on_handled: list[Callable[[str, list[str], Any], None]] = []  # engine's name, its records' stages, event
        self._inbox: deque[tuple[str, Any]] = deque()
        self._engines: dict[str, Engine] = {}
        self._alarms: dict[str, Life] = {}

    # --- for subclasses ---

    def _open(self) -> dict[str, Engine]:
        """The engines, made from what is stored."""
        raise NotImplementedError

    def _commit(self, changes: dict[str, list[Any]]) -> None:
        """Store these changes of each engine in one transaction."""
        raise NotImplementedError

    def _close(self) -> None:
        """Let go of the store."""

    def _attach(self) -> bool:
        """Listen to the node; False if it is not there."""
        raise NotImplementedError

    def _perform(self, engine: str, effect: Any) -> None:
        raise NotImplementedError

    def _stages(self, engine: str) -> list[str]:
        """Where the engine's records stand, for those who observe."""
        raise NotImplementedError

    # --- life ---

    def start(self) -> None:
        """Begin from what is stored."""
        if self.running:
            return
        self.running, self.life = True, Life()
        self._engines = self._open()
        self._alarms = {name: Life() for name in self._engines}
        self._look_for_node()

    def kill(self) -> None:
        """Wherever it is."""
        if self.running:
            self.running = False
            self.life.over = True
            for alarm in self._alarms.values():
                alarm.end()
            self._inbox.clear()
            self._close()

    def crash(self, down_seconds: float) -> None:
        """Killed, and started again by its supervisor."""
        if self.running:
            self.kill()
            self.kernel.later(down_seconds, self.start)

    def look_for_node(self) -> None:
        """The node has gone, or might be back."""
        if self.running:
            self.kernel.later(LOOK_AGAIN_SECONDS, self._look_for_node, self.life)

    def _look_for_node(self) -> None:
        if not self._attach():
            self.look_for_node()

    # --- the loop ---

    def enqueue(self, engine: str, event: Any) -> None:
        """An event for one of the engines."""
        if not self.running:
            return
        self._inbox.append((engine, event))
        if len(self._inbox) == 1:
            self.kernel.later(0.0, self._decide, self.life)

    def _decide(self) -> None:
        batch = list(self._inbox)
        changes: dict[str, list[Any]] = {}
        todo: list[tuple[str, Any]] = []
        life = self.life
        names = "+".join(sorted({type(event).__name__ for _, event in batch}))
        self.kernel.moment(f"{self.name} decides on {names}")
        if life.over:
            return
        self._inbox.clear()
        for name, event in batch:
            engine = self._engines[name]
            for observe in self.on_handled:
                observe(name, self._stages(name), event)
            step = engine.handle(self.kernel.now, event)
            changes.setdefault(name, []).extend(step.changes)
            todo.extend((name, effect) for effect in step.effects)
        if any(changes.values()):
            self._commit(changes)
            self.kernel.moment(f"{self.name} has stored {names}")
        for name, effect in todo:
            if life.over:
                return
            self._do(name, effect)
        if not life.over:
            self._set_alarms()

    def _do(self, name: str, effect: Any) -> None:
        kind = type(effect).__name__
        if kind == "Log":
            self._perform(name, effect)
        elif kind == "Answer":
            life = self.life
            self.kernel.moment(f"{self.name} does {kind}")
            if not life.over:
                self._perform(name, effect)
        else:
            self.kernel.later(SIDE_SECONDS, lambda: self._perform(name, effect), self.life, f"{self.name} does {kind}")

    def _set_alarms(self) -> None:
        for name, engine in self._engines.items():
            alarm = self._alarms[name] = self._alarms[name].end()
            if engine.next_deadline < float("inf"):
                wait = max(0.0, engine.next_deadline - self.kernel.now)
                self.kernel.later(wait, lambda name=name: self.enqueue(name, self._tick(name)), alarm)  # type: ignore[misc]

    def _tick(self, engine: str) -> Any:
        raise NotImplementedError
