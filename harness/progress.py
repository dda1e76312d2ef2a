"""Long operations: lines and bars of progress, time by phase, and the same operation on many nodes in parallel."""

import math
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


def time_left(last_seconds: float | None, elapsed_seconds: float) -> str:
    """Return an estimate of the time left, from the duration of the same operation the last time; empty for None."""
    if last_seconds is None:
        return ""
    if elapsed_seconds > last_seconds:
        return f"longer than the last time ({last_seconds:.0f} s)"
    return f"about {math.ceil(last_seconds - elapsed_seconds)} s left"


@contextmanager
def one_operation(
    console: "Console", name: str, last_seconds: float | None, report: Report
) -> Iterator[Callable[[str], None]]:
    """Show the progress of an operation whose parts cannot be counted, by its duration the last time.

    A terminal shows a bar; otherwise `report` takes a line every HEARTBEAT_SECONDS. The yielded function takes a
    description of the current step.
    """
    heartbeat = Heartbeat()
    if not console.is_terminal:

        def step(what: str) -> None:
            if heartbeat.due():
                elapsed_seconds = heartbeat.elapsed_seconds
                parts = (f"{elapsed_seconds:.0f} s", time_left(last_seconds, elapsed_seconds), f"now at {what}")
                report(f"{name}: {', '.join(filter(None, parts))}")

        yield step
        return
    with _bar_by_time(console, last_seconds) as describe:
        describe(name)
        yield lambda what: describe(f"{name}: {what}")


@contextmanager
def _bar_by_time(console: "Console", last_seconds: float | None) -> Iterator[Callable[[str], None]]:
    """Show a bar that moves with the time. The yielded function takes its description."""
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress_bar import ProgressBar
    from rich.table import Column
    from rich.text import Text

    from asyncpay.terminal import literal

    class ByTime(ProgressColumn):
        def render(self, task: Task) -> ProgressBar:
            total = last_seconds or None  # without one the bar pulses
            return ProgressBar(total=total, completed=task.elapsed or 0, width=40, animation_time=task.get_time())

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(time_left(last_seconds, task.elapsed or 0))

    what = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = SpinnerColumn(), ByTime(), TimeElapsedColumn(), Left(), what
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task("", total=None)
        yield lambda text: progress.update(task, description=literal(text))


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
