"""What the LSP's component costs a payment, and how it does with as many held HTLCs as a channel takes.

    python -m tests.bench.bench_lsp [ROUNDS]

The images must be there. Writes artifacts/bench/lsp.json. Two LSPs run side by side, one without the component,
and are paid through in turn: of that the ratio is what to compare between machines.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from asyncpay.wire.messages import BlockState, PaymentRelease
from harness import bringup
from harness.nodes.base import Node
from harness.progress import Phases
from harness.services.lsp import Lsp, htlcs_held
from harness.testbed import Testbed
from harness.topology import Topology, load
from harness.waits import wait_for
from tests.bench.figures import Figure, plot
from tests.support.scripted_peer import Hold, ScriptedPeer

PAYMENTS, PARTS = 30, 15
"""Held at once, and of each; together 450 of the 483 HTLCs that a channel takes."""
PART_MSAT = 20_000_000
TARGETS = {"payment, ratio": 1.15, "release to forwarded, ms": 50, "memory, MB": 150}
OUTPUT = Path("artifacts/bench/lsp.json")
CONSOLE = Console()

Figures = dict[str, float]


@contextmanager
def running(topology: Topology, name: str) -> Iterator[Testbed]:
    testbed = Testbed.prepare(topology, f"bench-{os.getpid()}-{name}")
    try:
        with CONSOLE.status(f"up, {name} the component"):
            bringup.up(testbed, Phases())
        yield testbed
    finally:
        testbed.down()


USED_BYTES = "cat memory.current 2>/dev/null || cat memory/memory.usage_in_bytes"
DROPPABLE_BYTES = (
    "sed -n 's/^\\(total_\\)\\{0,1\\}inactive_file //p' memory.stat memory/memory.stat 2>/dev/null | tail -n 1"
)
"""Run in /sys/fs/cgroup of a container, whether the machine has control groups of version 2 or 1."""


def payment_seconds(payer: Node, payee: Node) -> float:
    """One plain payment over one hop, until the payer has the preimage."""
    invoice = payee.create_invoice(PART_MSAT)
    began = time.perf_counter()
    payer.pay(invoice)
    return time.perf_counter() - began


def plain_payments(component: Testbed, bare: Testbed, rounds: int) -> Figures:
    """The delay that the component adds to HTLCs that nobody asked to hold."""
    pairs = []
    for number in range(rounds + 2):
        pair = [payment_seconds(testbed["A"], testbed["B"]) for testbed in (component, bare)]
        if number >= 2:  # the first ones open connections and fill caches
            pairs.append(pair)
    with_it, without = (median(seconds) for seconds in zip(*pairs, strict=True))
    return {
        "payment with the component, ms": 1_000 * with_it,
        "payment without, ms": 1_000 * without,
        "payment, ratio": with_it / without,
    }


def release(b: ScriptedPeer, holds: list[Hold]) -> float:
    """B lets go of all of them at once; Unix time at which it began to."""
    began = time.time()
    for hold in holds:
        b.send(hold.lsp_id, PaymentRelease(pid=hold.pid))
    return began


def last(lsp: Lsp, what: str, since: float) -> float:
    """The time of the last such line in the component's journal; containers have this machine's clock."""
    return max(float(event["time"]) for event in lsp.events() if event["what"] == what and event["time"] >= since)


def single_releases(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, rounds: int) -> Figures:
    """From the payee's node being given a release: over one hop, into the store, until the part is answered."""
    forwarded, settled = [], []
    for _ in range(rounds):
        hold = Hold(a, "LSP", b.invoice(PART_MSAT)).ask().pay().update(BlockState.HELD)
        began = release(b, [hold])
        hold.update(BlockState.SETTLED)
        forwarded.append(last(lsp, "resolve resume", began) - began)
        settled.append(last(lsp, "settled", began) - began)
    return {
        "release to forwarded, ms": 1_000 * median(forwarded),
        "release to settled, ms": 1_000 * median(settled),
    }


def many_held(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> Figures:
    """Held, component and node killed in turn, started and holding again, then all released together."""
    holds = [Hold(a, "LSP", b.invoice(PARTS * PART_MSAT)).ask() for _ in range(PAYMENTS)]
    began = time.time()
    for hold in holds:
        hold.pay(PARTS)
    for hold in holds:
        hold.update(BlockState.HELD, PARTS, timeout_seconds=110)
    figures = {"until all held, s": time.time() - began}
    memory = [memory_mb(a.testbed, lsp)]

    lsp.kill()
    began = time.time()
    lsp.start()
    wait_for(htlcs_held(lsp, PAYMENTS * PARTS), 60)
    figures["component's start to all held again, s"] = time.time() - began
    memory.append(memory_mb(a.testbed, lsp))

    a.testbed.kill("LSP")
    began = time.time()
    a.testbed.start_and_wait("LSP")
    wait_for(htlcs_held(lsp, PAYMENTS * PARTS), 120)
    figures["node's start to all held again, s"] = time.time() - began
    memory.append(memory_mb(a.testbed, lsp))

    began = release(b, holds)
    for hold in holds:
        hold.update(BlockState.SETTLED, PARTS, timeout_seconds=300)
    figures["all released to forwarded, s"] = last(lsp, "resolve resume", began) - began
    figures["all released to settled, s"] = last(lsp, "settled", began) - began
    memory.append(memory_mb(a.testbed, lsp))
    return figures | {"memory, MB": max(memory)}


def memory_mb(testbed: Testbed, lsp: Lsp) -> float:
    """What the component's control group uses, without the part of the page cache that can be dropped."""
    said = testbed.engine.output(lsp.name, ["sh", "-c", f"cd /sys/fs/cgroup; {USED_BYTES} && {DROPPABLE_BYTES}"])
    used, droppable = map(int, said.stdout.split())
    return (used - droppable) / 1e6


def main(rounds: int) -> None:
    """Measure, print, keep the figures."""
    busy = os.getloadavg()[0]
    topology = load(Path(__file__).with_name("lsp.yaml"))
    bare = topology.nodes["LSP"].model_copy(update={"component": None})
    without = topology.model_copy(update={"nodes": topology.nodes | {"LSP": bare}})
    with running(topology, "with") as component:
        with running(without, "without") as alone:
            figures = plain_payments(component, alone, rounds)
        lsp = component.lsp("LSP")
        with ScriptedPeer(component, "A") as a, ScriptedPeer(component, "B") as b:
            figures |= single_releases(a, b, lsp, rounds)
            figures |= many_held(a, b, lsp)
    show(figures, rounds, busy)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(
        json.dumps({"rounds": rounds, "load_before": busy, "figures": figures, "targets": TARGETS}, indent=2)
    )


def show(figures: Figures, rounds: int, busy: float) -> None:
    plotted = [Figure(name, "", [value], TARGETS.get(name)) for name, value in figures.items()]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    plot(OUTPUT.with_suffix(".svg"), f"the LSP's component, medians of {rounds}", plotted)
    title = f"the LSP's component, medians of {rounds}; {PAYMENTS} x {PARTS} HTLCs at once; load before: {busy:.1f}"
    table = Table("figure", "value", "target", "", title=title, title_justify="left")
    for name, value in figures.items():
        target = TARGETS.get(name)
        verdict = "" if target is None else "within" if value <= target else "over"
        table.add_row(name, f"{value:.2f}", "" if target is None else f"{target:g}", verdict)
    CONSOLE.print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
