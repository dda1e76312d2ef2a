"""The node interface on real Core Lightning: paying and being paid, messages, and what is held."""

import asyncio
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from lnd_adapter.following import following

from asyncpay.lightning import Invoice, NodeId, PaymentResult, PaymentStatus, Verdict
from asyncpay.node_events import (
    BlockConnected,
    CustomMessage,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    InvoicePaid,
    OnionInTransit,
    OnionReceived,
    PeerConnected,
)
from asyncpay.nodes.base import NodeError, NodeUnreachableError, OnionUnreadableError, Payment, PeerNotConnectedError
from asyncpay.nodes.cln import ClnNode
from asyncpay.wire import blinding, onion, signature
from asyncpay.wire.blinding import Hop, HopData
from asyncpay.wire.onion import OnionMessage, Payload
from harness import faults, money
from harness.nodes.cln import SOCKET
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load

pytestmark = pytest.mark.anyio

AMOUNT_MSAT = 100_000_000
SLACK_BLOCKS = 100
CUSTOM_TYPE = 37913
in_thread = asyncio.to_thread


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(load(Path(__file__).parent / "topologies" / "cln-hop.yaml"), request.config) as running:
        for component in running.lsps.values():
            component.stop()
        yield running


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def adapter(testbed: Testbed, name: str) -> ClnNode:
    return ClnNode(testbed.folder / "sockets" / name / SOCKET)


def node_id(testbed: Testbed, name: str) -> NodeId:
    return bytes.fromhex(testbed[name].node_id)


async def invoice_of_b(testbed: Testbed) -> Invoice:
    return await adapter(testbed, "B").create_invoice(AMOUNT_MSAT, "two words", 3_600)


def order(invoice: Invoice, **changes: Any) -> Payment:
    values: dict[str, Any] = {
        "invoice": invoice,
        "amount_msat": AMOUNT_MSAT,
        "fee_limit_msat": 1_000_000,
        "cltv_limit_blocks": 2016,
        "slack_blocks": SLACK_BLOCKS,
        "timeout_seconds": 5,
    }
    return Payment(**(values | changes))


def to_b(testbed: Testbed) -> OnionMessage:
    """A message from the LSP on to B."""
    path = blinding.build(
        blinding.hops_through([node_id(testbed, "LSP"), node_id(testbed, "B")], HopData(path_id=b"\7" * 32)),
        secrets.token_bytes(32),
    )
    return onion.build(path, Payload(async_payment=b"\5content"), secrets.token_bytes(32))


async def test_attached_tells_what_there_is_and_the_later_one_has_the_plugin(testbed: Testbed) -> None:
    lsp = adapter(testbed, "LSP")
    async with following(lsp) as first:
        now = first.attached
        assert (now.node_id, now.network) == (node_id(testbed, "LSP"), "regtest")
        assert now.height == testbed.chain.height_blocks
        assert now.online == {node_id(testbed, "A"), node_id(testbed, "B")}
        assert {(str(link.short_channel_id), link.peer.hex(), link.usable) for link in now.links} == {
            (channel.short_channel_id, channel.peer_id, True) for channel in testbed["LSP"].channels()
        }
        async with following(adapter(testbed, "LSP")) as second:
            assert "attach again" in str(await first.end())
            await in_thread(testbed.mine, 2)
            heights = [(await second.take(BlockConnected)).height for _ in range(2)]
            assert heights == [second.attached.height + 1, second.attached.height + 2]


async def test_paid_with_slack_by_way_of_a_hint_and_once_only(testbed: Testbed) -> None:
    before = await in_thread(money.count, testbed)
    a, lsp, b = (adapter(testbed, name) for name in ("A", "LSP", "B"))
    async with following(lsp) as at_lsp, following(b) as at_b:
        invoice = await invoice_of_b(testbed)
        assert (invoice.payee, invoice.amount_msat) == (node_id(testbed, "B"), AMOUNT_MSAT)
        assert (invoice.network, invoice.description) == ("regtest", "two words")
        assert invoice.route_hints == ((node_id(testbed, "LSP"),),)
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN

        paying = [asyncio.create_task(a.pay(order(invoice, through=node_id(testbed, "LSP"))))]
        offer = (await at_lsp.take(HtlcOffered)).htlc
        assert offer.outgoing_expiry == at_lsp.attached.height + invoice.min_final_cltv_expiry + SLACK_BLOCKS + 3
        assert offer.outgoing_amount_msat == AMOUNT_MSAT < offer.incoming_amount_msat
        assert await a.look_up_payment(invoice.payment_hash) == PaymentResult(
            status=PaymentStatus.IN_FLIGHT, parts_in_flight=1, in_flight_msat=AMOUNT_MSAT
        )
        paying += [
            asyncio.create_task(a.pay(order(invoice))),
            asyncio.create_task(a.track_payment(invoice.payment_hash)),
        ]
        [pending] = await lsp.pending_htlcs()
        assert (pending.key, pending.peer, pending.incoming) == (offer.key, offer.peer, True)
        assert (pending.amount_msat, pending.expiry) == (offer.incoming_amount_msat, offer.incoming_expiry)

        await lsp.answer(offer.key, Verdict.RESUME)
        settled = await at_lsp.take(HtlcSettled)
        assert (await at_lsp.take(HtlcGone)).key == settled.key == offer.key
        assert sha256(settled.preimage).digest() == invoice.payment_hash
        assert await at_b.take(InvoicePaid) == InvoicePaid(invoice.payment_hash, AMOUNT_MSAT)
        results = [*await asyncio.gather(*paying), await a.pay(order(invoice, slack_blocks=0))]
        with pytest.raises(NodeUnreachableError, match="does not hold it"):
            await lsp.answer(offer.key, Verdict.RESUME)
        assert not [event for event in at_lsp.untaken if isinstance(event, HtlcOffered)]

    fee_msat = offer.incoming_amount_msat - AMOUNT_MSAT
    paid = PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=settled.preimage, fee_msat=fee_msat)
    assert results == [paid] * 4
    own = await b.look_up_invoice(invoice.payment_hash)
    assert own is not None
    assert (own.paid, own.payable) == (True, False)
    assert await b.look_up_invoice(bytes(32)) is None
    moved = (await in_thread(money.count, testbed)).moved_since(before)
    assert moved == {"A": -offer.incoming_amount_msat, "LSP": fee_msat, "B": AMOUNT_MSAT}


async def test_failed_back_it_is_not_tried_again(testbed: Testbed) -> None:
    before = await in_thread(money.count, testbed)
    a, lsp = adapter(testbed, "A"), adapter(testbed, "LSP")
    async with following(lsp) as at_lsp:
        invoice = await invoice_of_b(testbed)
        paying = asyncio.create_task(a.pay(order(invoice)))
        key = (await at_lsp.take(HtlcOffered)).htlc.key
        await lsp.answer(key, Verdict.FAIL)
        assert (await at_lsp.take(HtlcGone)).key == key
        failed = await paying
        assert (failed.status, failed.preimage) == (PaymentStatus.FAILED, None)
        assert (await a.pay(order(invoice))).status is PaymentStatus.FAILED
        assert not [event for event in at_lsp.untaken if isinstance(event, (HtlcOffered, HtlcFailed))]
    assert await in_thread(money.count, testbed) == before


@pytest.mark.parametrize("changes", [{"fee_limit_msat": 0}, {"cltv_limit_blocks": 50}, {"amount_msat": 10**13}])
async def test_a_payment_that_finds_no_way_has_failed(testbed: Testbed, changes: dict[str, int]) -> None:
    a, invoice = adapter(testbed, "A"), await invoice_of_b(testbed)
    result = await a.pay(order(invoice, **changes))
    assert result.status is PaymentStatus.FAILED
    assert result.failure
    assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN


async def test_a_payer_killed_while_its_payment_is_held_pays_once(testbed: Testbed) -> None:
    before = await in_thread(money.count, testbed)
    a, lsp = adapter(testbed, "A"), adapter(testbed, "LSP")
    async with following(lsp) as at_lsp:
        invoice = await invoice_of_b(testbed)
        paying = asyncio.create_task(a.pay(order(invoice)))
        offer = (await at_lsp.take(HtlcOffered)).htlc
        await in_thread(faults.kill, testbed, "A")
        with pytest.raises(NodeUnreachableError):
            await paying
        await lsp.answer(offer.key, Verdict.RESUME)  # with A away
        settled = await at_lsp.take(HtlcSettled)
        await in_thread(faults.come_back, testbed, "A")
        result = await a.pay(order(invoice))
        assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, settled.preimage)
        await at_lsp.take(HtlcGone)
    moved = (await in_thread(money.count, testbed)).moved_since(before)
    assert moved["A"] == -offer.incoming_amount_msat


async def test_a_restarted_node_offers_again_before_the_payer_is_back(testbed: Testbed) -> None:
    a, lsp = adapter(testbed, "A"), adapter(testbed, "LSP")
    async with following(lsp) as at_lsp:
        invoice = await invoice_of_b(testbed)
        paying = asyncio.create_task(a.pay(order(invoice)))
        offer = (await at_lsp.take(HtlcOffered)).htlc
        paying.cancel()
        await in_thread(faults.kill, testbed, "A")
        await in_thread(faults.kill, testbed, "LSP")
        await at_lsp.end()
    await in_thread(faults.come_back, testbed, "LSP")
    async with following(lsp) as at_lsp:
        assert (await at_lsp.take(HtlcOffered)).htlc == offer
        await lsp.answer(offer.key, Verdict.RESUME)
        await at_lsp.take(HtlcSettled)
        await in_thread(faults.come_back, testbed, "A")
        await at_lsp.take(HtlcGone)
    assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.SUCCEEDED


async def test_onion_messages_pass_unseen_and_are_seen_when_nobody_takes_them(testbed: Testbed) -> None:
    lsp, b_id = adapter(testbed, "LSP"), node_id(testbed, "B")
    async with following(lsp) as at_lsp:
        async with following(adapter(testbed, "B")) as at_b:
            await send_from_a(testbed)
            received = await at_b.take(OnionReceived)
            assert (received.path_id, received.async_payment) == (b"\7" * 32, b"\5content")
            assert not [event for event in at_lsp.untaken if isinstance(event, OnionInTransit)]
            await in_thread(faults.kill, testbed, "B")
            await at_b.end()
        await send_from_a(testbed)
        kept = await at_lsp.take(OnionInTransit)
        assert (kept.source, kept.next_node_id, kept.undelivered) == (node_id(testbed, "A"), b_id, True)
        with pytest.raises(PeerNotConnectedError) as absent:
            await lsp.forward_onion(kept.message)
        assert absent.value.peer == b_id

        await in_thread(faults.come_back, testbed, "B")
        assert (await at_lsp.take(PeerConnected)).peer == b_id
        async with following(adapter(testbed, "B")) as at_b:
            await lsp.forward_onion(kept.message)
            assert (await at_b.take(OnionReceived)).path_id == b"\7" * 32


async def send_from_a(testbed: Testbed) -> None:
    """A message along A, which CLN peels by itself, the LSP and B."""
    a, route = adapter(testbed, "A"), [node_id(testbed, name) for name in ("A", "LSP", "B")]
    assert await a.onion_route(route[1]) == (route[0], route[1])
    path = blinding.build(blinding.hops_through(route, HopData(path_id=b"\7" * 32)), secrets.token_bytes(32))
    await a.send_onion(route[0], onion.build(path, Payload(async_payment=b"\5content"), secrets.token_bytes(32)))


async def test_what_cannot_go_on(testbed: Testbed) -> None:
    lsp, a_id, lsp_id, b_id = adapter(testbed, "LSP"), *(node_id(testbed, name) for name in ("A", "LSP", "B"))
    channel = blinding.build([Hop(lsp_id, HopData(short_channel_id=5)), Hop(b_id, HopData())], bytes([9] * 32))
    with pytest.raises(OnionUnreadableError, match="unknown next scid"):
        await lsp.forward_onion(onion.build(channel, Payload(), secrets.token_bytes(32)))
    message = to_b(testbed)
    with pytest.raises(OnionUnreadableError):
        await lsp.forward_onion(OnionMessage(message.path_key, message.packet[:-1] + b"\0"))
    with pytest.raises(NodeError, match="knows no way"):
        await adapter(testbed, "A").onion_route(b_id)  # behind a channel that nobody announced
    assert await adapter(testbed, "B").onion_route(a_id) == (b_id, lsp_id, a_id)


async def test_custom_messages_up_to_what_lightningd_survives(testbed: Testbed) -> None:
    a, a_id, lsp_id = adapter(testbed, "A"), node_id(testbed, "A"), node_id(testbed, "LSP")
    async with following(adapter(testbed, "LSP")) as at_lsp:
        longest = bytes(65533)
        await a.send_custom(lsp_id, CUSTOM_TYPE, longest)
        assert await at_lsp.take(CustomMessage) == CustomMessage(a_id, CUSTOM_TYPE, longest)
        with pytest.raises(NodeError, match="at most 65533 bytes"):
            await a.send_custom(lsp_id, CUSTOM_TYPE, bytes(65534))
        with pytest.raises(PeerNotConnectedError):
            await a.send_custom(node_id(testbed, "B"), CUSTOM_TYPE, b"")
        await a.send_custom(lsp_id, CUSTOM_TYPE, b"still there")
        assert (await at_lsp.take(CustomMessage)).data == b"still there"


async def test_a_signature_names_its_node(testbed: Testbed) -> None:
    a, text = adapter(testbed, "A"), "async-payments:block_request:ümlaut"
    assert signature.recover(text, await a.sign(text)) == node_id(testbed, "A")
    assert await a.synced()
    with pytest.raises(NodeError):
        await a.decode_invoice("lnbcrt1qqqq")
