"""A running LSP beside a node that is played: what requests with an invoice may ask of the node."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey

from asyncpay.config import LspConfig
from asyncpay.engine.core import Put, StoredClock
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capabilities, Capability, ChannelId, Invoice, Link, NodeId, ShortChannelId
from asyncpay.node_events import Attached, NodeEvent, OnionReceived
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import RefusedEvents
from asyncpay.service.lsp import session as lsp_module
from asyncpay.service.lsp.metrics import LspMetrics
from asyncpay.store import LspStore
from asyncpay.wire.messages import UNSIGNED, BlockRequest, BlockStatus
from asyncpay.wire.onion import OnionMessage
from tests.support.keys import signmessage
from tests.unit.test_store_archive import archived, block

pytestmark = pytest.mark.anyio

US = PrivateKey(bytes([9]) * 32).public_key.format()
HONEST, GREEDY, STRANGER = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3))
HASH = bytes(32)
ABLE = Capability(True, "")
CAPABILITIES = Capabilities(**{each.name: ABLE for each in fields(Capabilities)} | {"cutoff_blocks": 19})  # type: ignore[arg-type]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def id_of(key: PrivateKey) -> NodeId:
    return key.public_key.format()


class ScriptedNode:
    """Reads no invoice of the greedy client's before it is told to."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.told: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.read: list[str] = []
        self.answered: list[NodeId] = []
        self._answer = asyncio.Event()
        self.proceed = asyncio.Event()

    async def events(self) -> AsyncIterator[NodeEvent]:
        while True:
            yield await self.told.get()

    def attach(self, *peers: NodeId) -> None:
        links = (
            Link(
                channel_id=ChannelId.from_name(number), short_channel_id=ShortChannelId(number), peer=peer, usable=True
            )
            for number, peer in enumerate(peers, start=1)
        )
        self.told.put_nowait(
            Attached(node_id=US, network="regtest", height=500, links=tuple(links), online=frozenset(peers))
        )

    async def decode_invoice(self, text: str) -> Invoice:
        self.read.append(text)
        if "greedy" in text:
            await self.proceed.wait()
            raise NodeError("it is none")
        return Invoice(
            text=text,
            payment_hash=HASH,
            payee=US,
            amount_msat=1_000,
            network="regtest",
            expires_at=2**40,
            min_final_cltv_expiry=80,
        )

    async def onion_route(self, destination: NodeId, _: int = 0) -> tuple[NodeId, ...]:
        return (destination,)

    async def send_onion(self, first_hop: NodeId, _: OnionMessage) -> None:
        self.answered.append(first_hop)
        self._answer.set()

    async def until_answered(self) -> None:
        """Somebody has got an answer."""
        async with asyncio.timeout(20):
            await self._answer.wait()
        self._answer.clear()

    async def sign(self, _: str) -> bytes:
        return bytes(65)

    async def pending_htlcs(self) -> tuple[()]:
        return ()

    def ask(self, payer: PrivateKey, invoice: str, number: int = 0) -> None:
        """A block_request of this payer."""
        request = BlockRequest(
            unblock_hash=number.to_bytes(32, "big"),
            payment_hashes=(HASH,),
            amount_msat=1_000,
            release_by_height=600,
            hold_until=int(time.time()) + 600,
            invoice=invoice,
            signature=UNSIGNED,
        )
        signed = replace(request, signature=signmessage(request.signed_text(US), payer))
        self.told.put_nowait(OnionReceived(async_payment=signed.encode()))


class FailingNode(ScriptedNode):
    """Is attached, breaks off, cannot be reached twice, and is attached again."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0
        self.back = asyncio.Event()

    async def events(self) -> AsyncIterator[NodeEvent]:
        self.attempts += 1
        if self.attempts in (1, 4):
            yield Attached(node_id=US, network="regtest", height=500, links=(), online=frozenset())
        if self.attempts == 4:
            self.back.set()
            await asyncio.Event().wait()
        raise NodeUnreachableError("it is restarted")


def session_of(store: LspStore, node: Any, log: io.StringIO, metrics: LspMetrics | None = None) -> lsp_module._Session:
    config = LspConfig.model_validate(
        {"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": store._path}}
    )
    lsp = Lsp(LspPolicy(), CAPABILITIES, store.load())
    return lsp_module._Session(config, EventLog(log), node, store, lsp, RefusedEvents(), metrics)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[ScriptedNode, io.StringIO]]:
    played, log = ScriptedNode(), io.StringIO()
    with LspStore(folder / "lsp.sqlite") as store:
        session = session_of(store, played, log)
        run = asyncio.create_task(session.run())
        yield played, log
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_the_clock_goes_on_as_the_store_has_it(tmp_path: Path) -> None:
    """It was an hour ahead when the file was new, and was put right since."""
    ahead = time.time() + 3600
    with LspStore(tmp_path / "lsp.sqlite") as store:
        store.commit([Put(StoredClock(ahead, -3600.0, -3600.0))])
        assert abs(session_of(store, ScriptedNode(), io.StringIO()).now() - ahead) < 60


async def test_an_invoice_of_a_stranger_is_not_read(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, log):
        node.attach(id_of(HONEST))
        node.ask(HONEST, "lnbcrt-first", 1_000)
        await node.until_answered()
        for number in range(200):
            node.ask(STRANGER, f"lnbcrt{number}", number)
        node.ask(HONEST, "lnbcrt-second", 1_001)
        await node.until_answered()
        assert node.read == ["lnbcrt-first", "lnbcrt-second"]
        assert set(node.answered) == {id_of(HONEST)}
        assert "it has no channel" in log.getvalue()


async def test_a_request_right_after_the_start_finds_its_channel(tmp_path: Path) -> None:
    """The engine has not taken in yet what the node says of its channels."""
    async with running(tmp_path) as (node, log):
        node.attach(id_of(HONEST))
        node.ask(HONEST, "lnbcrt-honest")
        await node.until_answered()
        assert node.read == ["lnbcrt-honest"]
        assert BlockStatus.BAD_VALUE.name not in log.getvalue()


@pytest.mark.usefixtures("whole_log")
async def test_one_clients_invoices_do_not_delay_anothers(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, log):
        node.attach(id_of(HONEST), id_of(GREEDY))
        node.ask(HONEST, "lnbcrt-first", 1_000)
        await node.until_answered()
        for number in range(200):
            node.ask(GREEDY, f"lnbcrt-greedy-{number}", number)
        node.ask(HONEST, "lnbcrt-second", 1_001)
        await node.until_answered()
        assert node.read == ["lnbcrt-first", "lnbcrt-greedy-0", "lnbcrt-second"]
        assert log.getvalue().count("block_request dropped") == 200 - 1 - lsp_module.MAX_WAITING_INVOICES
        node.proceed.set()


class PatientNode(ScriptedNode):
    """Is attached whenever its events are requested. snapshot: its pending HTLCs were requested."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0
        self.snapshot = asyncio.Event()

    async def events(self) -> AsyncIterator[NodeEvent]:
        self.attempts += 1
        yield Attached(node_id=US, network="regtest", height=500, links=(), online=frozenset())
        await asyncio.Event().wait()

    async def pending_htlcs(self) -> tuple[()]:
        self.snapshot.set()
        return ()


async def test_a_block_that_cannot_be_archived_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one of its name is archived. The event that archives it is the node's, and comes at each start."""
    node, log, path = PatientNode(), io.StringIO(), tmp_path / "lsp.sqlite"
    with LspStore(path) as store:
        archived(store, 1)
        store.commit([Put(each) for each in (block(1), block(2))])
    config = LspConfig.model_validate({"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": path}})

    @asynccontextmanager
    async def open_node(_: object) -> AsyncIterator[PatientNode]:
        yield node

    monkeypatch.setattr(lsp_module, "open_node", open_node)
    run = asyncio.create_task(lsp_module.run(config, EventLog(log)))
    async with asyncio.timeout(20):
        await node.snapshot.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert node.attempts == 2
    assert "UNIQUE constraint failed" in log.getvalue()
    with LspStore(path) as store:
        assert [each.key for each in store.load() if isinstance(each, Block)] == [block(1).key]
        assert [each.block for each in store.latest_archived(10)] == [block(2), block(1)]


async def test_an_outage_of_the_node_counts_once(tmp_path: Path) -> None:
    """And not again for each attempt to attach: the alert about a node that is lost repeatedly reads this counter."""
    metrics, node = LspMetrics("1", "cln"), FailingNode()
    with LspStore(tmp_path / "lsp.sqlite") as store:
        run = asyncio.create_task(session_of(store, node, io.StringIO(), metrics).run())
        async with asyncio.timeout(60):
            await node.back.wait()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert node.attempts == 4
    assert metrics.registry.get_sample_value("asyncpay_lsp_detachments_total") == 1
