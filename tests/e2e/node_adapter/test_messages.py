"""Onion messages, custom messages and signatures of real LNDs."""

import secrets

import pytest

from asyncpay.node_events import BlockConnected, CustomMessage, OnionInTransit, OnionReceived, PeerConnected
from asyncpay.nodes.base import NodeError, OnionUnreadableError, PeerNotConnectedError
from asyncpay.wire import blinding, onion, signature
from asyncpay.wire.blinding import Hop, HopData
from asyncpay.wire.onion import OnionMessage, Payload
from harness import faults
from harness.testbed import Testbed

from .following import following
from .helpers import adapter, in_thread, node_id

pytestmark = pytest.mark.anyio

PID = bytes(range(32))
PATH_ID = b"\7" * 32
CONTENT = b"\5some content"
CUSTOM_TYPE = 37913


def to_b(testbed: Testbed) -> OnionMessage:
    """A message along LSP and B that shows the pid to the LSP, and asks for an answer along a path to A."""
    lsp, b = node_id(testbed, "LSP"), node_id(testbed, "B")
    hops = [Hop(lsp, HopData(next_node_id=b, payment_unblock=PID)), Hop(b, HopData(path_id=PATH_ID))]
    path = blinding.build(hops, secrets.token_bytes(32))
    answer_to = blinding.build(blinding.hops_through([lsp, node_id(testbed, "A")], HopData()), secrets.token_bytes(32))
    return onion.build(path, Payload(async_payment=CONTENT, reply_path=answer_to), secrets.token_bytes(32))


async def test_an_onion_message_passes_through_and_arrives(testbed: Testbed) -> None:
    async with (
        adapter(testbed, "A") as a,
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "B") as b,
        following(lsp) as at_lsp,
        following(b) as at_b,
        following(a) as at_a,
    ):
        message = to_b(testbed)
        await a.send_onion(node_id(testbed, "LSP"), message)
        passing = await at_lsp.take(OnionInTransit)
        arrived = await at_b.take(OnionReceived)
        assert passing == OnionInTransit(
            source=node_id(testbed, "A"),
            message=message,
            next_node_id=node_id(testbed, "B"),
            payment_unblock=PID,
            undelivered=False,
        )
        assert (arrived.path_id, arrived.payment_unblock, arrived.async_payment) == (PATH_ID, None, CONTENT)

        assert arrived.reply_path is not None
        answer = onion.build(arrived.reply_path, Payload(async_payment=b"answer"), secrets.token_bytes(32))
        await b.send_onion(node_id(testbed, "LSP"), answer)
        assert (await at_a.take(OnionReceived)).async_payment == b"answer"


async def test_a_kept_message_is_delivered_when_its_receiver_is_back(testbed: Testbed) -> None:
    b_id = node_id(testbed, "B")
    await in_thread(faults.stop, testbed, "B")
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as at_lsp:
        await a.send_onion(node_id(testbed, "LSP"), to_b(testbed))
        kept = (await at_lsp.take(OnionInTransit)).message
        with pytest.raises(PeerNotConnectedError) as error:
            await lsp.forward_onion(kept)
        assert error.value.peer == b_id
        await in_thread(faults.come_back, testbed, "B")
        assert (await at_lsp.take(PeerConnected)).peer == b_id
        async with adapter(testbed, "B") as b, following(b) as at_b:
            await lsp.forward_onion(kept)
            assert (await at_b.take(OnionReceived)).path_id == PATH_ID


async def test_what_cannot_go_on_is_told_from_who_is_away(testbed: Testbed) -> None:
    lsp_id = node_id(testbed, "LSP")
    ends_here = blinding.build([Hop(lsp_id, HopData())], secrets.token_bytes(32))
    unknown_channel = blinding.build(
        [Hop(lsp_id, HopData(short_channel_id=5)), Hop(lsp_id, HopData())], bytes([9] * 32)
    )
    async with adapter(testbed, "LSP") as lsp:
        for path, complaint in ((ends_here, "ends at"), (unknown_channel, "no channel 0x0x5")):
            with pytest.raises(OnionUnreadableError, match=complaint):
                await lsp.forward_onion(onion.build(path, Payload(), secrets.token_bytes(32)))
        message = to_b(testbed)
        with pytest.raises(OnionUnreadableError, match="HMAC"):
            await lsp.forward_onion(OnionMessage(message.path_key, message.packet[:-1] + b"\0"))


async def test_a_hop_named_by_its_channel(testbed: Testbed) -> None:
    lsp_id, b_id = node_id(testbed, "LSP"), node_id(testbed, "B")
    async with (
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "B") as b,
        following(lsp) as at_lsp,
        following(b) as at_b,
    ):
        channel = next(link.short_channel_id for link in at_lsp.attached.links if link.peer == b_id)
        path = blinding.build(
            [Hop(lsp_id, HopData(short_channel_id=channel)), Hop(b_id, HopData())], secrets.token_bytes(32)
        )
        await lsp.forward_onion(onion.build(path, Payload(async_payment=CONTENT), secrets.token_bytes(32)))
        assert (await at_b.take(OnionReceived)).async_payment == CONTENT


async def test_routes_of_onion_messages(testbed: Testbed) -> None:
    a_id, lsp_id, b_id = (node_id(testbed, name) for name in ("A", "LSP", "B"))
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, adapter(testbed, "B") as b:
        assert await lsp.onion_route(b_id) == (b_id,)  # a peer, announced or not
        assert await b.onion_route(a_id) == (lsp_id, a_id)
        with pytest.raises(NodeError, match="knows no way"):
            await a.onion_route(b_id)  # behind a channel that nobody announced


async def test_custom_messages(testbed: Testbed) -> None:
    a_id, lsp_id = node_id(testbed, "A"), node_id(testbed, "LSP")
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        longest = bytes(65533)
        await a.send_custom(lsp_id, CUSTOM_TYPE, longest)
        assert await log.take(CustomMessage) == CustomMessage(a_id, CUSTOM_TYPE, longest)
        with pytest.raises(NodeError, match="at most 65533 bytes"):
            await a.send_custom(lsp_id, CUSTOM_TYPE, bytes(65534))
        with pytest.raises(NodeError, match=f"LND at .* did not send a custom message of type 1 to {lsp_id.hex()}"):
            await a.send_custom(lsp_id, 1, b"")
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
    assert signature.recover(text, signed) == node_id(testbed, "A")
