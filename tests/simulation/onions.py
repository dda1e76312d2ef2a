"""Onion messages without cryptography: a registry instead of encryption.

`asyncpay.wire` has its own tests, byte for byte, and a real onion costs a thousand times the CPU time of an
engine's decision. Here a packet is a name; the registry stores which node may read which layer of it, and every
node reads only its own. The bytes have the real lengths, so that limits of mailboxes and couriers apply as usual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.wire.blinding import BlindedHop, BlindedPath, Hop, HopData
from asyncpay.wire.messages import Message
from asyncpay.wire.onion import LARGE_ROOM, SMALL_ROOM, OnionMessage, Payload

from .kernel import ETERNAL, Lifetime

if TYPE_CHECKING:
    from .node import SimNode

_OVERHEAD_BYTES = 66
_LARGE_CONTENT_BYTES = 1100


@dataclass(frozen=True, slots=True)
class Arrived:
    """The message ends here."""

    data: HopData
    payload: Payload


@dataclass(frozen=True, slots=True)
class Onward:
    """The message goes on to `next_node_id`."""

    data: HopData
    next_node_id: NodeId
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class _Sealed:
    hops: tuple[Hop, ...]
    payload: Payload
    room: int


class Onions:
    """The registry of everything that was ever sealed."""

    def __init__(self) -> None:
        self._packets: dict[bytes, _Sealed] = {}
        self._paths: dict[bytes, Hop] = {}
        self._number = 0

    def path(self, hops: Sequence[Hop]) -> BlindedPath:
        """A path that only its hops can read."""
        blinded = []
        for hop in hops:
            name = self._fresh()
            self._paths[name] = hop
            blinded.append(BlindedHop(hop.node_id, name))
        return BlindedPath(hops[0].node_id, hops[0].node_id, tuple(blinded))

    def hops(self, path: BlindedPath) -> tuple[Hop, ...]:
        """Return the hops of a path, which only the registry knows."""
        return tuple(self._paths[hop.encrypted_recipient_data] for hop in path.hops)

    def seal(self, hops: Sequence[Hop], payload: Payload) -> OnionMessage:
        """Return a new message along these hops."""
        content = payload.async_payment or b""
        room = LARGE_ROOM if len(content) > _LARGE_CONTENT_BYTES else SMALL_ROOM
        return self._packet(self._fresh(), _Sealed(tuple(hops), payload, room))

    def peel(self, message: OnionMessage, reader: NodeId) -> Arrived | Onward | None:
        """Return the layer of a message for `reader`; None if it has none."""
        name = message.packet[:32]
        sealed = self._packets.get(name)
        if sealed is None or sealed.hops[0].node_id != reader:
            return None
        hop, *rest = sealed.hops
        if not rest:
            return Arrived(hop.data, sealed.payload)
        inner = self._packet(sha256(name).digest(), replace(sealed, hops=tuple(rest)))
        return Onward(hop.data, rest[0].node_id, inner)

    def content(self, message: OnionMessage) -> Payload | None:
        """Return the content of a message, only for the trace."""
        sealed = self._packets.get(message.packet[:32])
        return None if sealed is None else sealed.payload

    def _packet(self, name: bytes, sealed: _Sealed) -> OnionMessage:
        self._packets[name] = sealed
        return OnionMessage(sealed.hops[0].node_id, name.ljust(sealed.room + _OVERHEAD_BYTES, b"\0"))

    def _fresh(self) -> bytes:
        self._number += 1
        return sha256(b"onion %d" % self._number).digest()


def plain_hops(node_ids: Sequence[NodeId], last: HopData) -> list[Hop]:
    """Return the unblinded hops over these nodes; `last` is for the last one."""
    onwards = [HopData(next_node_id=node_id) for node_id in node_ids[1:]]
    return [Hop(node_id, data) for node_id, data in zip(node_ids, [*onwards, last], strict=True)]


class Relay:
    """The onion messages of one node."""

    def __init__(self, node: "SimNode") -> None:
        self._node = node
        self._tokens: dict[NodeId, tuple[float, float, Lifetime | None]] = {}

    def take(self, source: NodeId, message: OnionMessage) -> None:
        """Handle an onion message from a peer."""
        if self._node.running and self._within_rate(source):
            self.handle(source, message)

    def next_hop(self, message: OnionMessage) -> NodeId | None:
        """Return the next hop of a message that still has this node's layer; None if it ends here, or is for others."""
        peeled = self._node.onions.peel(message, self._node.id)
        return peeled.next_node_id if isinstance(peeled, Onward) else None

    def handle(self, source: NodeId, message: OnionMessage) -> NodeId | None:
        """Peel this node's layer and follow it. Return the next peer if that is not connected."""
        node = self._node
        shows_all = bool(node.implementation.capabilities.transit_release)
        match node.onions.peel(message, node.id):
            case Arrived(data, payload):
                node.report(
                    OnionReceived(
                        path_id=data.path_id,
                        payment_unblock=data.payment_unblock if shows_all else None,
                        async_payment=payload.async_payment,
                        reply_path=payload.reply_path,
                    )
                )
            case Onward(data, next_node_id, inner):
                gone = not node.network.send_onion(node, next_node_id, inner)
                if source not in (node.id, next_node_id) and (shows_all or gone):
                    node.report(
                        OnionInTransit(
                            source=source,
                            message=message,
                            next_node_id=next_node_id,
                            payment_unblock=data.payment_unblock if shows_all else None,
                            undelivered=not shows_all,
                        )
                    )
                return next_node_id if gone else None
        return None

    def _within_rate(self, source: NodeId) -> bool:
        """Only accepted messages cost a token, and a new connection starts with all tokens (connectd/onion_message.c:
        handle_onion_message; connectd.c: new_peer).
        """
        rules, now = self._node.implementation, self._node.kernel.now
        if rules.onion_burst is None:
            return True
        connection = self._node.connections.get(source)
        lifetime = ETERNAL if connection is None else connection.lifetime
        tokens, since, known = self._tokens.get(source, (0.0, now, None))
        if known is not lifetime:
            tokens, since = float(rules.onion_burst), now
        tokens = min(float(rules.onion_burst), tokens + (now - since) / rules.onion_seconds)
        within = tokens >= 1
        self._tokens[source] = tokens - within, now, lifetime
        return within


class Messenger:
    """`routes`: for two node ids the nodes behind the first, up to the second."""

    def __init__(self, onions: Onions, routes: Mapping[tuple[NodeId, NodeId], Sequence[NodeId]]) -> None:
        self._onions, self._routes = onions, routes

    def send_to_peer(self, node: "SimNode", peer: NodeId, message: Message) -> bool:
        """Send over a path of one hop. Return False if the peer is not connected."""
        sealed = self._onions.seal(plain_hops([peer], HopData()), Payload(async_payment=message.encode()))
        return self.send(node, peer, sealed)

    def send(self, node: "SimNode", first_hop: NodeId, message: OnionMessage) -> bool:
        """Send a message that was made before."""
        return node.running and node.network.send_onion(node, first_hop, message)

    def reply_route(self, node: "SimNode", path: BlindedPath) -> list[NodeId]:
        """Return the route from the introduction node of a path to `node`."""
        assert isinstance(path.first_node_id, bytes)
        return [path.first_node_id, *self._routes[path.first_node_id, node.id]]

    def send_to(self, node: "SimNode", target: NodeId, message: Message, reply_path: BlindedPath | None = None) -> bool:
        """Send to any node, by its id."""
        return self.send_along(node, self._onions.path(plain_hops([target], HopData())), message, reply_path)

    def send_along(
        self, node: "SimNode", path: BlindedPath, message: Message, reply_path: BlindedPath | None = None
    ) -> bool:
        """Send along a given path, with additional hops if its first node is not a peer."""
        first = path.first_node_id
        assert isinstance(first, bytes)
        payload = Payload(async_payment=message.encode(), reply_path=reply_path)
        hops = self._onions.hops(path)
        if first == node.id:
            return node.running and node.relay.handle(node.id, self._onions.seal(hops, payload)) is None
        *own, _ = route = self._routes[node.id, first]
        front = plain_hops([*own, first], HopData())[:-1]
        return self.send(node, route[0], self._onions.seal([*front, *hops], payload))
