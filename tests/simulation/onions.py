"""Onion messages without cryptography: sealed by a registry instead of by keys.

`asyncpay.wire` has its own tests, down to the byte, and a real onion costs a thousand times what an engine
needs to think. Here a packet is a name; who may read which layer of it is written in the registry, and every
node asks in its own name. The bytes have the real lengths, so that mailboxes and couriers count as usual.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from asyncpay.lightning import NodeId
from asyncpay.wire.blinding import BlindedHop, BlindedPath, Hop, HopData
from asyncpay.wire.onion import LARGE_ROOM, SMALL_ROOM, OnionMessage, Payload

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
        """What only the registry knows of a path."""
        return tuple(self._paths[hop.encrypted_recipient_data] for hop in path.hops)

    def seal(self, hops: Sequence[Hop], payload: Payload) -> OnionMessage:
        """A message along these hops; a new one every time."""
        content = payload.async_payment or b""
        room = LARGE_ROOM if len(content) > _LARGE_CONTENT_BYTES else SMALL_ROOM
        return self._packet(self._fresh(), _Sealed(tuple(hops), payload, room))

    def peel(self, message: OnionMessage, reader: NodeId) -> Arrived | Onward | None:
        """What `reader` finds in a message; None if it is not for it."""
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
        """For the story only: what is inside."""
        sealed = self._packets.get(message.packet[:32])
        return None if sealed is None else sealed.payload

    def _packet(self, name: bytes, sealed: _Sealed) -> OnionMessage:
        self._packets[name] = sealed
        return OnionMessage(sealed.hops[0].node_id, name.ljust(sealed.room + _OVERHEAD_BYTES, b"\0"))

    def _fresh(self) -> bytes:
        self._number += 1
        return sha256(b"onion %d" % self._number).digest()


def through(node_ids: Sequence[NodeId], last: HopData) -> list[Hop]:
    """The plain way along these nodes; the last one is told `last`."""
    onwards = [HopData(next_node_id=node_id) for node_id in node_ids[1:]]
    return [Hop(node_id, data) for node_id, data in zip(node_ids, [*onwards, last], strict=True)]
