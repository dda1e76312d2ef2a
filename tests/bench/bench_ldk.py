"""What a line of LDK nodes costs: bring-up, as a ratio to a line of LNDs; memory of its nodes; payments, as a ratio.

    python -m tests.bench.bench_ldk [RUNS=3] [PAYMENTS=20]

In each run `line` of LND and of LDK nodes is brought up anew, one after the other; the last one of LDK makes the
payments of bench_async. The time to build the image from nothing is not part of it: `docker/ldk/build.sh` with an empty
CARGO_TARGET_DIR.
"""

import statistics
import sys
import time

from rich.console import Console

from harness import bringup
from harness.checks import balances
from harness.progress import Phases
from harness.testbed import Testbed
from harness.topology import Topology, load

from .bench_async import ordinary_seconds, release_to_settled_seconds
from .figures import Figure, report

UP_TARGET_RATIO = 0.6
MEMORY_TARGET_MB = 60
RELEASE_TARGET_RATIO = 1.2


def line_of(implementation: str) -> Topology:
    """Return line.yaml, with components, of one implementation."""
    return load("line", dict.fromkeys(load("line").nodes, implementation))


def up_seconds(testbed: Testbed) -> float:
    """Bring a testbed up anew."""
    began = time.monotonic()
    bringup.up(testbed, Phases(lambda _: None))
    return time.monotonic() - began


def resident_mb(testbed: Testbed, node: str) -> float:
    """The resident memory of a node's process, from its status in /proc, in MB."""
    output = testbed.engine.output(testbed.service_of(node), ["sh", "-c", "cat /proc/$(pidof -s ldkd)/status"])
    kilobytes = next(line.split()[1] for line in output.stdout.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024 / 1e6


def main(runs: int, payments: int) -> None:
    """Measure in turn, show, and keep the figures."""
    console = Console()
    ratios, memory, released, ordinary = [], [], [], []
    for number in range(runs):
        lnd, ldk = (Testbed.prepare(line_of(kind), f"bench-ldk-{kind}", console.print) for kind in ("lnd", "ldk"))
        try:
            lnd_seconds = up_seconds(lnd)
        finally:
            lnd.down()
        try:
            ratios.append(up_seconds(ldk) / lnd_seconds)
            for _ in range(payments if number == runs - 1 else 0):
                ordinary.append(ordinary_seconds(ldk))
                released.append(release_to_settled_seconds(ldk))
            memory += [resident_mb(ldk, node) for node in ldk.topology.nodes]
            balances.count(ldk)
        finally:
            ldk.down()
    plain = statistics.median(ordinary)
    figures = [
        Figure("fresh up, to that of line", "", ratios, UP_TARGET_RATIO),
        Figure("memory of an ldkd", "MB", memory, MEMORY_TARGET_MB),
        Figure(
            "release to settled, to an ordinary payment", "", [each / plain for each in released], RELEASE_TARGET_RATIO
        ),
        Figure("an ordinary payment", "s", ordinary),
    ]
    report("ldk", f"line of LDK nodes, {runs} runs, {payments} payments", figures, console)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [3, 20][len(given) :]))
