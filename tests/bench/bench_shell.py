"""What the shell around the LSP's engine costs: its store, its answers to the node, and its view of many peers.

    python -m tests.bench.bench_shell

prints a table and writes artifacts/bench/shell.json. No container: the node is played, and takes NODE_SECONDS for each
call, as a lightningd or an LND does. Each figure is a median of RUNS.
"""

import asyncio
import gc
import io
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from asyncpay.config import LspConfig
from asyncpay.engine.core import Put
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId, Resolution, ShortChannelId
from asyncpay.node_events import Attached, HtlcOffered, NodeEvent
from asyncpay.nodes.cln.node import CAPABILITIES
from asyncpay.nodes.event_stream import NodeSnapshot, PeerTracker, by_id
from asyncpay.nodes.onion_routes import GraphNode, RememberedGraph, Surroundings, find
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import RefusedEvents
from asyncpay.service.lsp import session
from asyncpay.store import LspStore

OUTPUT = Path(__file__).parents[2] / "artifacts" / "bench" / "shell.json"
RUNS = 3
RECORDS, HTLCS, FEW, MANY = 20_000, 1_000, 100, 20_000
NODE_SECONDS = 0.002
US = bytes([2]) + bytes(32)


def peer(number: int) -> NodeId:
    return bytes([2]) + number.to_bytes(32, "big")


def held(number: int) -> HeldHtlc:
    return HeldHtlc(
        key=HtlcKey(ChannelId.from_name(number // 483 + 1), number),
        payment_hash=number.to_bytes(32, "big"),
        peer=peer(number // 483),
        incoming_amount_msat=1_100,
        outgoing_amount_msat=1_000,
        incoming_expiry=700,
        outgoing_expiry=620,
        outgoing_channel=ShortChannelId(2**40),
    )


def record(number: int) -> Htlc | Block:
    if number % 2:
        return Htlc(htlc=held(number), block=number.to_bytes(32, "big"), offered_at=1.5, resolution=None)
    unblock_hash = number.to_bytes(32, "big")
    return Block(
        unblock_hash=unblock_hash,
        client=peer(number),
        digest=unblock_hash,
        payment_hashes=(unblock_hash,),
        amount_msat=1_000,
        release_by_height=600,
        hold_until=2**31,
        courier=bytes(1_399),
    )


def store() -> dict[str, float]:
    """Microseconds a record, committed 500 at a time, and loaded."""
    changes = [Put(record(number)) for number in range(RECORDS)]
    with tempfile.TemporaryDirectory() as folder, LspStore(Path(folder) / "lsp.sqlite") as kept:
        batches = [changes[start : start + 500] for start in range(0, RECORDS, 500)]
        began = time.perf_counter()
        for batch in batches:
            kept.commit(batch)
        commit = time.perf_counter() - began
        began = time.perf_counter()
        loaded = sum(1 for _ in kept.load())
        load = time.perf_counter() - began
    assert loaded == RECORDS
    return {"store a record (us)": commit / RECORDS * 1e6, "load a record (us)": load / RECORDS * 1e6}


class ScriptedNode:
    """Offers HTLCs, and takes NODE_SECONDS for each answer."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.told: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.answered = 0
        self.all_answered = asyncio.Event()

    async def events(self) -> AsyncIterator[NodeEvent]:
        while True:
            yield await self.told.get()

    async def pending_htlcs(self) -> tuple[()]:
        return ()

    async def sign(self, _: str) -> bytes:
        return bytes(65)

    async def resolve_htlc(self, _key: HtlcKey, _resolution: Resolution, _preimage: bytes | None = None) -> None:
        await asyncio.sleep(NODE_SECONDS)
        self.answered += 1
        if self.answered == HTLCS:
            self.all_answered.set()


async def answers() -> float:
    """Seconds until HTLCS HTLCs that concern nobody are answered, all offered at once."""
    with tempfile.TemporaryDirectory() as folder:
        config = LspConfig.model_validate(
            {"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": f"{folder}/lsp.sqlite"}}
        )
        played = ScriptedNode()
        node: Any = played
        links = tuple(
            Link(channel_id=ChannelId.from_name(n), short_channel_id=ShortChannelId(n), peer=peer(n), usable=True)
            for n in range(1, HTLCS // 483 + 3)
        )
        with LspStore(config.store.path) as kept:
            lsp = Lsp(LspPolicy(), CAPABILITIES)
            life = session._Session(config, EventLog(io.StringIO()), node, kept, lsp, RefusedEvents())
            running = asyncio.create_task(life.run())
            online = frozenset(link.peer for link in links)
            played.told.put_nowait(Attached(node_id=US, network="regtest", height=500, links=links, online=online))
            began = time.perf_counter()
            for number in range(HTLCS):
                played.told.put_nowait(HtlcOffered(held(number)))
            async with asyncio.timeout(300):
                await played.all_answered.wait()
            seconds = time.perf_counter() - began
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return seconds


async def tracker(peers: int) -> tuple[float, float]:
    """Microseconds for a peer that comes, and for a route of an onion message, among so many peers with a channel."""
    links = by_id(
        *(
            Link(channel_id=ChannelId.from_name(n), short_channel_id=ShortChannelId(n), peer=peer(n), usable=True)
            for n in range(peers)
        )
    )
    everybody = frozenset(peer(n) for n in range(peers))

    async def take_snapshot() -> NodeSnapshot:
        return NodeSnapshot(links=links, online=everybody, relaying=everybody)

    async def report(_: NodeEvent) -> None: ...

    async def look_up(_: NodeId) -> GraphNode:
        return GraphNode(relays=True, neighbours=frozenset({peer(0)}))

    tracked, graph = PeerTracker(take_snapshot, report), RememberedGraph(look_up)
    await tracked.begin()

    async def come_and_go() -> None:
        for number in range(100):
            await tracked.peer_event(peer(number), online=False)
            await tracked.peer_event(peer(number), online=True)

    async def routes() -> None:
        for number in range(200):
            around = Surroundings(US, tracked.online, tracked.first_hops)
            await find(peer(10**6 + number), around, graph, 500)

    return await _us(come_and_go, 200), await _us(routes, 200)


async def _us(work: Callable[[], Awaitable[None]], times: int) -> float:
    gc.collect()
    gc.disable()  # one collection of what the bench itself holds would be most of the figure
    try:
        began = time.perf_counter()
        await work()
        return (time.perf_counter() - began) / times * 1e6
    finally:
        gc.enable()


async def measure() -> dict[str, float]:
    figures = store()
    seconds = await answers()
    figures["answer an HTLC (us)"] = seconds / HTLCS * 1e6
    figures["answer an HTLC (calls of the node)"] = seconds / HTLCS / NODE_SECONDS
    few, many = await tracker(FEW), await tracker(MANY)
    for name, here, there in zip(("a peer comes or goes", "a route"), few, many, strict=True):
        figures[f"{name}, {MANY} peers (us)"] = there
        figures[f"{name}, {MANY} peers / {FEW}"] = there / here
    return figures


def main() -> None:
    """Measure, print, write."""
    runs = [asyncio.run(measure()) for _ in range(RUNS)]
    figures = {name: median(run[name] for run in runs) for name in runs[0]}
    table = Table("", "median", "least", "most")
    for name, value in figures.items():
        seen = [run[name] for run in runs]
        table.add_row(name, f"{value:.2f}", f"{min(seen):.2f}", f"{max(seen):.2f}")
    Console().print(table)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
