"""Compare two payments: events that only one of them has, and events with another reason or at another time.

Events are matched by lane, kind and name, in order; times are relative to the start of each payment.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from asyncpay.terminal import styled
from harness.errors import TestbedError
from harness.timeline.model import SCHEMA_VERSION, Event, Payment, Step, Timeline
from harness.timeline.text import sentence

MOST_EVENTS = 5_000
"""The limit for one payment: the cost of matching grows with its square."""
SLOWER_SECONDS = 1.0
"""Matched events differ if their times differ by more than this, relative to the preceding events."""


@dataclass(frozen=True)
class Row:
    """An event of one or both payments. why: the difference; empty if there is none."""

    one: Event | None
    other: Event | None
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two stories of one payment each, with their matched events."""

    one: Timeline
    other: Timeline
    rows: tuple[Row, ...]

    @property
    def payments(self) -> tuple[Payment, Payment]:
        """The payment of each story."""
        return self.one.payments[0], self.other.payments[0]

    @property
    def lanes(self) -> list[tuple[str, str, str]]:
        """Nodes with different implementations, or only in one run: name, implementation in one and in the other."""
        one, other = ({lane.name: lane.runs for lane in story.lanes if lane.runs} for story in (self.one, self.other))
        names = dict.fromkeys((*one, *other))
        return [(name, one.get(name, "-"), other.get(name, "-")) for name in names if one.get(name) != other.get(name)]

    def as_json(self) -> dict[str, Any]:
        """Return the differing implementations, the steps' times, and each differing row as plain values."""
        steps = [{step.number: step.time - payment.first for step in payment.steps} for payment in self.payments]
        return {
            "version": SCHEMA_VERSION,
            "payments": [payment.payment_hash for payment in self.payments],
            "implementations": [{"lane": name, "one": one, "other": other} for name, one, other in self.lanes],
            "steps": [
                {"number": number, "one_seconds": steps[0].get(number), "other_seconds": steps[1].get(number)}
                for number in range(1, 9)
            ],
            "alike": sum(not row.why for row in self.rows),
            "differences": [
                {"why": row.why, "one": _plain(row.one), "other": _plain(row.other)} for row in self.rows if row.why
            ],
        }


def _plain(event: Event | None) -> dict[str, Any] | None:
    return None if event is None else event.model_dump(mode="json", exclude_defaults=True)


def compare(one: Timeline, other: Timeline) -> Comparison:
    """Match the events of two stories of one payment each. Raises TestbedError if they are too long."""
    if max(len(one.events), len(other.events)) > MOST_EVENTS:
        raise TestbedError(
            f"a payment with over {MOST_EVENTS} events cannot be compared. Narrow it with --kind or --node"
        )
    matcher = SequenceMatcher(
        None, [_key(event) for event in one.events], [_key(event) for event in other.events], False
    )
    rows: list[Row] = []
    late = 0.0  # the delay of the other so far
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            for mine, its in zip(one.events[i:j], other.events[k:m], strict=True):
                behind = (its.time - other.payments[0].first) - (mine.time - one.payments[0].first)
                rows.append(Row(mine, its, _difference(mine, its, behind - late)))
                late = behind
        else:
            rows += [Row(event, None, "only in the first") for event in one.events[i:j]]
            rows += [Row(None, event, "only in the second") for event in other.events[k:m]]
    return Comparison(one, other, tuple(rows))


def _key(event: Event) -> tuple[object, ...]:
    return event.lane, event.to, event.kind, event.what, event.step


def _difference(one: Event, other: Event, seconds: float) -> str:
    if abs(seconds) > SLOWER_SECONDS:
        return f"{abs(seconds):.1f} s {'later' if seconds > 0 else 'sooner'} in the second"
    if one.kind.value == "decision" and one.because != other.because and one.what not in ("requested",):
        return "another reason"
    return ""


def rendered(comparison: Comparison) -> Group:
    """Render for the terminal: the steps of both, and each differing event, with one line for equal events between."""
    steps = Table("step", "where", "first", "second", box=box.SIMPLE)
    first, second = ({step.number: step for step in payment.steps} for payment in comparison.payments)
    for number in sorted({*first, *second}):
        reached = [step for steps_ in (first, second) if (step := steps_.get(number))]
        times = [
            _since(each.get(number), payment)
            for each, payment in zip((first, second), comparison.payments, strict=True)
        ]
        steps.add_row(str(number), "/".join(dict.fromkeys(step.lane for step in reached)), *times)
    rows = Table("first", "", "second", "", "differs", box=box.SIMPLE, show_lines=False)
    alike = 0
    for row in comparison.rows:
        if not row.why:
            alike += 1
            continue
        alike = _say_alike(rows, alike)
        rows.add_row(*_cells(row.one, comparison.payments[0]), *_cells(row.other, comparison.payments[1]), row.why)
    _say_alike(rows, alike)
    lanes = [styled(f"{name} runs {one} in the first, {other} in the second") for name, one, other in comparison.lanes]
    hashes = [payment.payment_hash[:16] for payment in comparison.payments]
    title = (
        f"first: {comparison.one.testbed}, payment {hashes[0]}; second: {comparison.other.testbed}, payment {hashes[1]}"
    )
    return Group(title, *lanes, steps, rows)


def _say_alike(rows: Table, alike: int) -> int:
    if alike:
        rows.add_row("", styled((f"{alike} alike", "dim")), "", styled((f"{alike} alike", "dim")), "")
    return 0


def _since(step: Step | None, payment: Payment) -> str:
    return "not reached" if step is None else f"{step.time - payment.first:+.3f} s"


def _cells(event: Event | None, payment: Payment) -> tuple[str, str]:
    if event is None:
        return "", ""
    where = f"{event.lane} → {event.to}" if event.to else event.lane
    return f"{event.time - payment.first:+.3f}", f"{where}: {sentence(event)}"
