"""How long `up` of line.yaml takes, phase by phase, as ratios to one LND alone on the same machine.

    python -m tests.bench.bench_up [RUNS]

The images must be there. Writes artifacts/bench/up.json.
"""

import json
import os
import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import bringup
from harness.progress import Phases
from harness.testbed import Testbed
from harness.topology import Topology, load

TARGET_SECONDS = 15
CONSOLE = Console()


def measure(topology: Topology) -> Phases:
    """Bring a topology up once and take it down again."""
    phases = Phases()
    testbed = Testbed.prepare(topology, f"bench-{os.getpid()}")
    try:
        with CONSOLE.status(f"up {topology.name}"):
            bringup.up(testbed, phases)
    finally:
        testbed.down()
    return phases


def main(runs: int) -> None:
    """Measure in turn, print medians, keep the figures."""
    line = load("line")
    alone = line.model_copy(update={"name": "one LND", "nodes": {"router": line.nodes["router"]}, "channels": ()})
    pairs = [(measure(alone), measure(line)) for _ in range(runs)]
    alone_seconds = statistics.median(first.total_seconds for first, _ in pairs)
    table = Table(title=f"up of line.yaml, medians of {runs}", title_justify="left")
    for heading in ("phase", "seconds", "ratio to one LND alone"):
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    figures: dict[str, float] = {}
    for phase in [*pairs[0][1].seconds, "all"]:
        figures[phase] = statistics.median(
            second.total_seconds if phase == "all" else second.seconds[phase] for _, second in pairs
        )
        table.add_row(phase, f"{figures[phase]:.1f}", f"{figures[phase] / alone_seconds:.2f}")
    CONSOLE.print(table)
    verdict = "within" if figures["all"] <= TARGET_SECONDS else "over"
    CONSOLE.print(f"one LND alone: {alone_seconds:.1f} s; line.yaml is {verdict} its {TARGET_SECONDS} s")
    file = Path("artifacts/bench/up.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"runs": runs, "one_lnd_seconds": alone_seconds, "line_seconds": figures}, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
