"""Claims from an offline payer across a restart of the node: which node keeps a claim, and a close that saves it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from asyncpay.lightning import HeldHtlc, Invoice, PaymentStatus, Resolution
from asyncpay.node_events import HtlcOffered, LinkClosed, PeerDisconnected
from asyncpay.nodes.base import NodeError
from harness.checks import balances
from harness.nodes import node_class
from harness.nodes.predicates import no_htlcs
from harness.pytest_plugin import require
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import IMPLEMENTATIONS

from .following import following
from .helpers import AMOUNT_MSAT, adapter, hop, in_thread, invoice_of_b, node_id, order

pytestmark = pytest.mark.anyio

OFFERED_BLOCKS = 22
"""Blocks before its expiry at which LND still offers a returning HTLC; CLN calls its plugin for all of them."""
CLOSES_BLOCKS = 40
"""asyncpay.engine.policy: settle_force_close_blocks."""
FEES_MSAT = 50_000_000
"""More than the cost of any of these closes, and far less than the amount at stake."""


@pytest.fixture(params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """A separate testbed: some of these tests lose a channel, and all of them mine hundreds of blocks."""
    node = node_class(request.param)
    require(node, node.capabilities.settles)
    with hop(request.param, request.config) as running:
        yield running


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """Disabled: the money of the closed channel is on chain at the end."""


async def claimed_and_restarted(testbed: Testbed) -> tuple[Invoice, HeldHtlc, bytes]:
    """The LSP has paid B itself and claimed A's HTLC. A is away, and the LSP's node was killed and is back."""
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        invoice = await invoice_of_b(testbed, a)
        paying = asyncio.create_task(a.pay(order(invoice, slack_blocks=100)))
        offer = (await log.take(HtlcOffered)).htlc
        await in_thread(testbed.kill, "A")
        await asyncio.gather(paying, return_exceptions=True)
        await log.take(PeerDisconnected)
        paid = await lsp.pay(order(invoice, fee_limit_msat=offer.outgoing_amount_msat - AMOUNT_MSAT))
        assert paid.preimage is not None
        await in_thread(wait_for, no_htlcs([testbed["B"]]))  # else B would claim on chain while the LSP is away
        await lsp.resolve_htlc(offer.key, Resolution.SETTLE, paid.preimage)
        await in_thread(testbed.kill, "LSP")
        await log.end()
    await in_thread(testbed.start_and_wait, "LSP")
    return invoice, offer, paid.preimage


def mine_to(testbed: Testbed, height: int) -> None:
    testbed.mine(height - testbed.chain.height_blocks)


async def test_a_restart_forgets_a_claim_or_keeps_it_as_declared(testbed: Testbed) -> None:
    """A comes back after the last block at which LND would have offered the HTLC again, and gets its money back,
    although the LSP has paid for it. A node that keeps the settlement gives A the preimage.
    """
    before = await in_thread(balances.count, testbed)
    invoice, offer, preimage = await claimed_and_restarted(testbed)
    async with adapter(testbed, "LSP") as lsp, following(lsp):
        keeps = lsp.capabilities.keeps_settlements
        if not keeps:
            await in_thread(mine_to, testbed, offer.incoming_expiry - OFFERED_BLOCKS + 1)
        await in_thread(testbed.start_and_wait, "A")
        async with adapter(testbed, "A") as a:
            result = await a.track_payment(invoice.payment_hash)
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    if keeps:
        assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, preimage)
        assert moved == {"A": -offer.incoming_amount_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}
    else:
        assert result.status is PaymentStatus.FAILED
        assert moved == {"A": 0, "LSP": -AMOUNT_MSAT, "B": AMOUNT_MSAT}


def worth_msat(testbed: Testbed, name: str) -> int:
    """Return a node's balance on chain and in its channels, without HTLCs."""
    node = testbed[name]
    return node.onchain_sat() * 1_000 + node.channel_balance_msat()


async def test_force_closed_in_time_the_node_claims_on_chain(testbed: Testbed) -> None:
    """Two requests close the channel once, and no other channel. A comes back late and gets the preimage, not the
    money.
    """
    before = {name: await in_thread(worth_msat, testbed, name) for name in ("A", "LSP", "B")}
    invoice, offer, preimage = await claimed_and_restarted(testbed)
    others = await in_thread(testbed["B"].channels)
    async with adapter(testbed, "LSP") as lsp, following(lsp) as log:
        await in_thread(mine_to, testbed, offer.incoming_expiry - CLOSES_BLOCKS)
        await lsp.force_close(offer.key.channel_id)
        await lsp.force_close(offer.key.channel_id)
        assert (await log.take(LinkClosed)).channel_id == offer.key.channel_id
        assert offer.key not in [htlc.key for htlc in await lsp.pending_htlcs()]
        await lsp.force_close(offer.key.channel_id)
        with pytest.raises(NodeError, match="has no channel"):
            await lsp.force_close(type(offer.key.channel_id)(bytes(20)))

        def claimed() -> str | None:
            worth = worth_msat(testbed, "LSP")
            least = before["LSP"] + offer.incoming_amount_msat - AMOUNT_MSAT - FEES_MSAT
            return None if worth >= least else f"LSP has {worth} msat of {least} at block {testbed.mine()}"

        await in_thread(wait_for, Predicate("claimed_on_chain", claimed), 120)
        assert await in_thread(lambda: testbed.chain.height_blocks) < offer.incoming_expiry
    await in_thread(testbed.start_and_wait, "A")
    async with adapter(testbed, "A") as a:
        following_payment = asyncio.create_task(a.track_payment(invoice.payment_hash))
        await in_thread(wait_for, decided(testbed, following_payment), 120)
        result = await following_payment
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, preimage)
    assert await in_thread(worth_msat, testbed, "B") == before["B"] + AMOUNT_MSAT
    now = await in_thread(testbed["B"].channels)
    assert [each.funding for each in now] == [each.funding for each in others]
    assert node_id(testbed, "A") not in [bytes.fromhex(each.peer_id) for each in testbed["LSP"].channels()]


def decided(testbed: Testbed, paying: "asyncio.Task[Any]") -> Predicate:
    """The payer's node has seen the outcome of its payment on chain."""

    def missing() -> str | None:
        return None if paying.done() else f"not by block {testbed.mine()}"

    return Predicate("payment_decided", missing)
