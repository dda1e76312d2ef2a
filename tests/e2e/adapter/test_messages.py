"""Onion messages, custom messages and signatures of real nodes."""

import secrets

import pytest

from asyncpay.lightning import NodeId
from asyncpay.node_events import BlockConnected, CustomMessage, OnionInTransit, OnionReceived, PeerConnected
from asyncpay.nodes.base import Node, NodeError, OnionUnreadableError, PeerNotConnectedError
from asyncpay.service.common import onions
from asyncpay.wire import blinding, onion, signature
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.onion import OnionMessage, Payload
from harness.testbed import Testbed

from .following import following
from .helpers import adapter, in_thread, link_to, node_id

pytestmark = pytest.mark.anyio

PID = bytes(range(32))
PATH_ID = b"\7" * 32
CONTENT = b"\5some content"
CUSTOM_TYPE = 37913


def sealed(path: BlindedPath, content: bytes = CONTENT, reply_path: BlindedPath | None = None) -> OnionMessage:
    return onion.build(path, Payload(async_payment=content, reply_path=reply_path), secrets.token_bytes(32))


def to_b(testbed: Testbed) -> OnionMessage:
    """A message along LSP and B."""
    route = [node_id(testbed, name) for name in ("LSP", "B")]
    return sealed(onions.path_through(route, HopData(path_id=PATH_ID)))


async def send_to_b(testbed: Testbed, a: Node) -> None:
    """A message from A along LSP and B that shows the pid to the LSP, and asks for an answer along a path to A."""
    lsp_id = node_id(testbed, "LSP")
    route = await a.onion_route(lsp_id)
    path = onions.path_through([*route, node_id(testbed, "B")], HopData(path_id=PATH_ID), payment_unblock=PID)
    await a.send_onion(route[0], sealed(path, CONTENT, onions.path_through([lsp_id, node_id(testbed, "A")])))


async def test_an_onion_message_passes_through_and_arrives(testbed: Testbed) -> None:
    a_id, lsp_id, b_id = (node_id(testbed, name) for name in ("A", "LSP", "B"))
    async with (
        adapter(testbed, "A") as a,
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "B") as b,
        following(lsp) as at_lsp,
        following(b) as at_b,
        following(a) as at_a,
    ):
        await send_to_b(testbed, a)
        arrived = await at_b.take(OnionReceived)
        assert (arrived.path_id, arrived.payment_unblock, arrived.async_payment) == (PATH_ID, None, CONTENT)
        if lsp.capabilities.transit_release:
            passing = await at_lsp.take(OnionInTransit)
            assert (passing.source, passing.next_node_id) == (a_id, b_id)
            assert (passing.payment_unblock, passing.undelivered) == (PID, False)
        else:
            height = await in_thread(testbed.mine)
            await at_lsp.take(BlockConnected, lambda block: block.height == height)
            assert not [event for event in at_lsp.untaken if isinstance(event, OnionInTransit)]

        assert arrived.reply_path is not None
        back = await b.onion_route(lsp_id)
        own = blinding.hops_through(back[:-1], HopData()) if back[:-1] else []
        await b.send_onion(back[0], sealed(blinding.join(own, arrived.reply_path, secrets.token_bytes(32)), b"answer"))
        assert (await at_a.take(OnionReceived)).async_payment == b"answer"


async def test_a_kept_message_is_delivered_when_its_receiver_is_back(testbed: Testbed) -> None:
    b_id = node_id(testbed, "B")
    await in_thread(testbed.stop, "B")
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as at_lsp:
        await send_to_b(testbed, a)
        kept = await at_lsp.take(OnionInTransit)
        assert kept.undelivered == (not lsp.capabilities.transit_release)
        with pytest.raises(PeerNotConnectedError) as error:
            await lsp.forward_onion(kept.message)
        assert error.value.peer == b_id
        await in_thread(testbed.start_and_wait, "B")
        assert (await at_lsp.take(PeerConnected)).peer == b_id
        async with adapter(testbed, "B") as b, following(b) as at_b:
            assert await lsp.forward_onion(kept.message) == (b_id if lsp.capabilities.tells_next_hop else None)
            assert (await at_b.take(OnionReceived)).path_id == PATH_ID


async def test_what_cannot_go_on_is_told_from_who_is_away(testbed: Testbed) -> None:
    lsp_id = node_id(testbed, "LSP")
    nowhere = blinding.build([Hop(lsp_id, HopData(short_channel_id=5)), Hop(lsp_id, HopData())], bytes([9] * 32))
    message = to_b(testbed)
    async with adapter(testbed, "LSP") as lsp:
        with pytest.raises(OnionUnreadableError, match=r"no channel 0x0x5|unknown next scid"):
            await lsp.forward_onion(sealed(nowhere))
        with pytest.raises(OnionUnreadableError):
            await lsp.forward_onion(OnionMessage(message.path_key, message.packet[:-1] + b"\0"))


async def test_a_hop_named_by_its_announced_channel(testbed: Testbed) -> None:
    lsp_id, a_id = node_id(testbed, "LSP"), node_id(testbed, "A")
    async with (
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "A") as a,
        following(lsp) as at_lsp,
        following(a) as at_a,
    ):
        channel = link_to(at_lsp.attached.links, a_id).short_channel_id
        path = blinding.build(
            [Hop(lsp_id, HopData(short_channel_id=channel)), Hop(a_id, HopData())], secrets.token_bytes(32)
        )
        await lsp.forward_onion(sealed(path))
        assert (await at_a.take(OnionReceived)).async_payment == CONTENT


async def test_routes_of_onion_messages(testbed: Testbed) -> None:
    a_id, lsp_id, b_id = (node_id(testbed, name) for name in ("A", "LSP", "B"))

    async def beyond_itself(node: Node, own_id: NodeId, destination: NodeId) -> tuple[NodeId, ...]:
        """Some nodes can only send messages that they have peeled, so their routes begin at themselves."""
        route = await node.onion_route(destination)
        return route[1:] if route[0] == own_id else route

    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, adapter(testbed, "B") as b:
        assert await beyond_itself(lsp, lsp_id, b_id) == (b_id,)  # a peer, announced or not
        assert await beyond_itself(b, b_id, a_id) == (lsp_id, a_id)
        with pytest.raises(NodeError, match="knows no route"):
            await a.onion_route(b_id)  # behind an unannounced channel


async def test_custom_messages(testbed: Testbed) -> None:
    a_id, lsp_id = node_id(testbed, "A"), node_id(testbed, "LSP")
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        longest = bytes(65533)
        await a.send_custom(lsp_id, CUSTOM_TYPE, longest)
        assert await log.take(CustomMessage) == CustomMessage(a_id, CUSTOM_TYPE, longest)
        with pytest.raises(NodeError, match="at most 65533 bytes"):
            await a.send_custom(lsp_id, CUSTOM_TYPE, bytes(65534))
        with pytest.raises(NodeError, match=r"did not .*send"):
            await a.send_custom(lsp_id, 1, b"")  # not a custom message: it is BOLT 1's warning
        with pytest.raises(PeerNotConnectedError):
            await a.send_custom(node_id(testbed, "B"), CUSTOM_TYPE, b"")
        await a.send_custom(lsp_id, CUSTOM_TYPE, b"still connected")
        assert (await log.take(CustomMessage)).data == b"still connected"


async def test_blocks(testbed: Testbed) -> None:
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        await in_thread(testbed.mine, 3)
        heights = [(await log.take(BlockConnected)).height for _ in range(3)]
    assert heights == [log.attached.height + blocks for blocks in (1, 2, 3)]


async def test_a_signature_names_its_node(testbed: Testbed) -> None:
    text = "async-payments:block_request:ümlaut"
    async with adapter(testbed, "A") as a:
        signed = await a.sign(text)
        assert (await a.sync_state()).synced
    assert signature.recover(text, signed) == node_id(testbed, "A")
