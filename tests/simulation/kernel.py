"""Virtual time: what happens next, and the moments at which a schedule may interfere.

Everything in the simulated world happens in an event of this queue, one after the other, and nothing else
has a clock or a random number. So a run is a function of its schedule alone.

A *moment* is a name and a number: "LSP_a does Answer" for the second time. A schedule says what disturbs
the world just before which moments. Names survive when other disturbances are taken away, where counts of
events or times would shift; this is what lets a failing schedule shrink.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

START = 1_000_000.0
"""Unix seconds at which every simulation begins."""


class Life:
    """One life of a process or a connection; what was to happen in it does not happen once it is over."""

    def __init__(self) -> None:
        self.over = False

    def end(self) -> "Life":
        """It is over; a new one, not begun with anything, to put in its place."""
        self.over = True
        return Life()


class _Eternal(Life):
    def end(self) -> Life:
        return Life()


ETERNAL = _Eternal()
"""The life of what is never killed, and of what has not begun."""


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """The `number`th time (from 1) that `name` is about to happen."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


Director = Callable[[Moment], list[Any]]
"""Decides what disturbs the world just before a moment, does it, and returns what the moment itself must heed."""


@dataclass
class Kernel:
    """The queue of what is to happen.

    steps: events so far. changes: to stores, HTLCs and whatever else the rules look at.
    story: lines of (time, who, what); None unless somebody will read it.
    """

    director: Director = lambda _: []
    now: float = START
    steps: int = 0
    changes: int = 0
    story: "list[tuple[float, str, str]] | None" = None
    _queue: list[tuple[float, int, str, Life, Callable[[], None]]] = field(default_factory=list)
    _counter: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    def later(self, seconds: float, act: Callable[[], None], life: Life = ETERNAL, moment: str = "") -> None:
        """Let `act` happen in this many seconds, unless `life` is over by then. `moment`: its name, if it is one."""
        self._counter += 1
        heapq.heappush(self._queue, (self.now + seconds, self._counter, moment, life, act))

    def step(self) -> bool:
        """Let the next thing happen; False if there is nothing left."""
        while self._queue:
            at, _, moment, life, act = heapq.heappop(self._queue)
            if life.over:
                continue
            self.now = max(self.now, at)
            self.steps += 1
            if moment:
                self.moment(moment)
            if not life.over:
                act()
            return True
        return False

    def next_at(self) -> float:
        """When the next thing happens; infinity if nothing will."""
        while self._queue and self._queue[0][3].over:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else float("inf")

    def moment(self, name: str) -> list[Any]:
        """`name` is about to happen: let the schedule interfere first."""
        self._seen[name] += 1
        return self.director(Moment(name, self._seen[name]))

    def changed(self) -> None:
        """Something that the rules look at is not as it was."""
        self.changes += 1

    def tell(self, who: str, what: str, *details: object) -> None:
        """A line of the story; `what` may have %-places for `details`."""
        if self.story is not None:
            self.story.append((self.now, who, what % details if details else what))
