"""What cannot be paid like this is refused with the reason: nothing has left, and nothing is remembered."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, Link, PaymentResult, PaymentStatus, ShortChannelId
from asyncpay.lsps.info import GET_INFO
from asyncpay.lsps.jsonrpc import METHOD_NOT_FOUND, RpcError
from asyncpay.node_events import OnionReceived
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.cln.node import CAPABILITIES as CLN
from asyncpay.service.common import loop
from asyncpay.service.common.clock import SteadyClock
from asyncpay.service.common.control_client import RefusedError
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockReply, BlockRequest, BlockStatus, CancelRequest, PaymentPending
from asyncpay.wire.onion import OnionMessage

from .scripted_node import HASH, INVOICE, LSP, ME, OFFER, OTHER, PAYEE, SECRET, THEIR_LSP, ScriptedNode, Sent
from .wallet_harness import WalletHarness, until


def refused(phone: WalletHarness, because: str, **wishes: Any) -> None:
    """The order is refused, no HTLC and no message has left, and the wallet knows of no payment."""

    async def story() -> None:
        async with phone.awake():
            with pytest.raises(RefusedError, match=because):
                await phone.pay(**wishes)
            assert await phone.payments() == []

    asyncio.run(story())
    assert phone.node.begun == []
    assert phone.node.sent == []


def lsp_says(answer: Any) -> Callable[[ScriptedNode], None]:
    return lambda node: node.lsp.update({GET_INFO: answer})


def reads(**changes: Any) -> Callable[[ScriptedNode], None]:
    return lambda node: node.invoices.update({INVOICE.text: replace(INVOICE, **changes)})


def away(node: ScriptedNode) -> None:
    node.online = False


def fails(verb: str, error: Exception) -> Callable[[ScriptedNode], None]:
    return lambda node: node.failing.update({verb: error})


def goes(*hops: bytes) -> Callable[[ScriptedNode], None]:
    return lambda node: node.routes.update({PAYEE: hops})


def test_one_wild_reading_of_the_clock_spoils_no_order(phone: WalletHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_ahead = 0.0
    monkeypatch.setattr(
        loop, "SteadyClock", lambda *known: SteadyClock(known[0], known[1], lambda: time.time() + shown_ahead)
    )

    async def story() -> None:
        nonlocal shown_ahead
        async with phone.awake():
            shown_ahead = 400 * 86_400.0
            assert (await phone.pay())["state"] == "handed over"

    asyncio.run(story())
    (request,) = {each.hold_until for each in phone.node.got(BlockRequest)}
    assert request < INVOICE.expires_at


OTHER_CHANNEL = Link(
    channel_id=ChannelId.from_name(2), short_channel_id=ShortChannelId.parse("100x2x0"), peer=OTHER, usable=True
)


@pytest.mark.parametrize(
    ("given", "because"),
    [
        (lsp_says(RpcError(METHOD_NOT_FOUND, "Method not found")), "does not offer async payments: use another LSP"),
        (lsp_says(RpcError(1, "not now")), "did not answer async_payments.get_info: not now"),
        (lsp_says(None), "did not answer async_payments.get_info .*may not speak LSPS0"),
        (lsp_says(OFFER | {"versions": [2]}), r"supports versions \[2\] of async payments, this wallet version 1"),
        (lsp_says(OFFER | {"courier": "yes"}), r"sent an invalid answer to .* \(missing or wrong: courier\)"),
        (lsp_says({}), r"sent an invalid answer to .* \(missing or wrong: courier, forwards_with"),
        (away, "is not connected: is this phone online"),
        (lambda node: node.links.append(OTHER_CHANNEL), "the LSP is not known"),
        (lambda node: node.links.clear(), "the LSP is not known: there is no channel yet"),
        (lambda node: node.invoices.clear(), "not an invoice that the wallet can pay: checksum failed"),
        (fails("decode_invoice", NodeUnreachableError("LND is away")), "cannot decode the invoice now: LND is away"),
        (fails("sign", NodeError("LND is locked")), "LND is locked"),
        (reads(payment_secret=None), "has no payment secret. Ask the payee for an invoice with one"),
        (reads(payee=ME), "is this wallet's own. Give it to the payer"),
        (reads(needs_metadata=True), "requires payment metadata.*SendPaymentV2.*pay with another wallet"),
        (reads(network="bitcoin"), "is for bitcoin, this wallet's node is on regtest"),
        (reads(expires_at=int(time.time()) - 1), "has expired"),
        (reads(amount_msat=None), "leaves the amount to the payer"),
        (reads(amount_msat=1_000_001), "1000000 msat at most"),
        (lambda node: node.routes.pop(PAYEE), "no message can reach the payee"),
        (goes(OTHER, PAYEE), f"leads through {OTHER.hex()}, not the LSP"),
        (goes(ME, OTHER, PAYEE), f"leads through {OTHER.hex()}, not the LSP"),
        (goes(*(LSP, THEIR_LSP) * 8, PAYEE), r"is too long \(17 hops\)"),
    ],
)
def test_refused_before_anything_has_left(
    phone: WalletHarness, given: Callable[[ScriptedNode], Any], because: str
) -> None:
    given(phone.node)
    refused(phone, because)


def test_metadata_is_no_obstacle_for_a_node_that_sends_it(phone: WalletHarness) -> None:
    phone.node.capabilities = CLN
    reads(needs_metadata=True)(phone.node)

    async def story() -> None:
        async with phone.awake():
            assert (await phone.pay())["state"] == "handed over"

    asyncio.run(story())


@pytest.mark.parametrize("pasted", [f"lightning:{INVOICE.text}", f" {INVOICE.text.upper()}\n"])
def test_an_invoice_is_paid_as_people_paste_it(phone: WalletHarness, pasted: str) -> None:
    """What the LSP and the node get is the invoice itself."""

    async def story() -> None:
        async with phone.awake():
            await phone.pay(invoice=pasted)

    asyncio.run(story())
    (request,) = phone.node.got(BlockRequest)
    assert request.invoice == INVOICE.text
    assert [payment.invoice for payment in phone.node.begun] == [INVOICE]


def test_wishes_that_the_lsp_will_not_grant(phone: WalletHarness) -> None:
    refused(phone, "a slack of 1009 blocks is too much: the LSP holds for 1008", slack_blocks=1009)


def test_refused_while_the_node_is_away(phone: WalletHarness) -> None:
    phone.node.running = False
    refused(phone, "the wallet's node does not answer")


def test_an_lsp_named_in_the_configuration_is_taken_though_there_are_others(
    phone: WalletHarness, tmp_path: Path
) -> None:
    named = WalletHarness(tmp_path, lsp={"node_id": LSP.hex()})
    named.node = phone.node
    phone.node.links.append(OTHER_CHANNEL)

    async def story() -> None:
        async with named.awake():
            assert (await named.pay())["state"] == "handed over"

    asyncio.run(story())


def test_an_invoice_is_good_for_one_payment(phone: WalletHarness) -> None:
    async def story() -> None:
        async with phone.awake():
            await phone.pay()
            with pytest.raises(RefusedError, match=f"payment {HASH.hex()} is handed over.*ask the payee for another"):
                await phone.pay()

    asyncio.run(story())
    assert len(phone.node.begun) == 1
    assert len(phone.node.got(PaymentPending)) == 1


def test_an_invoice_that_the_lsp_refused_can_be_paid_later(phone: WalletHarness) -> None:
    """Nothing has left, so nothing speaks against it. A late answer to the first order is none to the second."""
    phone.node.accepts = False

    async def story() -> None:
        async with phone.awake():
            paying = asyncio.create_task(phone.pay())
            await until(lambda: len(phone.node.got(BlockRequest)) == 1)
            (first,) = phone.node.got(BlockRequest)
            no = BlockReply(unblock_hash=first.unblock_hash, status=BlockStatus.TOO_MANY_HOLDS)
            phone.node.tell(OnionReceived(async_payment=no.encode()))
            assert (await paying)["state"] == "failed"
            phone.node.accepts = True
            assert (await phone.pay())["state"] == "handed over"
            phone.node.tell(OnionReceived(async_payment=no.encode()))
            (payment,) = await phone.payments()
            assert payment["state"] == "handed over"
            assert payment["unblock_hash"] != first.unblock_hash.hex()
            with pytest.raises(RefusedError, match="was paid before"):
                await phone.pay()

    asyncio.run(story())
    assert len(phone.node.begun) == 1


def test_an_invoice_that_the_node_tried_is_not_paid_again(phone: WalletHarness) -> None:
    phone.node.holds = False

    async def story() -> None:
        async with phone.awake():
            paying = asyncio.create_task(phone.pay())
            await until(lambda: len(phone.node.begun) == 1)
            await phone.node.decide(PaymentResult(status=PaymentStatus.FAILED, failure="no route found"))
            assert (await paying)["state"] == "failed"
            with pytest.raises(RefusedError, match=r"is failed.*ask the payee for another"):
                await phone.pay()

    asyncio.run(story())


# --- what an order is made of ---


def ordered(phone: WalletHarness, **wishes: Any) -> tuple[BlockRequest, Sent]:
    """What the LSP was asked, and the payee was told."""

    async def story() -> None:
        async with phone.awake():
            await phone.pay(**wishes)

    asyncio.run(story())
    (request,) = phone.node.got(BlockRequest)
    (pending,) = (each for each in phone.node.sent if isinstance(each.message, PaymentPending))
    return request, pending


def test_the_lsp_learns_the_hash_of_the_pid_and_the_payee_the_pid(phone: WalletHarness) -> None:
    request, pending = ordered(phone)
    assert pending.to == PAYEE
    assert isinstance(pending.message, PaymentPending)
    assert request.unblock_hash == messages.unblock_hash(pending.message.pid)
    assert request.payment_hashes == pending.message.payment_hashes == (HASH,)
    assert request.amount_msat == pending.message.amount_msat == 1000


def test_the_payee_can_tell_that_the_payer_has_its_invoice(phone: WalletHarness) -> None:
    _, pending = ordered(phone)
    message = messages.decode(pending.message.encode())
    assert isinstance(message, PaymentPending)
    assert message.is_proven_by((SECRET,))
    assert not message.is_proven_by((bytes(32),))


def test_a_pid_is_drawn_for_each_order(phone: WalletHarness) -> None:
    text = "lnbcrt2"
    phone.node.invoices[text] = replace(INVOICE, text=text, payment_hash=b"2" * 32)

    async def story() -> None:
        async with phone.awake():
            await phone.pay()
            await phone.pay(invoice=text)

    asyncio.run(story())
    assert len({request.unblock_hash for request in phone.node.got(BlockRequest)}) == 2


def test_request_and_cancel_are_signed_for_this_lsp(phone: WalletHarness) -> None:
    request, _ = ordered(phone)
    cancel = CancelRequest(unblock_hash=request.unblock_hash, signature=bytes(65))
    assert phone.node.signed == [request.signed_text(LSP), cancel.signed_text(LSP)]


def test_the_courier_s_copy_is_what_the_lsp_gets(phone: WalletHarness) -> None:
    request, pending = ordered(phone)
    assert request.courier is not None
    asyncio.run(phone.node.send_onion(LSP, OnionMessage(request.courier.path_key, request.courier.onion)))
    assert phone.node.sent[-1] == pending


@pytest.mark.parametrize(
    ("offer", "wishes", "shown"),
    [
        ({}, {}, True),
        ({}, {"private": True}, False),
        ({"forwards_with_payer_offline": True}, {}, False),
        ({"pays_on_behalf": False}, {}, False),
    ],
)
def test_the_lsp_sees_the_invoice_only_if_it_may_have_to_pay_it(
    phone: WalletHarness, offer: dict[str, bool], wishes: dict[str, bool], shown: bool
) -> None:
    phone.node.lsp[GET_INFO] = OFFER | offer
    request, _ = ordered(phone, **wishes)
    assert request.invoice == (INVOICE.text if shown else None)


def test_an_invoice_without_an_amount_is_not_shown(phone: WalletHarness) -> None:
    """The LSP could not pay what the payer chose."""
    phone.node.invoices[INVOICE.text] = replace(INVOICE, amount_msat=None)
    request, _ = ordered(phone, amount_msat=777)
    assert (request.invoice, request.amount_msat) == (None, 777)


def test_without_a_courier_the_lsp_gets_no_copy(phone: WalletHarness) -> None:
    phone.node.lsp[GET_INFO] = OFFER | {"courier": False}
    request, pending = ordered(phone)
    assert request.courier is None
    assert pending.to == PAYEE


@pytest.mark.parametrize(("transit", "hops"), [(True, 2), (False, 1)])
def test_the_way_back_begins_at_the_lsp_and_does_not_name_the_payer(
    phone: WalletHarness, transit: bool, hops: int
) -> None:
    phone.node.lsp[GET_INFO] = OFFER | {"transit_release": transit}
    _, pending = ordered(phone)
    assert isinstance(pending.message, PaymentPending)
    assert (pending.message.payer_node_id, pending.message.payer_lsp_node_id) == (None, None)
    assert pending.reply_path is not None
    assert pending.reply_path.first_node_id == LSP
    assert len(pending.reply_path.hops) == hops
    assert ME not in pending.reply_path.encode()


def test_a_literal_release_names_the_payer_and_its_lsp_instead(phone: WalletHarness) -> None:
    _, pending = ordered(phone, literal_release=True)
    assert isinstance(pending.message, PaymentPending)
    assert (pending.message.payer_node_id, pending.message.payer_lsp_node_id) == (ME, LSP)
    assert pending.reply_path is None


def test_a_payee_that_no_graph_knows_is_reached_by_its_invoice_s_hint(phone: WalletHarness) -> None:
    del phone.node.routes[PAYEE]
    phone.node.invoices[INVOICE.text] = replace(INVOICE, route_hints=((OTHER,), (THEIR_LSP,)))
    _, pending = ordered(phone)
    assert pending.to == PAYEE


def test_all_parts_leave_through_the_lsp_with_the_slack_at_the_end(phone: WalletHarness) -> None:
    ordered(phone, slack_blocks=100, max_part_msat=600)
    (payment,) = phone.node.begun
    assert (payment.first_hop, payment.slack_blocks, payment.max_part_msat) == (LSP, 244, 600)
