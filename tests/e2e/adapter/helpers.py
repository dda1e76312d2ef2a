"""Helpers of several of these tests. The harness blocks while it waits, so its functions are called in a thread."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from asyncpay.lightning import Invoice, Link, NodeId
from asyncpay.nodes.base import Node, Payment
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load
from tests.support import scripted_node
from tests.support.implementations import TOPOLOGIES

AMOUNT_MSAT = 100_000_000
FEE_LIMIT_MSAT = 1_000_000
CLOSE_CONFIRMATIONS = 3
"""Until then LND lists a channel closed by its peer as open, and accepts answers for its HTLCs: a reorg may undo it."""
in_thread = asyncio.to_thread

_HOPS = {"lnd": "hop.yaml", "cln": "hop-cln.yaml", "ldk": "hop-ldk.yaml"}
"""The same network, with the configuration that the adapter requires of each node."""


@contextmanager
def hop(implementation: str, config: pytest.Config) -> Iterator[Testbed]:
    """A ==== LSP ---- B, with no process attached to any of them."""
    with running_testbed(load(TOPOLOGIES / _HOPS[implementation]), config) as running:
        for component in running.lsps.values():
            component.stop()
        yield running


@asynccontextmanager
async def adapter(testbed: Testbed, name: str) -> AsyncIterator[Node]:
    """Return the adapter of a node, which must run, because its address is needed."""
    own = await scripted_node.connect(testbed, name)
    try:
        yield own.node
    finally:
        await own.close()


def node_id(testbed: Testbed, name: str) -> NodeId:
    return bytes.fromhex(testbed[name].node_id)


async def invoice_of_b(testbed: Testbed, reader: Node, amount_msat: int = AMOUNT_MSAT) -> Invoice:
    return await reader.decode_invoice(await in_thread(testbed["B"].create_invoice, amount_msat))


def order(invoice: Invoice, **changes: Any) -> Payment:
    """Return an order to pay the invoice in one part, with a short timeout."""
    values: dict[str, Any] = {
        "invoice": invoice,
        "amount_msat": AMOUNT_MSAT,
        "fee_limit_msat": FEE_LIMIT_MSAT,
        "cltv_limit_blocks": 2016,
        "max_parts": 1,
        "timeout_seconds": 5,
    }
    return Payment(**(values | changes))


def link_to(links: tuple[Link, ...], peer: NodeId) -> Link:
    return next(link for link in links if link.peer == peer)
