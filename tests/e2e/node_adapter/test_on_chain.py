"""A held HTLC whose channel is closed under it: only the preimage still counts."""

import asyncio
from collections.abc import Iterator

import pytest

from asyncpay.lightning import PaymentStatus, Verdict
from asyncpay.node_events import BlockConnected, HtlcGone, HtlcOffered, LinkClosed
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import Topology
from harness.waits import Predicate, wait_for

from .following import Following, following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, order

pytestmark = pytest.mark.anyio

CLOSE_CONFIRMATIONS = 3
"""Until then LND has the channel as open and its HTLCs as answerable, for the close may yet be undone."""


@pytest.fixture
def testbed(hop: Topology, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    """One of its own, for it loses a channel."""
    with running_testbed(hop, pytestconfig) as running:
        yield running


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """The money of the closed channel is on chain in the end."""


def gone_after_another_block(testbed: Testbed, log: Following) -> Predicate:
    """LND claims the HTLC in a transaction of its own, which waits for a block once it is there."""

    def missing() -> str | None:
        if any(isinstance(event, HtlcGone) for event in log.untaken):
            return None
        return f"not by block {testbed.mine()}, mempool: {testbed.chain.mempool()}"

    return Predicate("htlc_gone", missing)


async def test_a_channel_closed_under_a_held_htlc(testbed: Testbed) -> None:
    [channel] = testbed["A"].channels()
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc
        command = [*testbed.cli("A"), "closechannel", "--force", "--chan_point", channel.funding]
        assert await in_thread(testbed.containers.run, "A", command) == 0
        await in_thread(testbed.mine, CLOSE_CONFIRMATIONS)
        assert str((await log.take(LinkClosed)).short_channel_id) == channel.short_channel_id
        on_chain = (await log.take(HtlcOffered)).htlc
        assert (on_chain.key, on_chain.peer) == (offer.key, offer.peer)

        await lsp.answer(offer.key, Verdict.FAIL)  # LND takes no such answer any more, and would end the stream
        height = await in_thread(testbed.mine)
        await log.take(BlockConnected, lambda block: block.height == height)
        paid = await lsp.pay(order(invoice, fee_limit_msat=offer.outgoing_amount_msat - AMOUNT_MSAT))
        await lsp.answer(offer.key, Verdict.SETTLE, paid.preimage)

        await in_thread(wait_for, gone_after_another_block(testbed, log))
        assert (await log.take(HtlcGone)).key == offer.key
        result = await paying
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, paid.preimage)
