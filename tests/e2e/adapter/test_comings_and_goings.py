"""Held HTLCs, peers and channels when the adapter, the node or a peer disconnects and comes back."""

import asyncio

import pytest

from asyncpay.lightning import HeldHtlc, Invoice, PaymentStatus, Resolution, ShortChannelId
from asyncpay.node_events import (
    BlockConnected,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from harness.nodes.base import P2P_PORT
from harness.testbed import Testbed
from harness.topology import ChannelSpec

from .following import Following, following
from .helpers import CLOSE_CONFIRMATIONS, adapter, in_thread, invoice_of_b, link_to, node_id, order

pytestmark = pytest.mark.anyio


async def held_from_a(testbed: Testbed, log: Following) -> tuple[Invoice, HeldHtlc]:
    """Hold an HTLC from A to B; A's result is queried later."""
    async with adapter(testbed, "A") as a:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc
        paying.cancel()
    return invoice, offer


async def has_paid(testbed: Testbed, invoice: Invoice) -> bool:
    async with adapter(testbed, "A") as a:
        return (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.SUCCEEDED


async def test_a_peer_is_dialled_at_an_address(testbed: Testbed) -> None:
    a_id = node_id(testbed, "A")
    there = f"{testbed.engine.host('A')}:{P2P_PORT}"
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        await lsp.connect_peer(a_id, there)  # nothing to do
        await in_thread(testbed["LSP"].disconnect, testbed["A"])
        await log.take(PeerDisconnected, lambda event: event.peer == a_id)
        await lsp.connect_peer(a_id, there)
        await log.take(PeerConnected, lambda event: event.peer == a_id)
        await log.take(LinkChanged, lambda event: event.link.peer == a_id and event.link.usable)
        nobody = bytes.fromhex("02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
        with pytest.raises(NodeError):
            await lsp.connect_peer(nobody, there)
        with pytest.raises(NodeError):
            await lsp.connect_peer(nobody)


async def test_a_new_adapter_is_offered_what_is_held(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice, offer = await held_from_a(testbed, log)
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        assert (await log.take(HtlcOffered)).htlc == offer
        await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        await log.take(HtlcSettled)
    assert await has_paid(testbed, invoice)


async def test_a_restarted_node_offers_again(testbed: Testbed) -> None:
    """Before or when the payer is back, depending on the declared capability."""
    a_id = node_id(testbed, "A")
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice, offer = await held_from_a(testbed, log)
        await in_thread(testbed.stop, "A")
        await in_thread(testbed.kill, "LSP")
        assert " at " in str(await log.end())
        with pytest.raises(NodeUnreachableError):
            await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        with pytest.raises(NodeUnreachableError):
            await lsp.pending_htlcs()
    await in_thread(testbed.start_and_wait, "LSP")
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        assert a_id not in log.attached.online
        assert not link_to(log.attached.links, a_id).usable
        assert [htlc.key for htlc in await lsp.pending_htlcs()] == [offer.key]
        if lsp.capabilities.reoffers_without_payer:
            assert (await log.take(HtlcOffered)).htlc == offer
            await in_thread(testbed.start_and_wait, "A")
        else:
            height = await in_thread(testbed.mine)
            await log.take(BlockConnected, lambda block: block.height == height)
            assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
            await in_thread(testbed.start_and_wait, "A")
            assert (await log.take(HtlcOffered)).htlc == offer
        await log.take(LinkChanged, lambda event: event.link.peer == a_id and event.link.usable)
        await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        await log.take(HtlcGone)
    assert await has_paid(testbed, invoice)


async def test_the_stream_ends_when_the_node_shuts_down(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp:
        async with following(lsp) as log:
            await in_thread(testbed.stop, "LSP")
            await log.end()
        with pytest.raises(NodeUnreachableError):
            await anext(lsp.events())
    await in_thread(testbed.start_and_wait, "LSP")
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        assert all(link.usable for link in log.attached.links)


async def test_a_frozen_node_is_taken_for_gone(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp:
        async with following(lsp) as log:
            await in_thread(testbed.freeze, "LSP")
            await log.end()
            await in_thread(testbed.unfreeze, "LSP")
        async with following(lsp) as log:
            height = await in_thread(testbed.mine)
            await log.take(BlockConnected, lambda block: block.height == height)


async def test_a_payer_goes_and_comes(testbed: Testbed) -> None:
    a_id = node_id(testbed, "A")
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        link = link_to(log.attached.links, a_id)
        await in_thread(testbed.stop, "A")
        assert (await log.take(PeerDisconnected)).peer == a_id
        changed = (await log.take(LinkChanged)).link
        assert (changed.short_channel_id, changed.usable) == (link.short_channel_id, False)
        await in_thread(testbed.start_and_wait, "A")
        assert (await log.take(PeerConnected)).peer == a_id
        assert (await log.take(LinkChanged)).link == link


async def test_a_channel_opens_and_closes(testbed: Testbed) -> None:
    spec = ChannelSpec.model_validate({"from": "LSP", "to": "B", "capacity_sat": 200_000, "private": True})
    node = testbed["LSP"]
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        funding = await in_thread(node.open_channel, testbed["B"], spec)
        await in_thread(testbed.mine, 6)
        opened = (await log.take(LinkChanged, lambda event: event.link.usable)).link
        assert opened.peer == node_id(testbed, "B")
        height_blocks = testbed.chain.height_blocks
        await lsp.force_close(opened.channel_id)
        txid, output = funding.split(":")
        assert await in_thread(testbed.chain.spender, txid, int(output), height_blocks), "it is not broadcast"
        await in_thread(testbed.mine, CLOSE_CONFIRMATIONS)
        assert (await log.take(LinkClosed)).channel_id == opened.channel_id
    assert opened.short_channel_id not in {ShortChannelId.parse(c.short_channel_id) for c in node.channels()}
