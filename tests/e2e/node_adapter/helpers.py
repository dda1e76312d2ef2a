"""What several of these tests do. The harness waits in its own way, so its verbs are called in a thread."""

import asyncio
from typing import Any

from asyncpay.lightning import Invoice, Link, NodeId
from asyncpay.nodes.base import Payment
from asyncpay.nodes.lnd import LndNode
from harness.nodes.lnd import GRPC_PORT, LND_DIR, MACAROON
from harness.testbed import Testbed

AMOUNT_MSAT = 100_000_000
FEE_LIMIT_MSAT = 1_000_000
in_thread = asyncio.to_thread


def adapter(testbed: Testbed, name: str) -> LndNode:
    """The adapter of a node; it must run for its address to be known."""
    containers = testbed.containers
    certificate, macaroon = containers.read(name, f"{LND_DIR}/tls.cert"), containers.read(name, MACAROON)
    return LndNode.connect(containers.address(name, GRPC_PORT), certificate, macaroon)


def node_id(testbed: Testbed, name: str) -> NodeId:
    return bytes.fromhex(testbed[name].node_id)


async def invoice_of_b(testbed: Testbed, reader: LndNode, amount_msat: int = AMOUNT_MSAT) -> Invoice:
    return await reader.decode_invoice(await in_thread(testbed["B"].create_invoice, amount_msat))


def order(invoice: Invoice, **changes: Any) -> Payment:
    """To pay the invoice in one part, and to try no longer than a moment."""
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
