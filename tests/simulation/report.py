"""The results of many schedules, for the terminal (rich) and as JSON, and the trace of one schedule."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, get_args

from coincurve import PrivateKey
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asyncpay.wire.messages import unblock_hash

from .execution import TABLES, Coverage, Outcome, all_cells
from .kernel import START
from .lsp import NOTHING
from .runner import Failure, Summary
from .shrink import Shrinker
from .simulation import HASH, PID


def shrunk(failure: Failure) -> Outcome:
    """Return the simplest schedule that fails like this one, with its trace."""
    assert failure.schedule is not None, "a crowd does not shrink"
    return Shrinker(failure.schedule, failure.invariant).run()


def show(console: Console, total: Summary, shrunken: Sequence[tuple[Failure, Outcome]]) -> None:
    """Show all results on the terminal."""
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
        console.rule(f"schedule {failure.number}: {failure.invariant.replace('_', ' ')}")
        console.print(f"make simulate SCHEDULE={failure.number}   # replays it", highlight=False)
        for line in trace_lines(outcome):
            console.print(escape(line), highlight=False, soft_wrap=True)
        console.print(f"as a regression test (regressions.py): {escape(repr(outcome.schedule))}", soft_wrap=True)
    if total.failures:
        for each in total.failures:
            text = f"schedule {each.number}: {each.invariant}: {each.text}"
            console.print(f"[red]{escape(text)}[/red]", highlight=False, soft_wrap=True)
        console.print(f"[red]{len(total.failures)} schedules failed[/red]")
    else:
        console.print("[green]nothing happened that must not happen, and everything ended[/green]")


def plain(total: Summary, shrunken: Sequence[tuple[Failure, Outcome]]) -> dict[str, Any]:
    """Return the results for JSON."""
    return {
        "schedules": total.schedules,
        "seconds": round(total.seconds, 1),
        "schedules_per_second": round(total.schedules / total.seconds, 1) if total.seconds else None,
        "steps": total.steps,
        "paid": total.paid,
        "failures": [
            {"schedule": each.number, "invariant": each.invariant, "text": each.text} for each in total.failures
        ],
        "stories": {str(failure.number): trace_lines(outcome) for failure, outcome in shrunken},
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
    states, events = TABLES[engine]
    entered, cells = coverage.entered(engine), len(all_cells(engine))
    table = Table(title=f"{engine}: {entered} of {cells} cells of state and event entered", title_justify="left")
    table.add_column("event", no_wrap=True)
    names = [NOTHING, *(state.value for state in states)]
    for name in names:
        table.add_column(name, justify="right")
    for event in get_args(events):
        counts = [coverage.cells[engine, name, event.__name__] for name in names]
        table.add_row(event.__name__, *(str(count) if count else "." for count in counts))
    return table


FIRST_LINES, LAST_LINES = 80, 20
_NAMES = ("A", "LSP_a", "router", "LSP_b", "B", "C")


def trace_lines(outcome: Outcome) -> list[str]:
    """Return one line for each event."""
    given = outcome.schedule.setup.differences()
    told = ["given: " + (", ".join(f"{name}={value!r}" for name, value in given.items()) or "the calmest setup")]
    for at, who, what in outcome.trace:
        mark = ">>>" if who == "!" else "   "
        subject = "" if who in ("!", "-") else f"{who}: "
        told.append(f"{mark} {_clock(at - START)}  {subject}{_with_names(what)}")
    if len(told) > FIRST_LINES + LAST_LINES:
        left_out = len(told) - FIRST_LINES - LAST_LINES
        told[FIRST_LINES:-LAST_LINES] = [f"    ... {left_out} lines more ..."]
    if outcome.violation is not None:
        told.append(f"broken: {outcome.violation.invariant.replace('_', ' ')}: {_with_names(str(outcome.violation))}")
    return told


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"


def _with_names(text: str) -> str:
    for hexadecimal, name in _HEX.items():
        text = text.replace(hexadecimal, name)
    return text


def _node_id(name: str) -> str:
    key: bytes = PrivateKey(sha256(name.encode()).digest()).public_key.format()
    return key.hex()


_HEX = {_node_id(name): name for name in _NAMES} | {
    HASH.hex(): "HASH",
    PID.hex(): "PID",
    unblock_hash(PID).hex(): "SHA256(PID)",
}
