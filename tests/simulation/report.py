"""What a hunt found, for people (rich) and for programs (JSON)."""

from collections.abc import Sequence
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .coverage import TABLES, Coverage, all_cells
from .hunt import Failure, Tally
from .lsp import NOTHING
from .play import Outcome
from .shrink import Shrinker
from .story import lines


def shrunk(failure: Failure) -> Outcome:
    """The plainest schedule that fails like this one, with its story."""
    return Shrinker(failure.schedule, failure.rule).run()


def show(console: Console, total: Tally, shrunken: Sequence[tuple[Failure, Outcome]]) -> None:
    """Everything, on the terminal."""
    rate = total.schedules / total.seconds if total.seconds else 0.0
    console.print(
        f"{total.schedules} schedules in {total.seconds:.1f} s: {rate:.0f} schedules/s, "
        f"{total.steps / max(1, total.schedules):.0f} steps and "
        f"{total.disturbances / max(1, total.schedules):.1f} disturbances each; "
        f"B was paid in {total.paid}",
        soft_wrap=True,
    )
    for engine in TABLES:
        console.print(_coverage_table(total.coverage, engine))
    for failure, outcome in shrunken:
        console.rule(f"schedule {failure.number}: {failure.rule.replace('_', ' ')}")
        console.print(f"make simulate SCHEDULE={failure.number}   # tells it again", highlight=False)
        for line in lines(outcome):
            console.print(escape(line), highlight=False, soft_wrap=True)
        console.print(f"as a regression test (found.py): {escape(repr(outcome.schedule))}", soft_wrap=True)
    if total.failures:
        console.print(f"[red]{len(total.failures)} schedules failed[/red]")
    else:
        console.print("[green]nothing happened that must not happen, and everything ended[/green]")


def plain(total: Tally, shrunken: Sequence[tuple[Failure, Outcome]]) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "schedules": total.schedules,
        "seconds": round(total.seconds, 1),
        "schedules_per_second": round(total.schedules / total.seconds, 1) if total.seconds else None,
        "steps": total.steps,
        "paid": total.paid,
        "failures": [{"schedule": each.number, "rule": each.rule, "text": each.text} for each in total.failures],
        "stories": {str(failure.number): lines(outcome) for failure, outcome in shrunken},
        "coverage": {
            engine: {
                "entered": total.coverage.entered(engine),
                "cells": len(all_cells(engine)),
                "table": _nested(total.coverage, engine),
            }
            for engine in TABLES
        },
    }


def _nested(coverage: Coverage, engine: str) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for cell in all_cells(engine):
        table.setdefault(cell[2], {})[cell[1]] = coverage.cells[cell]
    return table


def _coverage_table(coverage: Coverage, engine: str) -> Table:
    stages, events = TABLES[engine]
    entered, cells = coverage.entered(engine), len(all_cells(engine))
    table = Table(title=f"{engine}: {entered} of {cells} cells of stage and event entered", title_justify="left")
    table.add_column("event", no_wrap=True)
    names = [NOTHING, *(stage.value for stage in stages)]
    for name in names:
        table.add_column(name, justify="right")
    for event in get_args(events):
        counts = [coverage.cells[engine, name, event.__name__] for name in names]
        table.add_row(event.__name__, *(str(count) if count else "." for count in counts))
    return table
