"""Plain HTLCs of unblocked payments through the LSP's engine, store and loop, while many payments are held.

    python -m tests.bench.bench_plain [HELD=100000] [HTLCS=20000]

The component is real: its loop, engine, store and performer. Its node is played, and answers without delay. Each HTLC
is offered, resumed, settled and gone. First as many as possible, WINDOW at a time: HTLCs a second, and a CPU second.
Then RATE a second: how long it takes until the decision on an offered HTLC is stored. Prints a table and writes
artifacts/bench/plain.json and plain.svg.
"""

import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from asyncpay.config import LspConfig
from asyncpay.engine.core import Put
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.lightning import HeldHtlc, HtlcKey, PendingHtlc, Resolution
from asyncpay.node_events import HtlcGone, HtlcOffered, HtlcSettled, NodeEvent
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.service.common.clock import SteadyClock
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import RefusedEvents
from asyncpay.service.lsp import session
from asyncpay.store import LspStore
from tests.bench.figures import Figure, report
from tests.support.held_payments import POLICY, START, attached, htlc, pending, records_of

HELD, HTLCS = 100_000, 20_000
WINDOW, RATE, SLICE_SECONDS = 500, 3_000, 0.005
LEAST_RATE, MOST_P99_MS = 3_000, 20
BATCH = 500
QUIET_SECONDS = 2.0
"""After so long without an event everything has been reviewed that was due after the node's attachment."""
LIMIT_SECONDS = 1800
"""If the component fails, and no longer answers, the bench ends."""
MICROSECONDS = 1e6


class PlayedNode:
    """A node that offers its held HTLCs once more, then plain ones, each of which is settled when it is resumed."""

    capabilities = CAPABILITIES

    def __init__(self, held: int) -> None:
        self.held = held
        self.told: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.resumed = self.due = 0
        self.all_resumed = asyncio.Event()
        self.room = asyncio.Semaphore(WINDOW)

    async def events(self) -> AsyncIterator[NodeEvent]:
        yield attached(self.held)
        for number in range(self.held):
            yield HtlcOffered(htlc(number))
        while True:
            yield await self.told.get()

    async def pending_htlcs(self) -> list[PendingHtlc]:
        return [each for each in pending(self.held) if each.key.htlc_id == 0]

    async def sign(self, _: str) -> bytes:
        return bytes(65)

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, _preimage: bytes | None = None) -> None:
        assert resolution is Resolution.RESUME, f"{key} was not resumed"
        self.resumed += 1
        self.told.put_nowait(HtlcSettled(key, preimage(key.htlc_id)))
        self.told.put_nowait(HtlcGone(key))
        self.room.release()
        if self.resumed == self.due:
            self.all_resumed.set()

    def expect(self, htlcs: int) -> None:
        """Set `all_resumed` when so many more are resumed."""
        self.due = self.resumed + htlcs
        self.all_resumed.clear()


class Latency:
    """How long decisions take until they are stored. See asyncpay.service.common.loop.Measure."""

    def __init__(self) -> None:
        self.offered_seconds: list[float] = []
        self.last = time.monotonic()

    def decided(self, event: object, seconds: float) -> None:
        if isinstance(event, HtlcOffered):
            self.offered_seconds.append(seconds)
        self.last = time.monotonic()

    def stored(self, _seconds: float) -> None: ...

    def performed(self, _effect: object) -> None: ...

    def reported(self, _event: object) -> None: ...

    def detached(self) -> None: ...


def preimage(number: int) -> bytes:
    """Of a plain HTLC, 32 bytes."""
    return sha256(b"plain" + number.to_bytes(8, "big")).digest()


def plain(number: int, held: int) -> HeldHtlc:
    """One HTLC of a payment that no block concerns, from a client that has a held payment. Its id is its number."""
    model = htlc(number % held)
    return replace(model, key=HtlcKey(model.key.channel_id, number), payment_hash=sha256(preimage(number)).digest())


async def measure(folder: Path, held: int, count: int) -> list[Figure]:
    """Start from a store with so many payments held, and send so many plain HTLCs, twice."""
    began = time.monotonic()
    node, latency = PlayedNode(held), Latency()
    played: Any = node
    measured: Any = latency
    values = {"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": f"{folder}/lsp.sqlite"}}
    config = LspConfig.model_validate(values)
    with LspStore(config.store.path) as store, _nowhere() as nowhere:
        changes = (Put(record) for number in range(held) for record in islice(records_of(number), 2))
        while batch := list(islice(changes, BATCH)):
            store.commit(batch)
        lsp = Lsp(POLICY, CAPABILITIES, store.load(), store.archived())
        life = session._Session(config, EventLog(nowhere), played, store, lsp, RefusedEvents(), measured)
        life._loop.clock = SteadyClock(
            system=lambda: START + time.monotonic() - began, steady=lambda: START + time.monotonic() - began
        )
        running = asyncio.create_task(life.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            await all_reviewed(latency, held)
            gc.collect()
            gc.freeze()
            first, second = held, held + count
            seconds, cpu_seconds = await as_many_as_possible(node, range(first, first + count))
            latency.offered_seconds.clear()
            await at_a_rate(node, range(second, second + count))
        assert node.resumed == 2 * count, f"{node.resumed} of {2 * count} HTLCs were resumed"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(lsp.state.records.blocks) == held, "a held payment is no longer held"
    ordered = sorted(latency.offered_seconds)
    return [
        Figure("HTLCs, as many as possible", "a second", [count / seconds], LEAST_RATE, at_least=True),
        Figure("the same, of CPU time", "a CPU second", [count / cpu_seconds], LEAST_RATE, at_least=True),
        Figure("CPU time of an HTLC", "µs", [cpu_seconds / count * MICROSECONDS]),
        Figure(f"until it is decided, {RATE} a second: median", "ms", [ordered[len(ordered) // 2] * 1e3]),
        Figure("the same: p99", "ms", [ordered[len(ordered) * 99 // 100] * 1e3], MOST_P99_MS),
    ]


async def all_reviewed(latency: Latency, held: int) -> None:
    """Return when the held HTLCs are offered again, and nothing more is due because of the node's attachment."""
    while True:
        await asyncio.sleep(QUIET_SECONDS / 10)
        if len(latency.offered_seconds) >= held and time.monotonic() - latency.last >= QUIET_SECONDS:
            return


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


async def as_many_as_possible(node: PlayedNode, numbers: range) -> tuple[float, float]:
    """Offer the HTLCs, the next ones as earlier ones are resumed; return seconds and CPU seconds until all are."""
    node.expect(len(numbers))
    offers = [HtlcOffered(plain(number, node.held)) for number in numbers]
    began, began_cpu = time.perf_counter(), time.process_time()
    for offer in offers:
        await node.room.acquire()
        node.told.put_nowait(offer)
    await node.all_resumed.wait()
    return time.perf_counter() - began, time.process_time() - began_cpu


async def at_a_rate(node: PlayedNode, numbers: range) -> None:
    """Offer RATE HTLCs a second, in slices of SLICE_SECONDS, no matter how fast they are resumed."""
    node.expect(len(numbers))
    offers = [HtlcOffered(plain(number, node.held)) for number in numbers]
    began, given = time.perf_counter(), 0
    while given < len(offers):
        wanted = min(len(offers), int((time.perf_counter() - began) * RATE))
        for offer in offers[given:wanted]:
            node.told.put_nowait(offer)
        given = wanted
        await asyncio.sleep(SLICE_SECONDS)
    await node.all_resumed.wait()


def main(held: int, count: int) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), held, count))
    report("plain", f"{count} plain HTLCs, {held} payments held", figures)


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*(given + [HELD, HTLCS][len(given) :]))
