"""Shrink a failing schedule to the simplest one that breaks the same invariant.

First whole ranges of disturbances are removed, then single ones, then the setup is made calmer, then the remaining
disturbances are made milder: shorter, and earlier. Each candidate is run; one that breaks the same invariant is
kept, and only candidates that simplify the schedule are tried.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from .disturbances import (
    APART_SECONDS,
    BLOCKS,
    DOWN_SECONDS,
    LATE_SECONDS,
    Crash,
    Cut,
    Mine,
    NodeCrash,
    Orphaned,
)
from .execution import Outcome, run_schedule
from .kernel import Failpoint
from .network import Delayed
from .schedule import Schedule
from .setup import Setup

MOST_PLAYS = 1500
CALM_FAILPOINTS = (Failpoint("LSP_a decides on BlockRequested", 1), Failpoint("LSP_a has stored HtlcOffered", 1))
"""These are reached also without other disturbances. A disturbance that works there needs no other one to reach its
failpoint."""


class Shrinker:
    """Simplifies one failing schedule. `plays`: how many candidates were tried."""

    def __init__(self, failing: Schedule, invariant: str) -> None:
        self.best = failing
        self.plays = 0
        self._rule = invariant

    def run(self) -> Outcome:
        """Return the simplest schedule found, run once more with its trace."""
        improved = True
        while improved and self.plays < MOST_PLAYS:
            improved = self._take_out() | self._calm_setup() | self._make_milder()
        return run_schedule(self.best, with_trace=True)

    def _fails(self, candidate: Schedule) -> bool:
        if self.plays >= MOST_PLAYS:
            return False
        self.plays += 1
        outcome = run_schedule(candidate)
        if outcome.violation is None or outcome.violation.invariant != self._rule:
            return False
        self.best = outcome.schedule  # only disturbances whose failpoint was reached
        return True

    def _take_out(self) -> bool:
        improved = False
        size = max(1, len(self.best.disturbances) // 2)
        while True:
            start = 0
            while start < len(self.best.disturbances):
                rest = self.best.disturbances[:start] + self.best.disturbances[start + size :]
                if self._fails(replace(self.best, disturbances=rest)):
                    improved = True
                else:
                    start += size
            if size == 1:
                return improved
            size //= 2

    def _calm_setup(self) -> bool:
        improved = False
        for name, value in Setup().differences_from(self.best.setup):
            improved |= self._fails(replace(self.best, setup=replace(self.best.setup, **{name: value})))
        return improved

    def _make_milder(self) -> bool:
        improved = False
        for place in range(len(self.best.disturbances)):
            if place >= len(self.best.disturbances):
                break
            for milder in _milder(*self.best.disturbances[place]):
                rest = list(self.best.disturbances)
                rest[place] = milder
                if self._fails(replace(self.best, disturbances=tuple(rest))):
                    improved = True
                    break
        return improved


_SCALES: dict[type, tuple[str, tuple[Any, ...]]] = {
    Crash: ("down_seconds", DOWN_SECONDS),
    Orphaned: ("down_seconds", DOWN_SECONDS),
    NodeCrash: ("down_seconds", DOWN_SECONDS),
    Cut: ("apart_seconds", APART_SECONDS),
    Delayed: ("seconds", LATE_SECONDS),
    Mine: ("blocks", BLOCKS),
}


def _milder(failpoint: Failpoint, disturbance: Any) -> Iterator[tuple[Failpoint, Any]]:
    scale = _SCALES.get(type(disturbance))
    if scale is not None:
        name, values = scale
        for value in values:
            if value < getattr(disturbance, name):
                yield failpoint, replace(disturbance, **{name: value})
    for name in ("silently", "unnoticed"):
        if any(each.name == name for each in fields(disturbance)) and getattr(disturbance, name):
            yield failpoint, replace(disturbance, **{name: type(getattr(disturbance, name))(0)})
    if failpoint not in CALM_FAILPOINTS:
        for calm in CALM_FAILPOINTS:
            yield calm, disturbance
    for number in range(1, failpoint.number):
        yield Failpoint(failpoint.name, number), disturbance
