"""Sending the protocol's messages over simulated nodes: `asyncpay.service.onions` with symbolic onions."""

from collections.abc import Sequence

from asyncpay.lightning import NodeId
from asyncpay.wire.blinding import BlindedPath, HopData
from asyncpay.wire.messages import Message
from asyncpay.wire.onion import OnionMessage, Payload

from .node import SimNode
from .onions import Onions, through


class Letters:
    """`routes`: for two node ids the nodes behind the first, up to the second."""

    def __init__(self, onions: Onions, routes: dict[tuple[NodeId, NodeId], Sequence[NodeId]]) -> None:
        self._onions, self._routes = onions, routes

    def send_to_peer(self, node: SimNode, peer: NodeId, message: Message) -> bool:
        """Over a path of one hop; False if the peer is not there."""
        sealed = self._onions.seal(through([peer], HopData()), Payload(async_payment=message.encode()))
        return self.send(node, peer, sealed)

    def send(self, node: SimNode, first_hop: NodeId, message: OnionMessage) -> bool:
        """A message that was made before."""
        return node.running and node.network.send_onion(node, first_hop, message)

    def way_back(self, node: SimNode, path: BlindedPath) -> list[NodeId]:
        """From the beginning of a path to `node`."""
        assert isinstance(path.first_node_id, bytes)
        return [path.first_node_id, *self._routes[path.first_node_id, node.id]]

    def send_to(self, node: SimNode, target: NodeId, message: Message, reply_path: BlindedPath | None = None) -> bool:
        """To a node anywhere, by name."""
        return self.send_along(node, self._onions.path(through([target], HopData())), message, reply_path)

    def send_along(
        self, node: SimNode, path: BlindedPath, message: Message, reply_path: BlindedPath | None = None
    ) -> bool:
        """Along somebody's path, by way of one's own hops if its first node is no peer."""
        first = path.first_node_id
        assert isinstance(first, bytes)
        payload = Payload(async_payment=message.encode(), reply_path=reply_path)
        hops = self._onions.hops(path)
        if first == node.id:
            return node.running and node.relay.route(node.id, self._onions.seal(hops, payload)) is None
        *own, _ = route = self._routes[node.id, first]
        front = through([*own, first], HopData())[:-1]
        return self.send(node, route[0], self._onions.seal([*front, *hops], payload))
