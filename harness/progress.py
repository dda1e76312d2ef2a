"""Long operations: lines and bars of progress, time by phase, and the same operation on many nodes in parallel."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[str], None]
"""Takes one line of progress."""

HEARTBEAT_SECONDS = 15
ESTIMATE_SECONDS = 600
"""An estimate of the time left is derived from the speed in the last ten minutes."""


class Heartbeat:
    """Determines when a long operation should print another line."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last_line = self._started

    @property
    def elapsed_seconds(self) -> float:
        """The time since the start of the operation."""
        return time.monotonic() - self._started

    def due(self) -> bool:
        """Whether HEARTBEAT_SECONDS have passed since this was last the case."""
        now = time.monotonic()
        if now - self._last_line < HEARTBEAT_SECONDS:
            return False
        self._last_line = now
        return True


Advance = Callable[[int, str], None]
"""Takes the number of parts that are done, and a description of the current one."""


@contextmanager
def bar(console: "Console", total: int) -> Iterator[Advance]:
    """Show a bar of `total` parts, with the time so far and an estimate of the time left. Only a terminal shows it."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from asyncpay.terminal import literal

    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=ESTIMATE_SECONDS,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, what: progress.update(task, completed=done, description=literal(what))


@dataclass
class Phases:
    """The phases of one run, in order, with their durations."""

    on_start: Callable[[str], None] = lambda _: None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase and measure the duration of the `with` block."""
        self.on_start(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - began

    @property
    def total_seconds(self) -> float:
        """All phases together."""
        return sum(self.seconds.values())


Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do `work` for every item in a separate thread. Return results in the items' order; raise the first error."""
    todo = list(items)
    if not todo:
        return []
    with ThreadPoolExecutor(max_workers=len(todo)) as pool:
        return list(pool.map(work, todo))
