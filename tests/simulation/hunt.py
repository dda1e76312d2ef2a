"""Playing many schedules on all cores, and adding up what they met."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from .coverage import Coverage
from .play import play_seed
from .schedule import Schedule

CHUNK = 50
SEEDS_OF_ONE = 1_000_000
"""SEED=3 names the schedules 3000000, 3000001, ...: no two nights overlap."""


@dataclass(frozen=True)
class Failure:
    """A schedule that broke a rule. `number`: names it for ever."""

    number: int
    rule: str
    text: str
    schedule: Schedule


@dataclass
class Tally:
    """What a number of schedules came to."""

    schedules: int = 0
    steps: int = 0
    paid: int = 0
    disturbances: int = 0
    failures: list[Failure] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    seconds: float = 0

    def add(self, other: "Tally") -> None:
        """Together; the seconds are the clock's, and left alone."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.paid += other.paid
        self.disturbances += other.disturbances
        self.failures += other.failures
        self.coverage.add(other.coverage)


def tally(numbers: range, *, stop_at_first: bool = False) -> Tally:
    """Play these schedules, here."""
    total = Tally()
    for number in numbers:
        outcome = play_seed(number)
        total.schedules += 1
        total.steps += outcome.steps
        total.paid += outcome.paid
        total.disturbances += len(outcome.schedule.disturbances)
        total.coverage.add(outcome.coverage)
        if outcome.violation is not None:
            failure = Failure(number, outcome.violation.rule, str(outcome.violation), outcome.schedule)
            total.failures.append(failure)
            if stop_at_first:
                break
    return total


def hunt(seed: int, count: int, progress: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Play `count` schedules of this seed on all cores."""
    began = time.monotonic()
    total = Tally()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(tally, chunks(seed, count)):
            total.add(part)
            total.seconds = time.monotonic() - began
            progress(total)
    return total


def chunks(seed: int, count: int) -> Iterator[range]:
    """The numbers of a seed's first `count` schedules, a handful at a time."""
    first = seed * SEEDS_OF_ONE
    numbers = iter(range(first, first + count))
    while chunk := list(islice(numbers, CHUNK)):
        yield range(chunk[0], chunk[-1] + 1)
