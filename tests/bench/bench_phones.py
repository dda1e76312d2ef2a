"""How fast a phone comes back: from its network's return, or from a push, until its LSP can use the channel again.

    python -m tests.bench.bench_phones [RUNS=5] [OFFLINE_SECONDS=10]

On one phone and its LSP, for LND and for Core Lightning. LND waits between its attempts to connect as it is delivered,
1 s to 1 h, and not as the testbed otherwise tells it. The link is cut, and restored after OFFLINE_SECONDS; the
phone sleeps for as long, and a push wakes it. The time ends when the LSP lists the channel as active. The target is a
median of 2 s. Writes artifacts/bench/phones.json.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import bringup
from harness.errors import ImageUnavailableError
from harness.progress import Phases
from harness.services.phone import Phone
from harness.testbed import Testbed
from harness.topology import Topology
from harness.waits import Predicate, wait_for
from tests.support.implementations import all_on, with_arguments

TARGET_SECONDS = 2.0
LND_AS_DELIVERED = ("--minbackoff=1s", "--maxbackoff=1h")
LIMIT_SECONDS = 120
PUSH = "lsps5.payment_incoming"
CONSOLE = Console()


def topology_of(implementation: str) -> Topology:
    """The LSP and its phone, both of this implementation."""
    topology = all_on(implementation, "one-phone.yaml")
    return with_arguments(topology, "A", *LND_AS_DELIVERED) if implementation == "lnd" else topology


def usable(phone: Phone) -> Predicate:
    """The LSP lists its channel with the phone as one that it can use."""

    def missing() -> str | None:
        channels = [channel for channel in phone.lsp.channels() if channel.peer_id == phone.node.node_id]
        return None if all(channel.active for channel in channels) else f"{phone.lsp.name} cannot use {phone.name}'s"

    return Predicate("channel_usable", missing)


def timed(phone: Phone, began: float) -> float:
    """Seconds until the LSP can use the channel."""
    wait_for(usable(phone), LIMIT_SECONDS, interval_seconds=0.02)
    return time.monotonic() - began


def network_returns(phone: Phone, offline_seconds: float) -> float:
    """The link is cut and restored."""
    phone.disconnect()
    time.sleep(offline_seconds)
    began = time.monotonic()
    phone.reconnect(wait=False)
    return timed(phone, began)


def push_wakes(phone: Phone, offline_seconds: float) -> float:
    """The phone sleeps, and the push gateway's request reaches it."""
    phone.sleep()
    time.sleep(offline_seconds)
    began = time.monotonic()
    phone.container.push(PUSH)
    return timed(phone, began)


def measure(implementation: str, runs: int, offline_seconds: float) -> dict[str, list[float]]:
    """All runs of one implementation, in seconds."""
    testbed = Testbed.prepare(topology_of(implementation), f"bench-phones-{os.getpid()}")
    try:
        bringup.up(testbed, Phases())
        phone = testbed.phone("A")
        return {
            "network returns": [network_returns(phone, offline_seconds) for _ in range(runs)],
            "push wakes": [push_wakes(phone, offline_seconds) for _ in range(runs)],
        }
    finally:
        testbed.down()


def main(runs: int, offline_seconds: float) -> int:
    """Measure, show and keep; exit code 1 above the target."""
    table = Table(title=f"a phone's way back after {offline_seconds:g} s, {runs} runs", title_justify="left")
    for heading in ("node", "why", "least", "median", "most"):
        table.add_column(heading, justify="left" if heading in ("node", "why") else "right")
    figures: dict[str, dict[str, list[float]]] = {}
    for implementation in ("lnd", "cln"):
        try:
            figures[implementation] = measure(implementation, runs, offline_seconds)
        except ImageUnavailableError as error:
            CONSOLE.print(f"UNAVAILABLE {error}")
            continue
        CONSOLE.print(f"{implementation}: {json.dumps(figures[implementation])}", soft_wrap=True)
        for why, seconds in figures[implementation].items():
            shown = (min(seconds), statistics.median(seconds), max(seconds))
            table.add_row(implementation, why, *(f"{each:.2f} s" for each in shown))
    CONSOLE.print(table)
    slowest = max(statistics.median(seconds) for each in figures.values() for seconds in each.values())
    CONSOLE.print(f"slowest median {slowest:.2f} s, target {TARGET_SECONDS:g} s")
    file = Path("artifacts/bench/phones.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"offline_seconds": offline_seconds, "seconds": figures}, indent=2))
    return int(slowest > TARGET_SECONDS)


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:]]
    sys.exit(main(int(given[0]) if given else 5, given[1] if len(given) > 1 else 10))
