"""`make simulate` and `make simulate-mutants`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harness.progress import bar

from . import report
from .crowd_execution import run_crowd, run_crowds
from .execution import run_schedule, run_seed
from .kernel import START
from .mutants import MUTANTS
from .mutation import run_mutants
from .runner import Summary, numbers_of, run_many
from .shrink import Shrinker

MOST_TRACES = 3
"""The number of failures to shrink: shrinking is slow, and one defect mostly breaks many schedules."""

PIPE_WIDTH = 160
"""The width of tables if there is no terminal."""

app = typer.Typer(add_completion=False, no_args_is_help=True)
Json = Annotated[Path | None, typer.Option("--json", help="write the figures there, too")]


@app.command()
def run(n: int = 10_000, seed: int = 0, json_path: Json = None) -> None:
    """Run N schedules of SEED; exit 1 if any breaks an invariant."""
    console = _console()
    with bar(console, n) as advance:

        def progress(total: Summary) -> None:
            advance(total.schedules, f"schedules, {len(total.failures)} failures")
            if total.schedules % 1000 == 0 and not console.is_terminal:
                left_seconds = total.seconds * (n - total.schedules) / total.schedules
                console.print(
                    f"  {total.schedules} schedules, {len(total.failures)} failures, {total.seconds:.0f} s, "
                    f"about {left_seconds:.0f} s left"
                )

        total = run_many(seed, n, progress)
    one_each = list({failure.invariant: failure for failure in reversed(total.failures)}.values())[:MOST_TRACES]
    shrunken = [(failure, report.shrunk(failure)) for failure in one_each]
    report.show(console, total, shrunken)
    if json_path is not None:
        json_path.write_text(json.dumps(report.plain(total, shrunken), indent=1))
    sys.exit(bool(total.failures))


@app.command()
def replay(number: int, shrink: bool = True) -> None:
    """Replay one schedule, by its number, and print its trace; one that fails is shrunk first."""
    outcome = run_seed(number)
    if outcome.violation is not None and shrink:
        outcome = Shrinker(outcome.schedule, outcome.violation.invariant).run()
    else:
        outcome = run_schedule(outcome.schedule, with_trace=True)
    print("\n".join(report.trace_lines(outcome)))
    sys.exit(outcome.violation is not None)


@app.command()
def crowd(n: int = 20, seed: int = 0, payments: int = 200, number: int | None = None) -> None:
    """Run N crowds of SEED; exit 1 if any breaks an invariant. NUMBER: one of them, with its trace."""
    console = _console()
    if number is not None:
        outcome = run_crowd(number, payments, with_trace=True)
        for at, who, what in outcome.trace:
            print(f"{at - START:10.3f}  {who}: {what}")
        print(outcome.violation or "nothing happened that must not happen")
        sys.exit(outcome.violation is not None)

    def progress(total: Summary) -> None:
        console.print(f"  {total.schedules} crowds, {total.paid} payments made, {total.seconds:.0f} s")

    total = run_crowds(numbers_of(seed, n), payments, progress=progress)
    console.print(
        f"{total.schedules} crowds of {payments} payments in {total.seconds:.1f} s: {total.steps} steps, "
        f"{total.disturbances} disturbances, {total.paid} payments made, {len(total.failures)} failures"
    )
    for failure in total.failures:
        console.print(f"[red]crowd {failure.number}: {failure.invariant}: {escape(failure.text)}[/red]", soft_wrap=True)
    sys.exit(bool(total.failures))


@app.command()
def mutants(n: int = 10_000, seed: int = 0, only: str | None = None, json_path: Json = None) -> None:
    """Break the engines on purpose; exit 1 if any of the defects is not caught within N schedules."""
    chosen = [mutant for mutant in MUTANTS if only is None or only in mutant.name]
    results = run_mutants(_console(), chosen, n, seed)
    if json_path is not None:
        json_path.write_text(json.dumps([each.plain() for each in results], indent=1))
    sys.exit(not all(each.caught for each in results))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


app()
