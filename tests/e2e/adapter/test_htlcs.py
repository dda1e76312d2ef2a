"""HTLCs held by a real node: its offers, its reactions to answers, and its reports of the outcome."""

import asyncio
from hashlib import sha256

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, PaymentStatus, Resolution
from asyncpay.node_events import (
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    PeerDisconnected,
)
from asyncpay.nodes.base import NodeUnreachableError
from harness.checks import balances
from harness.pytest_plugin import require
from harness.testbed import Testbed

from .following import following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, link_to, node_id, order

pytestmark = pytest.mark.anyio


async def test_attached_tells_what_there_is(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        now = log.attached
    assert (now.node_id, now.network) == (node_id(testbed, "LSP"), "regtest")
    assert now.height == testbed.chain.height_blocks
    assert now.online == {node_id(testbed, "A"), node_id(testbed, "B")}
    assert {(str(link.short_channel_id), link.peer.hex(), link.usable) for link in now.links} == {
        (channel.short_channel_id, channel.peer_id, True) for channel in testbed["LSP"].channels()
    }


async def test_hold_and_resume(testbed: Testbed) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        height = log.attached.height
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc

        to_a, to_b = (link_to(log.attached.links, node_id(testbed, name)) for name in ("A", "B"))
        assert (offer.key.channel_id, offer.peer) == (to_a.channel_id, to_a.peer)
        assert offer.outgoing_channel in to_b.names
        assert offer.outgoing_node is None
        assert (offer.payment_hash, offer.outgoing_amount_msat) == (invoice.payment_hash, AMOUNT_MSAT)
        assert offer.incoming_amount_msat > AMOUNT_MSAT
        assert offer.outgoing_expiry == height + invoice.min_final_cltv_expiry + 100 + 3  # for blocks on the way
        [pending] = await lsp.pending_htlcs()
        assert (pending.key, pending.peer, pending.incoming) == (offer.key, offer.peer, True)
        assert (pending.payment_hash, pending.expiry) == (offer.payment_hash, offer.incoming_expiry)
        assert 0 <= offer.incoming_amount_msat - pending.amount_msat < 1_000

        await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        settled = await log.take(HtlcSettled)
        gone = await log.take(HtlcGone)
        result = await paying

    assert (settled.key, gone.key) == (offer.key, offer.key)
    assert sha256(settled.preimage).digest() == invoice.payment_hash
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, settled.preimage)
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert moved == {"A": -offer.incoming_amount_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


async def test_hold_and_fail(testbed: Testbed) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        paying = asyncio.create_task(a.pay(order(await invoice_of_b(testbed, a))))
        offer = (await log.take(HtlcOffered)).htlc
        await lsp.resolve_htlc(offer.key, Resolution.FAIL)
        assert (await log.take(HtlcGone)).key == offer.key
        result = await paying
    assert (result.status, result.preimage) == (PaymentStatus.FAILED, None)
    assert result.failure
    assert await in_thread(balances.count, testbed) == before


async def test_an_answer_that_would_end_the_stream_is_not_sent(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        paying = asyncio.create_task(a.pay(order(await invoice_of_b(testbed, a))))
        key = (await log.take(HtlcOffered)).htlc.key
        with pytest.raises(NodeUnreachableError, match=r"does not (offer|hold) it"):
            await lsp.resolve_htlc(HtlcKey(ChannelId.from_name(1), 7), Resolution.FAIL)
        await lsp.resolve_htlc(key, Resolution.RESUME)
        with pytest.raises(NodeUnreachableError, match=r"does not (offer|hold) it"):
            await lsp.resolve_htlc(key, Resolution.RESUME)
        await log.take(HtlcGone)
        height = await in_thread(testbed.mine)
        await log.take(BlockConnected, lambda block: block.height == height)
        assert (await paying).status is PaymentStatus.SUCCEEDED


async def test_resumed_while_the_payer_is_away(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice)))
        key = (await log.take(HtlcOffered)).htlc.key
        await in_thread(testbed.kill, "A")
        await asyncio.gather(paying, return_exceptions=True)
        await log.take(LinkChanged, lambda event: not event.link.usable)
        await lsp.resolve_htlc(key, Resolution.RESUME)
        forwarded = bool(lsp.capabilities.forwards_with_payer_offline)
        if forwarded:
            assert (await log.take(HtlcSettled)).key == key  # the payer is still away
        await in_thread(testbed.start_and_wait, "A")
        if not forwarded:
            assert (await log.take(HtlcFailed)).key == key
        await log.take(HtlcGone)
    async with adapter(testbed, "A") as a:
        result = await a.track_payment(invoice.payment_hash)
    assert result.status is (PaymentStatus.SUCCEEDED if forwarded else PaymentStatus.FAILED)


async def test_claimed_from_a_payer_who_is_away(testbed: Testbed) -> None:
    """With a preimage from another source: the LSP has paid the invoice itself, over other HTLCs of the same hash."""
    require(testbed["LSP"], testbed["LSP"].capabilities.settles)
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc
        await in_thread(testbed.kill, "A")
        await asyncio.gather(paying, return_exceptions=True)
        await log.take(PeerDisconnected)

        paid = await lsp.pay(
            order(
                invoice,
                fee_limit_msat=offer.outgoing_amount_msat - AMOUNT_MSAT,
                cltv_limit_blocks=offer.outgoing_expiry - log.attached.height,
            )
        )
        assert (paid.status, paid.fee_msat) == (PaymentStatus.SUCCEEDED, 0)
        await lsp.resolve_htlc(offer.key, Resolution.SETTLE, paid.preimage)
        height = await in_thread(testbed.mine)
        await log.take(BlockConnected, lambda block: block.height == height)  # the stream has outlived the answer
        await in_thread(testbed.start_and_wait, "A")
        assert (await log.take(HtlcGone)).key == offer.key
    async with adapter(testbed, "A") as a:
        result = await a.track_payment(invoice.payment_hash)
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, paid.preimage)
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert moved == {"A": -offer.incoming_amount_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}
