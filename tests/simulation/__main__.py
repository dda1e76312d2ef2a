"""`make simulate` and `make simulate-mutants`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import report, story
from .hunt import Tally, hunt
from .mutants import hunt_mutants
from .play import play, play_seed
from .shrink import Shrinker

MOST_STORIES = 3
"""Shrinking takes a while, and one defect mostly breaks many schedules."""

PIPE_WIDTH = 160
"""Of tables, where no terminal says how wide it is."""

app = typer.Typer(add_completion=False, no_args_is_help=True)
Json = Annotated[Path | None, typer.Option("--json", help="write the figures there, too")]


@app.command()
def run(n: int = 10_000, seed: int = 0, json_path: Json = None) -> None:
    """Play N schedules of SEED; exit 1 if any breaks a rule."""
    console = _console()

    def progress(total: Tally) -> None:
        if total.schedules % 1000 == 0:
            console.print(f"  {total.schedules} schedules, {len(total.failures)} failures, {total.seconds:.0f} s")

    total = hunt(seed, n, progress)
    one_a_rule = list({failure.rule: failure for failure in reversed(total.failures)}.values())[:MOST_STORIES]
    shrunken = [(failure, report.shrunk(failure)) for failure in one_a_rule]
    report.show(console, total, shrunken)
    if json_path is not None:
        json_path.write_text(json.dumps(report.plain(total, shrunken), indent=1))
    sys.exit(bool(total.failures))


@app.command()
def tell(number: int, shrink: bool = True) -> None:
    """Play one schedule again, by its number, and tell its story; one that fails is shrunk first."""
    outcome = play_seed(number)
    if outcome.violation is not None and shrink:
        outcome = Shrinker(outcome.schedule, outcome.violation.rule).run()
    else:
        outcome = play(outcome.schedule, with_story=True)
    print("\n".join(story.lines(outcome)))
    sys.exit(outcome.violation is not None)


@app.command()
def mutants(n: int = 10_000, seed: int = 0, only: str | None = None, json_path: Json = None) -> None:
    """Break the engines on purpose; exit 1 if any of the defects is not caught within N schedules."""
    results = hunt_mutants(_console(), n, seed, only)
    if json_path is not None:
        json_path.write_text(json.dumps([each.plain() for each in results], indent=1))
    sys.exit(not all(each.caught for each in results))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


app()
