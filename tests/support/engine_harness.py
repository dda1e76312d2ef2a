"""Run one engine as its service does, in an environment that a subclass simulates: store, then act, maybe crash."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from asyncpay.engine.core import Commit, Engine, Perform, Put, Recall, Tick, drive

E = TypeVar("E")
R = TypeVar("R")
F = TypeVar("F")
H = TypeVar("H", bound="EngineHarness[Any, Any, Any]")


class CrashError(Exception):
    """The process of the engine is killed here."""


class EngineHarness(Generic[E, R, F]):
    """An engine, its records, and the queue of its events.

    stored: the records that a restart loads, by their keys. effects: all effects that were performed.
    crash_at: kill the process before this action (1: the first), which is a store operation or an effect.
    """

    engine: Engine[Any, R, F]

    def __init__(self, now: float) -> None:
        self.now = now
        self.stored: dict[Any, R] = {}
        self.effects: list[F] = []
        self.actions = 0
        self.crash_at: int | None = None
        self._queue: deque[E] = deque()

    def start(self) -> None:
        """Create the engine from the stored records, and attach it to its node."""
        raise NotImplementedError

    def carry_out(self, effect: F) -> None:
        """Perform an effect."""
        raise NotImplementedError

    def crashed(self) -> None:
        """Called after the process has been killed, before its restart."""

    def restart(self) -> None:
        """Kill the process and start it again."""
        self.start()

    def feed(self, event: E) -> list[Any]:
        """Give the engine an event and handle everything that results from it; return the effects in order."""
        before = len(self.effects)
        self._queue.append(event)
        self.run()
        return self.effects[before:]

    def feed_together(self, *events: E) -> list[Any]:
        """The same with several events, whose decisions are stored in one transaction."""
        before = len(self.effects)
        self._handle(*events)
        self.run()
        return self.effects[before:]

    def run(self) -> None:
        """Handle all queued events."""
        try:
            while self._queue:
                self._handle(self._queue.popleft())
        except CrashError:
            self.crash_at = None
            self.crashed()
            self.start()

    def _handle(self, *events: E) -> None:
        for action in drive(self.engine, lambda: self.now, events):
            if isinstance(action, Recall):
                action.take(self.recall(action.wanted))
                continue
            self._act()
            match action:
                case Commit():
                    assert self.engine.next_deadline > self.now, "the engine's next deadline is not in the future"
                    for change in action.changes:
                        self.store(change)
                case Perform(effect):
                    self.effects.append(effect)
                    self.carry_out(effect)

    def store(self, change: Any) -> None:
        """Store one change."""
        if isinstance(change, Put):
            self.stored[change.record.key] = change.record
        else:
            del self.stored[change.record.key]

    def recall(self, wanted: Any) -> Any:
        """What is archived of this."""
        raise NotImplementedError

    def _act(self) -> None:
        self.actions += 1
        if self.actions == self.crash_at:
            raise CrashError

    def sleep(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Advance time. The engine gets a Tick only when it requested one; `then` is called after each."""
        end = self.now + seconds
        while self.engine.next_deadline <= end:
            self.now = max(self.now, self.engine.next_deadline)
            self.feed(Tick())  # type: ignore[arg-type]
            then()
        self.now = end
        then()

    def did(self, kind: type) -> list[Any]:
        """Return the effects of this kind."""
        return [each for each in self.effects if isinstance(each, kind)]


def with_a_crash_before_each_action(
    make: Callable[[], H], scenario: Callable[[H], object]
) -> Iterator[tuple[H, H, str]]:
    """Run a scenario without crashes, and then again for each of its actions, with a crash before that action.

    Yields the harness without crashes, the crashed one, and a description of the crash.
    """
    calm = make()
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        harness = make()
        harness.crash_at = crash
        scenario(harness)
        where = f"crash at action {crash - begin} of {calm.actions - begin}"
        assert harness.crash_at is None, f"no {where}: {harness}"
        yield calm, harness, where
