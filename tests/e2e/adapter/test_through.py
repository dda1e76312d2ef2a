"""A payer with channels to several peers pays through the one that it names, in one part or in many."""

import asyncio
from collections.abc import Iterator

import pytest

from asyncpay.lightning import PaymentStatus, Resolution
from asyncpay.node_events import HtlcGone, HtlcOffered
from asyncpay.nodes.base import Node, Payment
from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load
from tests.support.implementations import IMPLEMENTATIONS, TOPOLOGIES

from .following import following
from .helpers import AMOUNT_MSAT, adapter, in_thread, invoice_of_b, node_id, order

pytestmark = [pytest.mark.anyio, pytest.mark.full]

NODES = ("A", "LSP", "other", "B")


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    topology = load(TOPOLOGIES / "two-ways.yaml", dict.fromkeys(NODES, request.param))
    with running_testbed(topology, request.config) as running:
        running.lsp("LSP").stop()
        yield running


async def order_through(testbed: Testbed, a: Node, peer: str, parts: int) -> Payment:
    """Return an order to pay B through this peer, in this number of equal parts."""
    return order(
        await invoice_of_b(testbed, a),
        first_hop=node_id(testbed, peer),
        max_parts=parts,
        max_part_msat=AMOUNT_MSAT // parts,
    )


@pytest.mark.parametrize("parts", [1, 4])
async def test_through_the_peer_that_holds(testbed: Testbed, parts: int) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        payment = await order_through(testbed, a, "LSP", parts)
        paying = asyncio.create_task(a.pay(payment))
        for _ in range(parts):
            offer = (await log.take(HtlcOffered)).htlc
            assert (offer.peer, offer.outgoing_amount_msat) == (node_id(testbed, "A"), AMOUNT_MSAT // parts)
            await lsp.resolve_htlc(offer.key, Resolution.RESUME)
        for _ in range(parts):
            await log.take(HtlcGone)
        assert (await paying).status is PaymentStatus.SUCCEEDED
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert (moved["B"], moved["other"]) == (AMOUNT_MSAT, 0)
    assert moved["LSP"] > 0


@pytest.mark.parametrize("parts", [1, 4])
async def test_through_the_other_peer(testbed: Testbed, parts: int) -> None:
    before = await in_thread(balances.count, testbed)
    async with adapter(testbed, "A") as a, adapter(testbed, "LSP") as lsp, following(lsp) as log:
        payment = await order_through(testbed, a, "other", parts)
        assert (await a.pay(payment)).status is PaymentStatus.SUCCEEDED
        assert not [event for event in log.untaken if isinstance(event, HtlcOffered)]
    moved = (await in_thread(balances.count, testbed)).moved_since(before)
    assert (moved["B"], moved["LSP"]) == (AMOUNT_MSAT, 0)


async def test_through_somebody_who_is_no_peer(testbed: Testbed) -> None:
    async with adapter(testbed, "A") as a:
        result = await a.pay(order(await invoice_of_b(testbed, a), first_hop=node_id(testbed, "B")))
    assert result.status is PaymentStatus.FAILED
    assert result.failure
