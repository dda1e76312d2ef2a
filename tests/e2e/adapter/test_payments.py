"""Payments to and from a real node: never twice, in parts, and its reports of payments that it does not make."""

import asyncio

import pytest

from asyncpay.lightning import PaymentResult, PaymentStatus, Resolution
from asyncpay.node_events import HtlcGone, HtlcOffered, HtlcSettled, InvoicePaid
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from harness.checks import balances
from harness.testbed import Testbed

from .following import BOUND_SECONDS, following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, node_id, order

pytestmark = pytest.mark.anyio


async def test_an_invoice_is_made_read_and_paid(testbed: Testbed) -> None:
    async with (
        adapter(testbed, "A") as a,
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "B") as b,
        following(lsp) as at_lsp,
        following(b) as at_b,
    ):
        invoice = await b.create_invoice(AMOUNT_MSAT, "two words", 3_600)
        assert await a.decode_invoice(invoice.text) == invoice
        assert (invoice.payee, invoice.amount_msat) == (node_id(testbed, "B"), AMOUNT_MSAT)
        assert (invoice.network, invoice.description) == ("regtest", "two words")
        assert invoice.route_hints == ((node_id(testbed, "LSP"),),)
        own = await b.look_up_invoice(invoice.payment_hash)
        assert own is not None
        assert (own.amount_msat, own.expires_at, own.paid, own.payable) == (
            AMOUNT_MSAT,
            invoice.expires_at,
            False,
            True,
        )

        paying = asyncio.create_task(a.pay(order(invoice)))
        await lsp.resolve_htlc((await at_lsp.take(HtlcOffered)).htlc.key, Resolution.RESUME)
        assert await at_b.take(InvoicePaid) == InvoicePaid(invoice.payment_hash, AMOUNT_MSAT)
        assert (await paying).status is PaymentStatus.SUCCEEDED
        own = await b.look_up_invoice(invoice.payment_hash)
        assert own is not None
        assert (own.paid, own.payable) == (True, False)
        assert await b.look_up_invoice(bytes(32)) is None


async def test_what_is_no_invoice(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a:
        invoice = await invoice_of_b(testbed, a)
        last = "q" if invoice.text[-1] != "q" else "p"
        for text in (invoice.text[:-1] + last, "lnbcrt1qqqq"):
            with pytest.raises(NodeError, match=r"(LND|CLN|LDK) at .+"):
                await a.decode_invoice(text)


async def test_a_payment_is_made_once(testbed: Testbed) -> None:
    """The order is repeated at the start of the payment, while it is held, and after it has succeeded."""
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN
        payment = order(invoice, slack_blocks=10)
        paying = [asyncio.create_task(a.pay(payment)) for _ in range(3)]
        offer = (await log.take(HtlcOffered)).htlc
        assert await a.look_up_payment(invoice.payment_hash) == PaymentResult(
            status=PaymentStatus.IN_FLIGHT, parts_in_flight=1, in_flight_msat=AMOUNT_MSAT
        )
        paying += [
            asyncio.create_task(a.pay(payment)),
            asyncio.create_task(a.track_payment(invoice.payment_hash)),
        ]
        await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        await log.take(HtlcGone)
        results = [
            *await asyncio.gather(*paying),
            await a.pay(payment),
            await a.pay(order(invoice)),
            await a.track_payment(invoice.payment_hash),
        ]
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
    fee_msat = offer.incoming_amount_msat - AMOUNT_MSAT
    assert {(result.status, result.fee_msat) for result in results} == {(PaymentStatus.SUCCEEDED, fee_msat)}
    assert len({result.preimage for result in results}) == 1
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert moved == {"A": -offer.incoming_amount_msat, "LSP": fee_msat, "B": AMOUNT_MSAT}


@pytest.mark.parametrize(
    ("parts", "max_part_msat"),
    [(4, AMOUNT_MSAT // 4), pytest.param(3, AMOUNT_MSAT // 3 + 1, marks=pytest.mark.full)],
)
async def test_no_part_brings_more_than_it_may(testbed: Testbed, parts: int, max_part_msat: int) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        payment = order(invoice, max_parts=8, max_part_msat=max_part_msat, slack_blocks=100, timeout_seconds=30)
        paying = asyncio.create_task(a.pay(payment))
        offers = [(await log.take(HtlcOffered)).htlc for _ in range(parts)]
        assert sum(offer.outgoing_amount_msat for offer in offers) == AMOUNT_MSAT
        assert max(offer.outgoing_amount_msat for offer in offers) <= max_part_msat
        assert {offer.payment_hash for offer in offers} == {invoice.payment_hash}
        seen = await a.look_up_payment(invoice.payment_hash)
        assert (seen.parts_in_flight, seen.in_flight_msat) == (parts, AMOUNT_MSAT)

        for offer in offers:
            await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        assert {(await log.take(HtlcGone)).key for _ in offers} == {offer.key for offer in offers}
        result = await paying
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
    assert result.status is PaymentStatus.SUCCEEDED
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert moved == {"A": -AMOUNT_MSAT - result.fee_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


async def test_parts_that_are_too_small_for_so_few(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        result = await a.pay(order(invoice, max_parts=3, max_part_msat=AMOUNT_MSAT // 4))
        assert result.status is PaymentStatus.FAILED
        assert result.failure
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]


async def test_failed_back_it_is_not_tried_again(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice)))
        await lsp.resolve_htlc((await log.take(HtlcOffered)).htlc.key, Resolution.FAIL)
        assert (await paying).status is PaymentStatus.FAILED
        async with asyncio.timeout(BOUND_SECONDS):  # an attempt would be held without limit
            assert (await a.pay(order(invoice))).status is PaymentStatus.FAILED
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.FAILED
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]


@pytest.mark.parametrize(
    "changes",
    [
        {"cltv_limit_blocks": 0},
        {"cltv_limit_blocks": 15},
        {"fee_limit_msat": -1},
        {"fee_limit_msat": 0},
        {"amount_msat": 10**15},
    ],
)
async def test_a_payment_that_is_not_begun_has_failed(testbed: Testbed, changes: dict[str, int]) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        result = await a.pay(order(await invoice_of_b(testbed, a), **changes))
        assert result.status is PaymentStatus.FAILED
        assert result.failure
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]


@pytest.mark.parametrize("slack_blocks", [0, 5])
async def test_the_payer_names_the_amount_that_the_invoice_leaves_open(testbed: Testbed, slack_blocks: int) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a, amount_msat=0)
        assert invoice.amount_msat is None
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=slack_blocks)))
        await lsp.resolve_htlc((await log.take(HtlcOffered)).htlc.key, Resolution.RESUME)
        assert (await paying).status is PaymentStatus.SUCCEEDED
        await log.take(HtlcGone)
    assert (await in_thread(balances.count, testbed)).moved_since(before)["B"] == AMOUNT_MSAT


@pytest.mark.full
async def test_a_payer_killed_while_its_payment_is_held_pays_once(testbed: Testbed) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        async with adapter(testbed, "A") as a:
            invoice = await invoice_of_b(testbed, a)
            paying = asyncio.create_task(a.pay(order(invoice)))
            offer = (await log.take(HtlcOffered)).htlc
            await in_thread(testbed.kill, "A")
            with pytest.raises(NodeUnreachableError):
                await paying
        await in_thread(testbed.start_and_wait, "A")
        async with adapter(testbed, "A") as a:
            paying = asyncio.create_task(a.pay(order(invoice)))
            await lsp.resolve_htlc(offer.key, Resolution.RESUME)
            settled = await log.take(HtlcSettled)
            result = await paying
        await log.take(HtlcGone)
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, settled.preimage)
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert moved == {"A": -offer.incoming_amount_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}
