"""What is Core Lightning's own: the plugin takes the later process, and a message that ends here is received."""

import secrets

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.node_events import BlockConnected, OnionReceived
from asyncpay.service import onions
from asyncpay.wire import onion
from asyncpay.wire.onion import Payload
from harness.testbed import Testbed
from harness.topology import Implementation

from .following import following
from .helpers import adapter, in_thread, invoice_of_b, node_id, order

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.full,
    pytest.mark.parametrize("testbed", [Implementation.CLN.value], indirect=True),
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


async def test_an_onion_message_that_ends_here_is_received(testbed: Testbed) -> None:
    ends_here = onions.path_through([node_id(testbed, "LSP")])
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        await lsp.forward_onion(onion.build(ends_here, Payload(async_payment=b"mine"), secrets.token_bytes(32)))
        assert (await log.take(OnionReceived)).async_payment == b"mine"
