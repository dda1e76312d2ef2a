"""Paying with a real LND: never twice, and what it says of payments it does not make."""

import asyncio
from dataclasses import replace

import pytest

from asyncpay.lightning import PaymentStatus, Verdict
from asyncpay.node_events import HtlcGone, HtlcOffered
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.lnd import LndNode
from harness import money
from harness.nodes.lnd import LND_DIR
from harness.testbed import Testbed

from .following import BOUND_SECONDS, following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, node_id, order

pytestmark = pytest.mark.anyio


async def test_an_invoice_is_read(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a:
        invoice = await invoice_of_b(testbed, a)
        assert (invoice.payee, invoice.amount_msat) == (node_id(testbed, "B"), AMOUNT_MSAT)
        assert (invoice.network, invoice.min_final_cltv_expiry) == ("regtest", 80)
        open_amount = await invoice_of_b(testbed, a, amount_msat=0)
        assert open_amount.amount_msat is None
        last = "q" if invoice.text[-1] != "q" else "p"
        with pytest.raises(NodeError, match=r"LND at .+ did not read an invoice"):
            await a.decode_invoice(invoice.text[:-1] + last)


async def test_a_payment_is_made_once(testbed: Testbed) -> None:
    """Asked for again while it is held, and again when it is made."""
    before = await in_thread(money.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN
        payment = order(invoice, slack_blocks=10)
        paying = [asyncio.create_task(a.pay(payment)) for _ in range(3)]
        paying.append(asyncio.create_task(a.track_payment(invoice.payment_hash)))
        offer = (await log.take(HtlcOffered)).htlc
        await lsp.answer(offer.key, Verdict.RESUME)
        await log.take(HtlcGone)
        results = [
            *await asyncio.gather(*paying[:3]),
            await a.pay(payment),
            await a.pay(replace(payment, slack_blocks=0)),
        ]
        results.append(await a.track_payment(invoice.payment_hash))
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
    assert {result.status for result in results} == {PaymentStatus.SUCCEEDED}
    assert len({result.preimage for result in results}) == 1
    moved = (await in_thread(money.count, testbed)).moved_since(before)
    assert moved["A"] == -offer.incoming_amount_msat


async def test_a_failed_payment_is_not_tried_again(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        too_cheap = await a.pay(order(invoice, fee_limit_msat=0))
        assert (too_cheap.status, too_cheap.failure) == (PaymentStatus.FAILED, "no route")
        async with asyncio.timeout(BOUND_SECONDS):  # an attempt would be held for ever
            assert await a.pay(order(invoice)) == too_cheap
        assert await a.track_payment(invoice.payment_hash) == too_cheap
        assert not log.untaken


@pytest.mark.parametrize(
    ("changes", "failure"),
    [({"cltv_limit_blocks": 0}, "no blocks"), ({"fee_limit_msat": -1}, "negative"), ({"amount_msat": 10**15}, "")],
)
async def test_a_payment_that_lnd_does_not_begin_has_failed(
    testbed: Testbed, changes: dict[str, int], failure: str
) -> None:
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        result = await a.pay(order(await invoice_of_b(testbed, a), **changes))
        assert result.status is PaymentStatus.FAILED
        assert failure in result.failure
        assert not log.untaken


@pytest.mark.parametrize("slack_blocks", [0, 5])
async def test_the_payer_names_the_amount_that_the_invoice_leaves_open(testbed: Testbed, slack_blocks: int) -> None:
    before = await in_thread(money.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a, amount_msat=0)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=slack_blocks)))
        await lsp.answer((await log.take(HtlcOffered)).htlc.key, Verdict.RESUME)
        assert (await paying).status is PaymentStatus.SUCCEEDED
        await log.take(HtlcGone)
    assert (await in_thread(money.count, testbed)).moved_since(before)["B"] == AMOUNT_MSAT


async def test_errors_name_the_node_and_the_call(testbed: Testbed) -> None:
    certificate = testbed.containers.read("A", f"{LND_DIR}/tls.cert")
    async with LndNode.connect("127.0.0.1:1", certificate, b"macaroon") as nobody:
        with pytest.raises(NodeUnreachableError, match=r"LND at 127\.0\.0\.1:1 did not sign a message: .+"):
            await nobody.sign("text")
        with pytest.raises(NodeUnreachableError, match=r"LND at 127\.0\.0\.1:1 did not report HTLCs and blocks: .+"):
            await anext(nobody.events())
