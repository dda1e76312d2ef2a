"""What a bench has measured, shown three ways: a table, artifacts/bench/NAME.json and artifacts/bench/NAME.svg.

The plot has the figures that have a target, each as a part of it, so that figures of different units stand together. It
needs matplotlib, which `make bench` installs (tests/bench/requirements.lock).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[2] / "artifacts" / "bench"
MANY = 10
"""From so many values on the spread is that of the middle half, with fewer it is least and most."""


@dataclass(frozen=True)
class Figure:
    """Values of one quantity, one for each run or sample.

    target: what the median should reach: at most, or at_least. None: the figure only informs.
    """

    name: str
    unit: str
    values: Sequence[float]
    target: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        """Of all values."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Where the middle half of many values begins and ends, or least and most of few."""
        if len(self.values) < MANY:
            return min(self.values), max(self.values)
        low, _, high = quantiles(self.values, n=4)
        return low, high

    @property
    def verdict(self) -> str:
        """Whether the target is reached."""
        if self.target is None:
            return ""
        reached = self.median >= self.target if self.at_least else self.median <= self.target
        return "within" if reached else "over" if not self.at_least else "under"


def report(name: str, title: str, figures: Sequence[Figure], console: Console | None = None) -> None:
    """Print the table, and write both files."""
    load = os.getloadavg()[0]
    _print(f"{title}; load {load:.1f}", figures, console or Console())
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = [asdict(each) | {"median": each.median, "spread": each.spread} for each in figures]
    text = json.dumps({"title": title, "load": load, "figures": kept}, indent=2)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    plot(FOLDER / f"{name}.svg", title, figures)


def _print(title: str, figures: Sequence[Figure], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("figure", "median", "spread", "unit", "target", ""):
        table.add_column(heading, justify="right" if heading in ("median", "spread", "target") else "left")
    for each in figures:
        low, high = each.spread
        target = "" if each.target is None else f"{'≥' if each.at_least else '≤'} {each.target:g}"
        table.add_row(
            each.name, _short(each.median), f"{_short(low)} - {_short(high)}", each.unit, target, each.verdict
        )
    console.print(table)


def plot(path: Path, title: str, figures: Sequence[Figure]) -> None:
    """Median and spread of each figure that has a target, as a part of that; nothing if none has one."""
    from matplotlib.figure import Figure as Canvas  # only benches have it
    from matplotlib.ticker import PercentFormatter

    aimed = [each for each in figures if each.target]
    if not aimed:
        return
    canvas = Canvas(figsize=(9, 1.2 + 0.32 * len(aimed)), layout="constrained")
    axes = canvas.subplots()
    for row, each in enumerate(aimed):
        target = each.target or 1.0
        low, high = (value / target for value in each.spread)
        middle = each.median / target
        colour = "tab:green" if each.verdict == "within" else "tab:red"
        axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=3)
        label = f"{_short(each.median)} {each.unit}".rstrip()
        axes.annotate(label, (high, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(1.0, color="0.4", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    for numbers in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        numbers(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.25)
    axes.set_yticks(range(len(aimed)), [f"{each.name} ({'≥' if each.at_least else '≤'})" for each in aimed], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("median and spread, as a part of the target")
    axes.set_title(title, fontsize=10, loc="left")
    canvas.savefig(path, metadata={"Date": None})


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
