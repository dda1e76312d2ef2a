"""The calls of a scripted phone to its node in addition to the node interface, for each implementation."""

from typing import Protocol

from asyncpay.lightning import PaymentResult
from asyncpay.nodes.base import Node, Payment
from asyncpay.nodes.cln import ClnNode
from asyncpay.nodes.ldk import LdkNode
from asyncpay.nodes.lnd import LndNode, payments
from asyncpay.nodes.lnd.connection import Connection
from asyncpay.nodes.proto import lightning_pb2 as ln
from harness.nodes import ldk
from harness.nodes.cln import SOCKET
from harness.nodes.lnd import GRPC_PORT, LND_DIR, MACAROON
from harness.testbed import Testbed


class ScriptedNode(Protocol):
    """node: the node behind the interface that all components use."""

    node: Node
    sends_through_itself: bool
    """An onion message needs a layer for the node itself, because the node sends only messages that it has peeled."""

    async def pay(self, order: Payment) -> PaymentResult:
        """Pay, and wait for the outcome."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class ScriptedLnd:
    """An LND."""

    sends_through_itself = False

    def __init__(self, lnd: Connection) -> None:
        self.lnd = lnd
        self.node: Node = LndNode(lnd)

    async def pay(self, order: Payment) -> PaymentResult:
        """See ScriptedNode.pay. LND retries failed payments, which the interface forbids."""
        request = payments.from_fields(order, await payments.decode(self.lnd, order.invoice.text))
        last = ln.Payment()
        async for update in self.lnd.router.SendPaymentV2(request):
            last = update
        return payments.result(last)

    async def close(self) -> None:
        """See ScriptedNode.close."""
        await self.lnd.close()


class ScriptedCln:
    """A lightningd with our plugin, to which no wallet is attached."""

    sends_through_itself = True

    def __init__(self, node: ClnNode) -> None:
        self.node: Node = node

    async def pay(self, order: Payment) -> PaymentResult:
        """See ScriptedNode.pay. A payment that has failed is not tried once more."""
        return await self.node.pay(order)

    async def close(self) -> None:
        """See ScriptedNode.close: each call is a connection of its own."""


class ScriptedLdk:
    """An ldkd, to which no wallet is attached."""

    sends_through_itself = False

    def __init__(self, node: LdkNode) -> None:
        self.node: Node = node

    async def pay(self, order: Payment) -> PaymentResult:
        """See ScriptedNode.pay. A payment that has failed is not tried once more."""
        return await self.node.pay(order)

    async def close(self) -> None:
        """See ScriptedNode.close: each call is a connection of its own."""


async def connect(testbed: Testbed, name: str) -> ScriptedNode:
    """Connect to the node with this name, from within a running event loop."""
    match testbed.topology.nodes[name].implementation:
        case "lnd":
            containers = testbed.engine
            tls, macaroon = containers.read(name, f"{LND_DIR}/tls.cert"), containers.read(name, MACAROON)
            return ScriptedLnd(Connection(containers.address(name, GRPC_PORT), lambda: (tls, macaroon)))
        case "cln":
            return ScriptedCln(ClnNode(testbed.engine.socket(name, SOCKET)))
        case "ldk":
            return ScriptedLdk(LdkNode(testbed.engine.socket(name, ldk.SOCKET)))
        case other:
            raise NotImplementedError(f"there are no scripted phones on {other} yet")
