"""Behaviour of LND only: a second interceptor, late reports, and errors of gRPC."""

import asyncio
import secrets

import pytest

from asyncpay.lightning import PaymentStatus, Resolution
from asyncpay.node_events import (
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    PeerDisconnected,
)
from asyncpay.nodes.base import NodeUnreachableError, OnionUnreadableError
from asyncpay.nodes.lnd import LndNode
from asyncpay.service.common import onions
from asyncpay.wire import onion
from asyncpay.wire.onion import Payload
from harness.nodes.lnd import LND_DIR
from harness.nodes.predicates import no_htlcs
from harness.testbed import Testbed
from harness.waits import wait_for

from .following import BOUND_SECONDS, following
from .helpers import adapter, in_thread, invoice_of_b, node_id, order

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("testbed", ["lnd"], indirect=True)]


async def test_there_is_one_interceptor(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp, adapter(testbed, "LSP") as second, following(lsp) as log:
        with pytest.raises(NodeUnreachableError, match="interceptor"):
            await anext(second.events())  # not even Attached
        height = await in_thread(testbed.mine)
        await log.take(BlockConnected, lambda block: block.height == height)


async def test_what_was_failed_back_is_reported_as_failed_too(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        paying = asyncio.create_task(a.pay(order(await invoice_of_b(testbed, a))))
        key = (await log.take(HtlcOffered)).htlc.key
        await lsp.resolve_htlc(key, Resolution.FAIL)
        assert (await log.take(HtlcFailed)).key == key
        assert (await paying).failure == "no route"


async def test_a_settlement_is_told_only_once_the_payer_is_back(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        async with adapter(testbed, "A") as a:
            invoice = await invoice_of_b(testbed, a)
            paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
            offer = (await log.take(HtlcOffered)).htlc
            paying.cancel()
        await in_thread(testbed.freeze, "B")
        await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        await in_thread(testbed.kill, "A")
        await log.take(PeerDisconnected)
        await in_thread(testbed.unfreeze, "B")
        await in_thread(wait_for, no_htlcs([testbed["B"]]))
        height = await in_thread(testbed.mine)
        await log.take(BlockConnected, lambda block: block.height == height)
        assert not [event for event in log.untaken if isinstance(event, HtlcSettled)]
        assert [htlc.key for htlc in await lsp.pending_htlcs()] == [offer.key]

        await in_thread(testbed.start_and_wait, "A")
        assert (await log.take(HtlcSettled)).key == offer.key
        assert (await log.take(HtlcGone)).key == offer.key
    async with adapter(testbed, "A") as a:
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.SUCCEEDED


async def test_a_payment_without_a_route_is_on_record(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        too_cheap = await a.pay(order(invoice, fee_limit_msat=0))
        assert (too_cheap.status, too_cheap.failure) == (PaymentStatus.FAILED, "no route")
        async with asyncio.timeout(BOUND_SECONDS):  # an attempt would be held without limit
            assert await a.pay(order(invoice)) == too_cheap
        assert await a.track_payment(invoice.payment_hash) == too_cheap
        assert not log.untaken


async def test_an_onion_message_that_ends_here_cannot_be_forwarded(testbed: Testbed) -> None:
    ends_here = onions.path_through([node_id(testbed, "LSP")])
    async with adapter(testbed, "LSP") as lsp:
        with pytest.raises(OnionUnreadableError, match="is for LND at"):
            await lsp.forward_onion(onion.build(ends_here, Payload(), secrets.token_bytes(32)))


async def test_errors_name_the_node_and_the_call(testbed: Testbed) -> None:
    certificate = testbed.engine.read("A", f"{LND_DIR}/tls.cert")
    async with LndNode.connect("127.0.0.1:1", certificate, b"macaroon") as nobody:
        with pytest.raises(NodeUnreachableError, match=r"LND at 127\.0\.0\.1:1 did not sign a message: .+"):
            await nobody.sign("text")
        with pytest.raises(NodeUnreachableError, match=r"LND at 127\.0\.0\.1:1 did not report HTLCs and blocks: .+"):
            await anext(nobody.events())
