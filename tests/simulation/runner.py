"""Run many schedules on all cores, and sum up their results."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from .execution import Coverage, run_seed
from .schedule import Schedule

CHUNK = 50
SCHEDULES_PER_SEED = 1_000_000
"""SEED=3 names the schedules 3000000, 3000001, ...: nightly runs with different seeds do not overlap."""


@dataclass(frozen=True)
class Failure:
    """A schedule that broke an invariant. `number`: identifies it permanently."""

    number: int
    invariant: str
    text: str
    schedule: Schedule | None = None


@dataclass
class Summary:
    """The summary of a number of schedules."""

    schedules: int = 0
    steps: int = 0
    paid: int = 0
    disturbances: int = 0
    failures: list[Failure] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    seconds: float = 0

    def add(self, other: "Summary") -> None:
        """Add another summary, except its seconds, which are wall-clock time."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.paid += other.paid
        self.disturbances += other.disturbances
        self.failures += other.failures
        self.coverage.add(other.coverage)


def run_range(numbers: range, *, stop_at_first: bool = False) -> Summary:
    """Run these schedules in this process."""
    total = Summary()
    for number in numbers:
        outcome = run_seed(number)
        total.schedules += 1
        total.steps += outcome.steps
        total.paid += outcome.paid
        total.disturbances += len(outcome.schedule.disturbances)
        total.coverage.add(outcome.coverage)
        if outcome.violation is not None:
            failure = Failure(number, outcome.violation.invariant, str(outcome.violation), outcome.schedule)
            total.failures.append(failure)
            if stop_at_first:
                break
    return total


def numbers_of(seed: int, count: int) -> range:
    """Return the numbers of a seed's first `count` schedules, or crowds."""
    return range(seed * SCHEDULES_PER_SEED, seed * SCHEDULES_PER_SEED + count)


def run_many(seed: int, count: int, progress: Callable[[Summary], None] = lambda _: None) -> Summary:
    """Run `count` schedules of this seed on all cores."""
    began = time.monotonic()
    total = Summary()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(run_range, chunks(seed, count)):
            total.add(part)
            total.seconds = time.monotonic() - began
            progress(total)
    return total


def chunks(seed: int, count: int) -> Iterator[range]:
    """Yield the numbers of a seed's first `count` schedules, in small ranges."""
    numbers = iter(numbers_of(seed, count))
    while chunk := list(islice(numbers, CHUNK)):
        yield range(chunk[0], chunk[-1] + 1)
