"""A held HTLC whose channel is closed on chain: from then on it can only be settled with the preimage."""

import asyncio
from collections.abc import Iterator

import pytest

from asyncpay.lightning import HtlcKey, PaymentResult, PaymentStatus, Resolution
from asyncpay.node_events import BlockConnected, HtlcGone, HtlcOffered, LinkClosed
from harness.nodes import node_class
from harness.pytest_plugin import require
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import IMPLEMENTATIONS

from .following import Following, following
from .helpers import AMOUNT_MSAT, CLOSE_CONFIRMATIONS, adapter, hop, in_thread, invoice_of_b, order

pytestmark = pytest.mark.anyio

DUST_MSAT = 300_000
FORGOTTEN_BLOCKS = 130
"""CLN forgets a closed channel 100 blocks after its last output is spent."""


@pytest.fixture(params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """A separate testbed, because it loses a channel."""
    node = node_class(request.param)
    require(node, node.capabilities.settles)
    with hop(request.param, request.config) as running:
        yield running


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """Disabled: the money of the closed channel is on chain at the end."""


def decided(testbed: Testbed, paying: "asyncio.Task[PaymentResult]") -> Predicate:
    """The LSP claims the HTLC in its own transaction, which needs a block once it is published."""

    def missing() -> str | None:
        return None if paying.done() else f"not by block {testbed.mine()}, mempool: {testbed.chain.mempool()}"

    return Predicate("payment_decided", missing)


async def closed_under(log: Following, key: HtlcKey) -> None:
    """The node offers the HTLC again, now for its preimage only, or reports that it has left its channel."""

    def of_this(event: object) -> bool:
        match event:
            case HtlcOffered(htlc):
                return htlc.key == key
            case HtlcGone(gone):
                return gone == key
        return False

    await log.take(object, of_this)


async def test_a_channel_closed_under_a_held_htlc(testbed: Testbed) -> None:
    [channel] = testbed["A"].channels()
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc
        await in_thread(testbed["A"].force_close, channel)
        await in_thread(testbed.mine, CLOSE_CONFIRMATIONS)
        assert (await log.take(LinkClosed)).channel_id == offer.key.channel_id
        await closed_under(log, offer.key)

        paid = await lsp.pay(order(invoice, fee_limit_msat=offer.outgoing_amount_msat - AMOUNT_MSAT))
        await lsp.resolve_htlc(offer.key, Resolution.SETTLE, paid.preimage)
        await in_thread(wait_for, decided(testbed, paying), 60)
        result = await paying
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, paid.preimage)


@pytest.mark.parametrize("testbed", ["cln"], indirect=True)
@pytest.mark.full
async def test_dust_held_on_a_closed_channel_does_not_end_the_node(testbed: Testbed) -> None:
    """The HTLC has no output on chain, so lightningd forgets it with the channel, long before it expires. The hook for
    the HTLC would be answered after that.
    """
    [channel] = testbed["A"].channels()
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a, DUST_MSAT)
        paying = asyncio.create_task(a.pay(order(invoice, amount_msat=DUST_MSAT, slack_blocks=FORGOTTEN_BLOCKS + 60)))
        offer = (await log.take(HtlcOffered)).htlc
        await in_thread(testbed["A"].force_close, channel)
        await in_thread(wait_for, decided(testbed, paying), 60)
        assert (await paying).status is PaymentStatus.FAILED
        left_blocks = offer.incoming_expiry - testbed.chain.height_blocks
        assert left_blocks > FORGOTTEN_BLOCKS
        await in_thread(testbed.mine, left_blocks)
        height = testbed.chain.height_blocks
        await log.take(BlockConnected, lambda block: block.height == height)
        assert await lsp.pending_htlcs() == []
