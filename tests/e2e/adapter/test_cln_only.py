"""Behaviour of Core Lightning only: the plugin accepts the later process, and the last hop receives a message."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from asyncpay.lightning import PaymentStatus, Resolution
from asyncpay.node_events import BlockConnected, HtlcOffered, OnionReceived
from asyncpay.service.common import onions
from asyncpay.wire import onion
from asyncpay.wire.onion import Payload
from harness.testbed import Testbed

from .following import following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, node_id, order

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.full,
    pytest.mark.parametrize("testbed", ["cln"], indirect=True),
]


async def test_who_attaches_later_has_the_plugin(testbed: Testbed) -> None:
    async with (
        adapter(testbed, "LSP") as lsp,
        adapter(testbed, "LSP") as later,
        following(lsp) as first,
        following(later) as second,
    ):
        assert "attach again" in str(await first.end())
        height = await in_thread(testbed.mine)
        await second.take(BlockConnected, lambda block: block.height == height)


async def test_a_payment_without_a_route_leaves_no_record(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a:
        invoice = await invoice_of_b(testbed, a)
        assert (await a.pay(order(invoice, fee_limit_msat=0))).status is PaymentStatus.FAILED
        assert (await a.track_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN


async def test_hints_that_lead_nowhere_do_not_end_a_payment(testbed: Testbed) -> None:
    """A channel from the payee to itself, a route through the payer, one channel twice (ElementsProject/lightning#9174,
    #9177): the remaining hints lead to the payee.
    """
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as at_lsp:
        plain = await in_thread(testbed["B"].create_invoice, AMOUNT_MSAT)
        ((hop,),) = (await in_thread(cli, testbed, "A", "decode", f"string={plain}"))["routes"]
        real = {"id": hop.pop("pubkey")} | hop
        circular = real | {"id": testbed["B"].node_id, "short_channel_id": "9x9x9"}
        through_payer = [real | {"id": testbed["A"].node_id, "short_channel_id": "8x8x8"}, real]
        hints = [[circular], through_payer, [real, circular | {"short_channel_id": "7x7x7"}], [real]]
        made = await in_thread(
            cli,
            testbed,
            "B",
            "invoice",
            f"amount_msat={AMOUNT_MSAT}",
            f"label={secrets.token_hex(8)}",
            "description=hints",
            f"dev-routes={json.dumps(hints)}",
        )
        paying = asyncio.create_task(a.pay(order(await a.decode_invoice(made["bolt11"]))))
        await lsp.resolve_htlc((await at_lsp.take(HtlcOffered)).htlc.key, Resolution.RESUME)
        assert (await paying).status is PaymentStatus.SUCCEEDED


async def test_a_node_s_own_invoice_is_not_paid(testbed: Testbed) -> None:
    """askrene would abort because of it."""
    async with adapter(testbed, "B") as b:
        invoice = await b.create_invoice(AMOUNT_MSAT, "mine", 60)
        result = await b.pay(order(invoice))
        assert (result.status, result.failure) == (PaymentStatus.FAILED, "CLN does not pay its own invoices")


def cli(testbed: Testbed, node: str, *arguments: str) -> Any:
    said = testbed.engine.output(node, [*testbed.cli(node), "-k", *arguments])
    assert said.stdout, said.stderr
    return json.loads(said.stdout)


async def test_an_onion_message_that_ends_here_is_received(testbed: Testbed) -> None:
    ends_here = onions.path_through([node_id(testbed, "LSP")])
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        await lsp.forward_onion(onion.build(ends_here, Payload(async_payment=b"mine"), secrets.token_bytes(32)))
        assert (await log.take(OnionReceived)).async_payment == b"mine"
