"""Virtual time: the queue of events, and the failpoints at which a schedule may interfere.

Everything happens in an event of this queue, one after the other, and nothing else uses a clock or random numbers.
So a run is a function of its schedule only.

A *failpoint* is a name and a number: "LSP_a does ResolveHtlc" for the second time. A schedule says what disturbs
the simulation just before which failpoints. Names stay the same when other disturbances are removed, whereas counts of
events or times would shift; this makes shrinking possible.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

START = 1_000_000.0
"""Unix seconds at which every simulation begins."""


class Lifetime:
    """The lifetime of a process or a connection; events that belong to it do not happen after its end."""

    def __init__(self) -> None:
        self.over = False

    def end(self) -> "Lifetime":
        """End it. Return a new lifetime to replace it."""
        self.over = True
        return Lifetime()


class _Eternal(Lifetime):
    def end(self) -> Lifetime:
        return Lifetime()


ETERNAL = _Eternal()
"""The lifetime of objects that are never killed, and of those that have not started."""


@dataclass(frozen=True, slots=True, order=True)
class Failpoint:
    """The `number`th time (from 1) that `name` is about to happen."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


Injector = Callable[[Failpoint], list[Any]]
"""Inject the disturbances just before a failpoint; return those that the failpoint itself must apply."""


@dataclass
class Kernel:
    """The queue of future events.

    steps: events so far. changes: to stores, HTLCs and everything else that the invariants check.
    trace: lines of (time, who, what); None unless requested.
    """

    injector: Injector = lambda _: []
    now: float = START
    steps: int = 0
    changes: int = 0
    trace: "list[tuple[float, str, str]] | None" = None
    _queue: list[tuple[float, int, str, Lifetime, Callable[[], None]]] = field(default_factory=list)
    _counter: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    def call_later(
        self, seconds: float, act: Callable[[], None], lifetime: Lifetime = ETERNAL, failpoint: str = ""
    ) -> None:
        """Call `act` in this many seconds, unless `lifetime` is over by then. failpoint: its name, if any."""
        self._counter += 1
        heapq.heappush(self._queue, (self.now + seconds, self._counter, failpoint, lifetime, act))

    def step(self) -> bool:
        """Run the next event. Return False if there is none."""
        while self._queue:
            at, _, failpoint, lifetime, act = heapq.heappop(self._queue)
            if lifetime.over:
                continue
            self.now = max(self.now, at)
            self.steps += 1
            if failpoint:
                self.failpoint(failpoint)
            if not lifetime.over:
                act()
            return True
        return False

    def next_at(self) -> float:
        """The time of the next event; infinity if there is none."""
        while self._queue and self._queue[0][3].over:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else float("inf")

    def failpoint(self, name: str) -> list[Any]:
        """Apply the schedule's disturbances before `name` happens."""
        self._seen[name] += 1
        return self.injector(Failpoint(name, self._seen[name]))

    def changed(self) -> None:
        """Record that something has changed that the invariants check."""
        self.changes += 1

    def log(self, who: str, what: str, *details: object) -> None:
        """Add a line to the trace; `what` may have %-places for `details`."""
        if self.trace is not None:
            self.trace.append((self.now, who, what % details if details else what))
