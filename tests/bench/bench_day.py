"""Two working days of many phones through one real component, in fast motion.

    python -m tests.bench.bench_day [PHONES]

The component is real: its loop, engine, store and performer. Its node and its phones are played, and so is time: when
nothing is to be done the event loop goes on to the next timer at once. Each day each phone asks for a block, sends its
part, and leaves; its payee shows the pid minutes or hours later; a push wakes the phone, and the part is released,
settled and gone. Then as much time passes as it takes to forget. Prints a table and writes artifacts/bench/day.json and
day.svg: what a payment costs, how long decisions take, and what is left over.
"""

import asyncio
import gc
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, TextIO

from coincurve import PrivateKey

from asyncpay.config import LspConfig
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import WebhookSet
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId, PendingHtlc, Resolution, ShortChannelId
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    NodeEvent,
    OnionReceived,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.service.common.clock import SteadyClock
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import RefusedEvents
from asyncpay.service.lsp import session
from asyncpay.store import LspStore
from asyncpay.wire import signature
from asyncpay.wire.messages import BlockRequest, Courier, PaymentRelease, unblock_hash
from asyncpay.wire.onion import OnionMessage
from tests.bench.figures import Figure, report
from tests.support.fast_motion import FastMotionLoop

PHONES, DAYS = 10_000, 2
DAY_SECONDS, PAUSE_SECONDS, BLOCK_SECONDS = 8 * 3600.0, 16 * 3600.0, 600.0
START, HEIGHT, HOLD_BLOCKS = 1_800_000_000.0, 800_000, 144
AMOUNT_MSAT = 1_000_000
ROUTER = PrivateKey(bytes([9]) * 32).public_key.format()
LSP = PrivateKey(bytes([8]) * 32).public_key.format()
ROUTER_CHANNEL = ShortChannelId.parse("700000x1x0")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Phone:
    """A client, its channel, and the payment of this day. resolutions: what became of all parts that it ever sent."""

    number: int
    online: bool = False
    sent: int = 0
    held: HeldHtlc | None = None
    pid: bytes = b""
    resolutions: Counter[Resolution] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.key = PrivateKey(sha256(b"phone" + self.number.to_bytes(4, "big")).digest())
        self.node_id: NodeId = self.key.public_key.format()
        self.channel = ShortChannelId(600_000 << 40 | self.number << 16)

    def link(self) -> Link:
        """Its channel as the node reports it now."""
        channel_id = ChannelId.from_name(self.channel)
        return Link(channel_id=channel_id, short_channel_id=self.channel, peer=self.node_id, usable=self.online)

    def secret(self, what: bytes) -> bytes:
        """A secret of its next payment, 32 bytes."""
        return sha256(what + self.number.to_bytes(4, "big") + self.sent.to_bytes(4, "big")).digest()


class PlayedNode:
    """The LSP's node with its phones. What it is asked takes no time."""

    capabilities = CAPABILITIES

    def __init__(self, phones: list[Phone]) -> None:
        self.phones = {phone.node_id: phone for phone in phones}
        self.height = HEIGHT
        self.told: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.parts: dict[HtlcKey, Phone] = {}
        self.pushes: Counter[Method] = Counter()

    # --- what the component asks ---

    async def events(self) -> AsyncIterator[NodeEvent]:
        router = Link(
            channel_id=ChannelId.from_name(ROUTER_CHANNEL), short_channel_id=ROUTER_CHANNEL, peer=ROUTER, usable=True
        )
        links = (router, *(phone.link() for phone in self.phones.values()))
        online = frozenset({ROUTER})
        yield Attached(node_id=LSP, network="regtest", height=self.height, links=links, online=online)
        while True:
            yield await self.told.get()

    async def pending_htlcs(self) -> list[PendingHtlc]:
        return [
            PendingHtlc(
                key=key,
                peer=phone.node_id,
                incoming=True,
                payment_hash=phone.held.payment_hash,
                amount_msat=AMOUNT_MSAT,
                expiry=phone.held.incoming_expiry,
            )
            for key, phone in self.parts.items()
            if phone.held is not None
        ]

    async def sign(self, _: str) -> bytes:
        return bytes(65)

    async def onion_route(self, destination: NodeId, _: int = 0) -> tuple[NodeId, ...]:
        return (destination,)

    async def send_onion(self, first_hop: NodeId, _: OnionMessage) -> None:
        assert first_hop in self.phones

    async def forward_onion(self, _: OnionMessage) -> NodeId:
        return ROUTER

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, _preimage: bytes | None = None) -> None:
        phone = self.parts[key]
        phone.resolutions[resolution] += 1
        later(1.0, self.settle if resolution is Resolution.RESUME else self.gone, phone)

    async def notify(self, webhooks: Iterable[Webhook], method: Method, _expiry_height: int | None) -> bool:
        """In place of the posts to webhooks: the phone wakes."""
        self.pushes[method] += 1
        for webhook in webhooks:
            later(2.0, self.wake, self.phones[webhook.client])
        return True

    # --- what happens ---

    def ask(self, phone: Phone) -> None:
        """The phone wants to pay: it connects, asks for a block, sends its part, and is gone in half a minute."""
        self.connect(phone)
        phone.sent += 1
        phone.pid = phone.secret(b"pid")
        asked = BlockRequest(
            unblock_hash=unblock_hash(phone.pid),
            courier=Courier(path_key=ROUTER, onion=bytes(1366)),
            payment_hashes=(sha256(phone.secret(b"preimage")).digest(),),
            amount_msat=AMOUNT_MSAT,
            release_by_height=self.height + HOLD_BLOCKS,
            hold_until=int(now() + DAY_SECONDS + 3600),
            signature=bytes(65),
        )
        signed = phone.key.sign_recoverable(signature.digest(asked.signed_text(LSP)), hasher=None)
        made = replace(asked, signature=bytes([31 + signed[64]]) + signed[:64])
        self.told.put_nowait(OnionReceived(async_payment=made.encode()))
        later(1.0, self.pay, phone)
        later(30.0, self.disconnect, phone)

    def pay(self, phone: Phone) -> None:
        key = HtlcKey(ChannelId.from_name(phone.channel), phone.sent)
        phone.held = HeldHtlc(
            key=key,
            payment_hash=sha256(phone.secret(b"preimage")).digest(),
            peer=phone.node_id,
            incoming_amount_msat=AMOUNT_MSAT + 1000,
            outgoing_amount_msat=AMOUNT_MSAT,
            incoming_expiry=self.height + HOLD_BLOCKS + 500,
            outgoing_expiry=self.height + HOLD_BLOCKS + 400,
            outgoing_channel=ROUTER_CHANNEL,
        )
        self.parts[key] = phone
        self.told.put_nowait(HtlcOffered(phone.held))

    def release(self, phone: Phone) -> None:
        """The payee shows the pid."""
        self.told.put_nowait(OnionReceived(async_payment=PaymentRelease(pid=phone.pid).encode()))

    def settle(self, phone: Phone) -> None:
        assert phone.held is not None
        self.told.put_nowait(HtlcSettled(phone.held.key, phone.secret(b"preimage")))
        later(0.5, self.gone, phone)

    def gone(self, phone: Phone) -> None:
        assert phone.held is not None
        del self.parts[phone.held.key]
        self.told.put_nowait(HtlcGone(phone.held.key))
        phone.held = None

    def wake(self, phone: Phone) -> None:
        if not phone.online:
            self.connect(phone)
            later(20.0, self.disconnect, phone)

    def connect(self, phone: Phone) -> None:
        if not phone.online:
            phone.online = True
            self.told.put_nowait(PeerConnected(phone.node_id))
            self.told.put_nowait(LinkChanged(phone.link()))

    def disconnect(self, phone: Phone) -> None:
        if phone.online:
            phone.online = False
            self.told.put_nowait(LinkChanged(phone.link()))
            self.told.put_nowait(PeerDisconnected(phone.node_id))

    def mine(self) -> None:
        self.height += 1
        self.told.put_nowait(BlockConnected(self.height))
        later(BLOCK_SECONDS, self.mine)


def later(seconds: float, call: Callable[..., object], *args: object) -> None:
    asyncio.get_running_loop().call_later(seconds, call, *args)


def now() -> float:
    """Unix time, played."""
    return START + asyncio.get_running_loop().time()


class Latency:
    """How long decisions take until they are stored, in real seconds. See asyncpay.service.common.loop.Measure."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def decided(self, _event: object, seconds: float) -> None:
        self.seconds.append(seconds)

    def stored(self, _seconds: float) -> None: ...

    def performed(self, _effect: object) -> None: ...

    def reported(self, _event: object) -> None: ...

    def detached(self) -> None: ...


async def day(node: PlayedNode, random: Random) -> None:
    """Each phone pays once; at the end every payment of the day is decided."""
    for phone in node.phones.values():
        at = random.uniform(0, DAY_SECONDS / 2)
        later(at, node.ask, phone)
        later(at + random.uniform(60, DAY_SECONDS / 2 - 60), node.release, phone)
    await asyncio.sleep(DAY_SECONDS + 600)
    assert not node.parts, f"{len(node.parts)} parts are not decided"


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


def memory_mb() -> float:
    """Of this process now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


async def measure(folder: Path, count: int) -> list[Figure]:
    phones, random = [Phone(number) for number in range(count)], Random(count)
    node: Any = PlayedNode(phones)
    values = {"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": f"{folder}/lsp.sqlite"}}
    config = LspConfig.model_validate(values)
    with LspStore(config.store.path) as store, _nowhere() as nowhere:
        lsp, latency = Lsp(LspPolicy(), CAPABILITIES), Latency()
        measure: Any = latency
        life = session._Session(config, EventLog(nowhere), node, store, lsp, RefusedEvents(), measure)
        life._loop.clock = SteadyClock(system=now, steady=now)
        life._lsps.notify = node.notify  # type: ignore[method-assign]
        running = asyncio.create_task(life.run())
        for phone in phones:
            await life._loop.stored(WebhookSet(phone.node_id, "wallet", "https://push.example/1"))
        node.mine()
        seconds, memory, in_engine, decisions = [], [], [], []
        for _ in range(DAYS):
            latency.seconds.clear()
            began = time.process_time()
            await day(node, random)
            seconds.append((time.process_time() - began) / count * 1000)
            decisions.append(latency.seconds[:])
            await asyncio.sleep(PAUSE_SECONDS)
            memory.append(memory_mb())
            in_engine.append(float(len(lsp.state.records.blocks) + len(lsp.state.records.htlcs)))
        await asyncio.sleep((HOLD_BLOCKS + 10) * BLOCK_SECONDS)
        left = len(list(store.load())) - count, store.archived().blocks
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert left == (0, ()), f"{left} are left over"
    assert not any(in_engine), f"{in_engine}: what has ended is still in memory"
    resolved = Counter(tuple(phone.resolutions.items()) for phone in phones)
    assert resolved == {((Resolution.RESUME, DAYS),): count}, f"{resolved}: not every payment was released once"
    ordered = [sorted(each) for each in decisions]
    return [
        Figure("CPU time of a payment, phones and node included", "ms", seconds),
        Figure("event until its decision is stored, median", "ms", [each[len(each) // 2] * 1e3 for each in ordered]),
        Figure(
            "event until its decision is stored, p99", "ms", [each[len(each) * 99 // 100] * 1e3 for each in ordered]
        ),
        Figure("events of a payment", "", [len(each) / count for each in ordered]),
        Figure("pushes of a payment", "", [node.pushes.total() / count / DAYS]),
        Figure("blocks and HTLCs in memory after a day", "", in_engine),
        Figure("memory after the second day, to the first", "", [memory[1] / memory[0]], 1.05),
        Figure("memory of the process", "MB", [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]),
    ]


def at(ordered: list[float], percent: int) -> float:
    """A percentile of these seconds, in milliseconds."""
    return ordered[len(ordered) * percent // 100] * 1000


def main() -> None:
    """Measure, print, write."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PHONES
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=FastMotionLoop) as runner:
        figures = runner.run(measure(Path(folder), count))
    took = time.perf_counter() - began
    report(
        "day", f"{DAYS} days of {count} phones, a payment each, in {took:.0f} s; every payment released once", figures
    )


if __name__ == "__main__":
    main()
