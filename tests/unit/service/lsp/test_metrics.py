"""What Prometheus reads from a running LSP, over HTTP, and that the documents name nothing else."""

import asyncio
import re
import socket
import threading
import time
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from asyncpay.config import MetricsConfig
from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import Log, NotificationReported, ResolveHtlc, SendToClient
from asyncpay.engine.lsp.records import Method
from asyncpay.engine.lsp.states import Trigger
from asyncpay.lightning import Resolution
from asyncpay.log_events import LogEvent
from asyncpay.node_events import Attached, BlockConnected
from asyncpay.service.lsp.metrics import MAX_READERS, LspMetrics, MetricsError, serving
from asyncpay.wire.messages import BlockReply, BlockStatus
from tests.support import held_payments
from tests.support.held_payments import HEIGHT, POLICY, START, htlc, link, records_of
from tests.unit.service.lsp.test_session import CAPABILITIES

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[4] / "docs"
Samples = dict[tuple[str, tuple[str, ...]], float]
"""By a sample's name and the values of its labels, the names of these from z to a."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def config(port: int) -> MetricsConfig:
    return MetricsConfig(port=port, host=IPv4Address("127.0.0.1"))


def holding(payments: int) -> Lsp:
    records = [record for number in range(payments) for record in records_of(number)]
    lsp = Lsp(POLICY, CAPABILITIES, records)
    links = tuple(link(number) for number in range(payments))
    lsp.handle(START, Attached(node_id=b"\x02" * 33, network="regtest", height=HEIGHT, links=links, online=frozenset()))
    return lsp


async def scraped(port: int) -> Samples:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
    assert answer.status_code == 200
    return samples(answer.text)


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sample.labels[label] for label in sorted(sample.labels, reverse=True))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_held_payments_and_their_deadlines_are_read_from_the_engine(port: int) -> None:
    before = time.time()
    metrics, lsp = LspMetrics("1.2.3", "lnd"), holding(3)
    with serving(config(port), metrics), metrics.following(lsp, lambda: START + 60):
        seen = await scraped(port)
        assert seen["asyncpay_lsp_build_info", ("1.2.3", "lnd")] == 1
        assert before <= seen["asyncpay_lsp_start_time_seconds", ()] <= time.time()
        assert seen["asyncpay_lsp_node_attached", ()] == 1
        assert seen["asyncpay_lsp_node_height_blocks", ()] == HEIGHT
        assert seen["asyncpay_lsp_blocks", ("held",)] == 3
        assert seen["asyncpay_lsp_blocks", ("settled",)] == 3
        assert seen["asyncpay_lsp_held_parts", ()] == 3
        assert seen["asyncpay_lsp_held_msat", ()] == 3 * htlc(0).incoming_amount_msat
        assert seen["asyncpay_lsp_oldest_held_seconds", ()] == 1060
        first = min(held_payments.block(number).release_by_height + 1 for number in range(3))
        assert seen["asyncpay_lsp_nearest_deadline_blocks", ()] == first - HEIGHT
        assert seen["asyncpay_lsp_mailbox_messages", ()] == 3
        assert seen["asyncpay_lsp_clients", ()] == 3

        lsp.handle(START + 60, BlockConnected(first))

        after = await scraped(port)
        assert after["asyncpay_lsp_held_parts", ()] == 2
        assert after["asyncpay_lsp_blocks", ("failed back",)] == 1


async def test_what_happens_is_counted(port: int) -> None:
    metrics, client = LspMetrics("1", "cln"), held_payments.client(1)
    metrics.performed(Log(LogEvent.FAILED_BACK, because=Trigger.NEAR_EXPIRY.value))
    metrics.performed(Log(LogEvent.ACCEPTED, because="block_request"))
    metrics.performed(Log(LogEvent.PAYEE_REFUSES, because="text of a stranger"))
    metrics.performed(ResolveHtlc(htlc(1).key, Resolution.FAIL))
    reply = BlockReply(unblock_hash=bytes(32), status=BlockStatus.TOO_MANY_HOLDS)
    metrics.performed(SendToClient(client, reply))
    for delivered in (True, False, False):
        metrics.reported(NotificationReported(client, Method.ONION_MESSAGE, delivered))
    metrics.decided(Tick(), 9)
    metrics.decided(BlockConnected(1), 0.002)
    metrics.stored(0.02)
    metrics.detached()

    with serving(config(port), metrics):
        seen = await scraped(port)

    decisions = {labels: value for (name, labels), value in seen.items() if name == "asyncpay_lsp_decisions_total"}
    assert decisions == {("failed back", "a part near its expiry"): 1, ("accepted", "request"): 1}
    assert seen["asyncpay_lsp_resolutions_total", ("fail",)] == 1
    assert seen["asyncpay_lsp_block_replies_total", ("TOO_MANY_HOLDS",)] == 1
    pushes = {labels: value for (name, labels), value in seen.items() if name == "asyncpay_lsp_pushes_total"}
    assert pushes["delivered", "lsps5.onion_message_incoming"] == 1
    assert pushes["failed", "lsps5.onion_message_incoming"] == 2
    assert sum(pushes.values()) == 3
    assert len(pushes) == 2 * len(Method), "each begins at 0, so that Prometheus sees the first one as an increase"
    assert seen["asyncpay_lsp_event_seconds_count", ()] == 1
    assert seen["asyncpay_lsp_store_seconds_sum", ()] == 0.02
    assert seen["asyncpay_lsp_detachments_total", ()] == 1


async def test_between_two_engines_the_node_counts_as_away(port: int) -> None:
    metrics = LspMetrics("1", "cln")
    with serving(config(port), metrics):
        seen = await scraped(port)
    assert seen["asyncpay_lsp_node_attached", ()] == 0
    assert ("asyncpay_lsp_held_parts", ()) not in seen


async def test_many_readers_and_rubbish_do_not_disturb(port: int) -> None:
    metrics, lsp = LspMetrics("1", "lnd"), holding(1)
    with serving(config(port), metrics), metrics.following(lsp, lambda: START):
        for rubbish in (b"", b"\xff" * 5000, b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " + b"/" * 70_000):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(rubbish)
            await writer.drain()
            writer.close()
        for seen in await asyncio.gather(*(scraped(port) for _ in range(10))):
            assert seen["asyncpay_lsp_held_parts", ()] == 1


async def test_readers_that_say_nothing_take_few_threads_and_give_way(port: int) -> None:
    metrics, lsp = LspMetrics("1", "lnd"), holding(1)
    with serving(config(port), metrics), metrics.following(lsp, lambda: START):
        before = threading.active_count()
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        seen = await scraped(port)
        assert seen["asyncpay_lsp_held_parts", ()] == 1
        assert threading.active_count() - before <= MAX_READERS
        for _, writer in silent:
            writer.close()


async def test_an_address_in_use_is_said(port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with (
            pytest.raises(MetricsError, match=rf"127\.0\.0\.1:{port}.*\[metrics\]"),
            serving(config(port), LspMetrics("1", "lnd")),
        ):
            pass


async def test_documents_and_alert_rules_name_metrics_that_there_are(port: int) -> None:
    metrics, lsp = LspMetrics("1", "lnd"), holding(1)
    with serving(config(port), metrics), metrics.following(lsp, lambda: START):
        families = {name for name, _ in await scraped(port)} | {
            "asyncpay_lsp_event_seconds",
            "asyncpay_lsp_store_seconds",
        }
    families |= {"asyncpay_lsp_decisions_total"}  # it has no sample before the first decision
    for document in (DOCS / "operating.md", DOCS / "operating" / "alerts.yml"):
        named = set(re.findall(r"\basyncpay_lsp_\w+", document.read_text()))
        assert named
        assert named <= families, f"{document.name} names {named - families}"
