"""Virtual time: what happens next, and the failpoints at which a schedule may interfere.

Everything happens in an event of this queue, one after the other, and nothing else has a clock or a random number.
So a run is a function of its schedule alone.

A *failpoint* is a name and a number: "LSP_a does ResolveHtlc" for the second time. A schedule says what disturbs
the simulation just before which failpoints. Names survive when other disturbances are taken away, where counts of
events or times would shift; this is what lets a failing schedule shrink.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

START = 1_000_000.0
"""Unix seconds at which every simulation begins."""


class Lifetime:
    """The lifetime of a process or a connection; what was to happen in it does not happen once it is over."""

    def __init__(self) -> None:
        self.over = False

    def end(self) -> "Lifetime":
        """It is over; a new one, not begun with anything, to put in its place."""
        self.over = True
        return Lifetime()


class _Eternal(Lifetime):
    def end(self) -> Lifetime:
        return Lifetime()


ETERNAL = _Eternal()
"""The lifetime of what is never killed, and of what has not begun."""


@dataclass(frozen=True, slots=True, order=True)
class Failpoint:
    """The `number`th time (from 1) that `name` is about to happen."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


Injector = Callable[[Failpoint], list[Any]]
"""Inject what disturbs the simulation just before a failpoint; return what the failpoint itself must heed."""


@dataclass
class Kernel:
    """The queue of what is to happen.

    steps: events so far. changes: to stores, HTLCs and everything else the invariants look at.
    trace: lines of (time, who, what); None unless it was asked for.
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
        """Let `act` happen in this many seconds, unless `lifetime` is over by then. failpoint: its name, if any."""
        self._counter += 1
        heapq.heappush(self._queue, (self.now + seconds, self._counter, failpoint, lifetime, act))

    def step(self) -> bool:
        """Let the next thing happen; False if there is nothing left."""
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
        """When the next thing happens; infinity if nothing will."""
        while self._queue and self._queue[0][3].over:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else float("inf")

    def failpoint(self, name: str) -> list[Any]:
        """`name` is about to happen: let the schedule interfere first."""
        self._seen[name] += 1
        return self.injector(Failpoint(name, self._seen[name]))

    def changed(self) -> None:
        """Something that the rules look at is not as it was."""
        self.changes += 1

    def log(self, who: str, what: str, *details: object) -> None:
        """Add a line to the trace; `what` may have %-places for `details`."""
        if self.trace is not None:
            self.trace.append((self.now, who, what % details if details else what))
