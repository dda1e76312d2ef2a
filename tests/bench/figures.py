"""What a bench has measured, shown three ways: a table, artifacts/bench/NAME.json and artifacts/bench/NAME.svg.

The plot has the figures that have a target, each as a part of it, so that figures of different units stand together. It
needs matplotlib, which `make bench` installs (tests/bench/requirements.lock); without it no plot is drawn.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[2] / "artifacts" / "bench"
NO_MATPLOTLIB = (
    "{} was not drawn: matplotlib is not installed. Run `make bench`, or install it with "
    "`.venv/bin/uv pip install --python .venv/bin/python --require-hashes -r tests/bench/requirements.lock`."
)
AXIS_MARKS = {1: (1, 1.2, 1.5, 2, 3, 5, 7), 3: (1, 2, 5)}
"""The multiples of powers of ten that a plot's axis names, if it has at most so many powers; else the powers only."""
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
    """Median and spread of each figure that has a target, as a part of that; nothing if none has one.

    Without matplotlib a message on standard error says how to install it.
    """
    try:
        from matplotlib.figure import Figure as Canvas  # only benches have it
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
    except ModuleNotFoundError:
        print(NO_MATPLOTLIB.format(path), file=sys.stderr)
        return
    aimed = [each for each in figures if each.target]
    if not aimed:
        return
    canvas = Canvas(figsize=(9, 1.2 + 0.32 * len(aimed)), layout="constrained")
    axes = canvas.subplots()
    axes.axvline(1.0, color="0.4", linestyle="--", linewidth=1)
    for row, each in enumerate(aimed):
        target = each.target or 1.0
        low, high = (value / target for value in each.spread)
        middle = each.median / target
        colour = "tab:green" if each.verdict == "within" else "tab:red"
        axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=3)
        axes.annotate(
            f"{_short(each.median)} {each.unit}".rstrip(),
            (high, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_xscale("log")
    axes.margins(x=0.25)
    least, most = axes.get_xlim()
    marks = next((marks for powers, marks in AXIS_MARKS.items() if most <= least * 10**powers), (1,))
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{100 * part:g}%"))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(aimed)), [f"{each.name} ({'≥' if each.at_least else '≤'})" for each in aimed], fontsize=8)
    axes.set_ylim(len(aimed) - 0.5, -0.5)
    axes.set_xlabel("median and spread, as a part of the target", fontsize=8)
    axes.set_title(title, fontsize=10, loc="left")
    canvas.savefig(path, metadata={"Date": None})


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
