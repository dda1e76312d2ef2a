"""How long `up` takes, phase by phase: anew, as ratios to one LND alone on the same machine, and from a snapshot.

    python -m tests.bench.bench_up [RUNS] [TOPOLOGY ...]

The images must be there. Writes artifacts/bench/up.json.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import bringup, snapshots
from harness.engines import open_volume_store
from harness.errors import ImageUnavailableError
from harness.progress import Phases
from harness.testbed import Testbed
from harness.topology import Topology, load

TARGETS_SECONDS = {"line": 5, "line-mixed": 4, "line-cln": 3}
"""From a snapshot."""
TARGET_RATIO = 1.6
"""`up` of line anew to that of one LND alone."""
ALL = "all"
CONSOLE = Console()

Seconds = dict[str, float]
"""By phase; ALL has the whole, with the compose file's rendering."""


def measure(topology: Topology, start: Callable[[Testbed, Phases], None]) -> Seconds:
    """Bring a topology up once and take it down again."""
    began = time.monotonic()
    testbed = Testbed.prepare(topology, f"bench-{os.getpid()}")
    phases = Phases()
    try:
        with CONSOLE.status(f"up {topology.name}"):
            start(testbed, phases)
            taken = time.monotonic() - began
    finally:
        testbed.down()
    return phases.seconds | {ALL: taken}


def restore(testbed: Testbed, phases: Phases) -> None:
    """From its snapshot, which must be there, and be good."""
    snapshot = snapshots.found(testbed.snapshot, open_volume_store())
    assert snapshot is not None, f"no snapshot of {testbed.topology.name}"
    snapshots.restore(testbed, snapshot, phases)


def medians(runs: list[Seconds]) -> Seconds:
    """Of each phase."""
    return {phase: statistics.median(run[phase] for run in runs) for phase in runs[0]}


def show(title: str, seconds: Seconds, alone_seconds: float) -> None:
    """A table with a row for each phase."""
    table = Table(title=title, title_justify="left")
    for heading in ("phase", "seconds", "ratio to one LND alone"):
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    for phase, taken in seconds.items():
        table.add_row(phase, f"{taken:.1f}", f"{taken / alone_seconds:.2f}")
    CONSOLE.print(table)


def main(runs: int, names: list[str]) -> None:
    """Measure in turn, print medians, keep the figures."""
    line = load("line")
    alone = line.model_copy(update={"name": "one LND", "nodes": {"router": line.nodes["router"]}, "channels": ()})
    lone = medians([measure(alone, bringup.up) for _ in range(runs)])
    show("one LND alone", lone, lone[ALL])
    figures: dict[str, Seconds] = {"one LND": lone}
    for name in names:
        topology = load(name)
        try:
            figures[f"{name} anew"] = medians([measure(topology, bringup.up) for _ in range(runs)])
            measure(topology, snapshots.up)  # saves a snapshot, if there is none
            figures[f"{name} restored"] = medians([measure(topology, restore) for _ in range(runs)])
        except ImageUnavailableError as error:
            CONSOLE.print(f"{name}: UNAVAILABLE: {error}")
            continue
        for title in (f"{name} anew", f"{name} restored"):
            show(f"{title}, medians of {runs}", figures[title], lone[ALL])
        CONSOLE.print(f"{name} restored: target {TARGETS_SECONDS.get(name, '?')} s; line anew: target {TARGET_RATIO} x")
    file = Path("artifacts/bench/up.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"runs": runs, "load": os.getloadavg(), "seconds": figures}, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:] or list(TARGETS_SECONDS))
