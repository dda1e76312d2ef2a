"""How bring-up scales with the number of nodes, and payments with that of phones: seconds and memory, as a plot.

    python -m tests.bench.bench_scale [LINE=10] [PHONES=100] [PHONE=lnd]

Testbeds are brought up anew, one after the other, with a quarter, half, and all of the nodes:

- a line of LINE LNDs without components, all channels announced;
- a star of PHONES phones, half of them behind each of two LSPs (LND, with components). Then all phones of the one LSP
  pay those of the other at the same time, each an async payment. Its time is from the order to pay until the payer has
  the preimage, with the start of a command line in each phone: with many phones on few cores, most of it is that.

PHONE is the implementation of the phones' nodes. With `ldk` they are light: wallets, links, onions, channels and
payments are the same, but the node is ldkd (docker/ldk), which was written for this testbed.

Memory is what the containers use, without cached files. Writes artifacts/bench/scale.json and scale.svg.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import bringup
from harness.checks import balances
from harness.progress import Phases, each
from harness.testbed import Testbed
from harness.topology import Topology
from harness.waits import wait_for

AMOUNT_MSAT = 1_000_000
PAID_SECONDS = 300
UNITS = {"B": 1e-6, "KiB": 1024e-6, "MiB": 1.048576, "GiB": 1073.741824}
"""As `docker stats` names them, in MB."""
CONSOLE = Console()
FOLDER = Path("artifacts/bench")


@dataclass
class Run:
    """One testbed. nodes: without bitcoind and what else is the testbed's own."""

    kind: str
    nodes: int
    up_seconds: float
    memory_mb: float
    phases_seconds: dict[str, float]
    payment_seconds: list[float] = field(default_factory=list)
    """Of each of the payments that were made at the same time."""
    memory_after_payments_mb: float | None = None


def line_of(nodes: int) -> Topology:
    """LNDs in a row, with a channel between neighbours."""
    names = [f"N{number}" for number in range(nodes)]
    channels = [
        {"from": one, "to": other, "capacity_sat": 5_000_000, "push_sat": 2_500_000} for one, other in pairwise(names)
    ]
    return Topology.model_validate(
        {"name": f"line-of-{nodes}", "nodes": {name: {"role": "router"} for name in names}, "channels": channels}
    )


def star_of(phones: int, implementation: str) -> Topology:
    """Two LSPs with a channel between them; every phone opens one to its LSP."""
    nodes: dict[str, dict[str, str]] = {name: {"role": "lsp", "component": "asyncpay"} for name in ("LSP_a", "LSP_b")}
    channels: list[dict[str, object]] = [
        {"from": "LSP_a", "to": "LSP_b", "capacity_sat": 10_000_000, "push_sat": 2_000_000}
    ]
    for number in range(phones // 2):
        for name, role, lsp in ((f"A{number}", "payer", "LSP_a"), (f"B{number}", "payee", "LSP_b")):
            nodes[name] = {"role": role, "component": "asyncpay", "implementation": implementation}
            channels.append({"from": name, "to": lsp, "capacity_sat": 1_000_000, "push_sat": 500_000, "private": True})
    return Topology.model_validate({"name": f"star-of-{phones}", "nodes": nodes, "channels": channels})


def memory_mb(testbed: Testbed) -> float:
    """What all containers of a testbed use."""
    stats = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]
    lines = subprocess.run(stats, check=True, capture_output=True, text=True).stdout.splitlines()
    used = [line.split()[1] for line in lines if line.startswith(f"{testbed.engine.project}-")]
    found = [re.fullmatch(r"([0-9.]+)([A-Za-z]+)", each) for each in used]
    return sum(float(each[1]) * UNITS[each[2]] for each in found if each)


def pay_all(testbed: Testbed) -> list[float]:
    """Every phone A... pays the phone B... of its number, all at the same time; how long each took."""
    before = balances.count(testbed)
    payers, payees = (
        [phone for name, phone in testbed.phones.items() if name.startswith(letter)] for letter in ("A", "B")
    )
    invoices = each(lambda phone: phone.wallet.receive(AMOUNT_MSAT), payees)

    def pay(number: int) -> float:
        wallet, invoice = payers[number].wallet, invoices[number]
        began = time.monotonic()
        wallet.pay(invoice["invoice"], "--wait")
        wait_for(wallet.has_payment(invoice["payment_hash"], "settled"), PAID_SECONDS)
        return time.monotonic() - began

    seconds = each(pay, range(len(payers)))
    moved = balances.count(testbed).moved_since(before)
    assert {moved[phone.name] for phone in payees} == {AMOUNT_MSAT}, moved
    return seconds


def measure(kind: str, topology: Topology) -> Run:
    """Bring a topology up anew, let its phones pay, and take it down."""
    testbed = Testbed.prepare(topology, f"bench-scale-{os.getpid()}")
    phases = Phases()
    try:
        with CONSOLE.status(f"up {topology.name}"):
            bringup.up(testbed, phases)
        run = Run(kind, len(topology.nodes), phases.total_seconds, memory_mb(testbed), phases.seconds)
        if testbed.phones:
            with CONSOLE.status(f"payments of {topology.name}"):
                run.payment_seconds = pay_all(testbed)
            run.memory_after_payments_mb = memory_mb(testbed)
    finally:
        testbed.down()
    return run


def plot(runs: list[Run]) -> str:
    """Two charts side by side: seconds until a testbed is up, and its memory, by the number of nodes."""
    width, height, margin = 400, 260, 50
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {2 * width} {height}")
    most_nodes = max(run.nodes for run in runs)

    def text(x: float, y: float, words: str, anchor: str = "middle") -> None:
        attributes = {"x": f"{x:.0f}", "y": f"{y:.0f}", "text-anchor": anchor, "font-size": "12"}
        ET.SubElement(root, "text", attributes, **{"font-family": "sans-serif"}).text = words

    def chart(left: float, title: str, value: Callable[[Run], float]) -> None:
        most = max(map(value, runs))

        def place(run: Run) -> tuple[float, float]:
            across, up = run.nodes / most_nodes, value(run) / most
            return left + margin + across * (width - 2 * margin), height - margin - up * (height - 2 * margin)

        text(left + width / 2, margin / 2, title)
        axes = f"{left + margin},{margin} {left + margin},{height - margin} {left + width - margin},{height - margin}"
        ET.SubElement(root, "polyline", points=axes, fill="none", stroke="black")
        text(left + margin - 4, margin, f"{most:.0f}", "end")
        text(left + margin - 4, height - margin, "0", "end")
        text(left + width - margin, height - margin + 16, f"{most_nodes} nodes")
        for kind, colour in (("line", "#1f77b4"), ("star", "#d62728")):
            places = [place(run) for run in runs if run.kind == kind]
            points = " ".join(f"{x:.0f},{y:.0f}" for x, y in places)
            ET.SubElement(root, "polyline", points=points, fill="none", stroke=colour)
            for x, y in places:
                ET.SubElement(root, "circle", cx=f"{x:.0f}", cy=f"{y:.0f}", r="3", fill=colour)
            text(places[-1][0], places[-1][1] - 8, kind, "end")

    chart(0, "up anew: seconds", lambda run: run.up_seconds)
    chart(width, "memory: MB", lambda run: run.memory_mb)
    return ET.tostring(root, encoding="unicode")


def show(runs: list[Run]) -> None:
    """The same as a table."""
    table = Table(title="scale", title_justify="left")
    for heading in ("testbed", "nodes", "up", "memory", "payments", "median", "slowest", "memory after"):
        table.add_column(heading, justify="left" if heading == "testbed" else "right")
    for run in runs:
        paid = run.payment_seconds
        figures = (str(len(paid)), f"{statistics.median(paid):.1f} s", f"{max(paid):.1f} s") if paid else ("", "", "")
        after = "" if run.memory_after_payments_mb is None else f"{run.memory_after_payments_mb:.0f} MB"
        table.add_row(run.kind, str(run.nodes), f"{run.up_seconds:.1f} s", f"{run.memory_mb:.0f} MB", *figures, after)
    CONSOLE.print(table)


def sizes(most: int, least: int, step: int) -> list[int]:
    """A quarter, half, and all of it, in whole steps."""
    return sorted({max(least, round(most / part / step) * step) for part in (4, 2, 1)})


def main(line: int, phones: int, implementation: str) -> None:
    """Measure, show, and keep the figures."""
    runs = [measure("line", line_of(nodes)) for nodes in sizes(line, 2, 1)]
    runs += [measure("star", star_of(count, implementation)) for count in sizes(phones, 2, 2)]
    show(runs)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures = {"phones": implementation, "load": os.getloadavg(), "runs": [asdict(run) for run in runs]}
    (FOLDER / "scale.json").write_text(json.dumps(figures, indent=2))
    (FOLDER / "scale.svg").write_text(plot(runs))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 10,
        int(given[1]) if len(given) > 1 else 100,
        given[2] if len(given) > 2 else "lnd",
    )
