"""Blinded paths (BOLT 4, "Route Blinding"): routes to a node that does not reveal its identity.

The recipient creates the path: `build` gives each hop its own `HopData`, which only that hop can decrypt. The sender
knows the node id of the first hop and the blinded ids of the others; `join` puts hops of the sender in front of the
path. A hop decrypts its own data with `open_hop`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from asyncpay.wire import ecdh
from asyncpay.wire.errors import WireError
from asyncpay.wire.tlv import Codec, Record, TlvStream, sized, u64, up_to

MAX_HOPS = 255
MAX_DATA_BYTES = 65535

PAYMENT_UNBLOCK = 180001  # encrypted_data_tlv: the pid that releases a block

_POINT = Codec(ecdh.checked_point, ecdh.checked_point)
_OPAQUE = up_to(MAX_DATA_BYTES)
_NONCE = bytes(12)  # every key is used once


@dataclass(frozen=True, slots=True, kw_only=True)
class HopData(TlvStream):
    """encrypted_data_tlv: the data of one hop, from the creator of the path.

    A hop that forwards has `next_node_id` (33 bytes) or `short_channel_id`; the last one may have `path_id`,
    by which its creator recognizes the path. next_path_key_override (33 bytes): the next hop's path key, where
    another path is joined on. payment_unblock (32 bytes): the pid of a block held by this hop. The payment
    fields of BOLT 4 are accepted, but not parsed.
    """

    padding: Annotated[bytes | None, Record(1, _OPAQUE)] = None
    short_channel_id: Annotated[int | None, Record(2, u64())] = None
    next_node_id: Annotated[bytes | None, Record(4, _POINT)] = None
    path_id: Annotated[bytes | None, Record(6, _OPAQUE)] = None
    next_path_key_override: Annotated[bytes | None, Record(8, _POINT)] = None
    payment_relay: Annotated[bytes | None, Record(10, _OPAQUE)] = None
    payment_constraints: Annotated[bytes | None, Record(12, _OPAQUE)] = None
    allowed_features: Annotated[bytes | None, Record(14, _OPAQUE)] = None
    payment_unblock: Annotated[bytes | None, Record(PAYMENT_UNBLOCK, sized(32))] = None


@dataclass(frozen=True, slots=True)
class Hop:
    """A hop in plain text, as its creator sees it: the node id (33 bytes) and the data."""

    node_id: bytes
    data: HopData


@dataclass(frozen=True, slots=True)
class ChannelEnd:
    """`sciddir`: the node at one end of an announced channel; direction 0 is the end with the lesser node id."""

    direction: int
    short_channel_id: int

    def encode(self) -> bytes:
        """Nine bytes; WireError if direction is neither 0 nor 1."""
        if self.direction not in (0, 1):
            raise WireError(f"a channel has ends 0 and 1, not {self.direction}")
        return bytes([self.direction]) + u64().encode(self.short_channel_id)


@dataclass(frozen=True, slots=True)
class BlindedHop:
    """A blinded hop, as all other nodes see it; blinded_node_id: 33 bytes."""

    blinded_node_id: bytes
    encrypted_recipient_data: bytes


@dataclass(frozen=True, slots=True)
class BlindedPath:
    """A path to an unknown node, as `reply_path` carries it.

    first_node_id: the introduction node, 33 bytes, or a `ChannelEnd` that the sender must look up first.
    first_path_key: 33 bytes. hops: 1 to 255; the first is the introduction node's own.
    """

    first_node_id: bytes | ChannelEnd
    first_path_key: bytes
    hops: tuple[BlindedHop, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.hops) <= MAX_HOPS:
            raise WireError(f"a blinded path has 1 to {MAX_HOPS} hops, not {len(self.hops)}")

    def encode(self) -> bytes:
        """Return BOLT 4's `blinded_path`; WireError if a part is too long or a point is not valid."""
        first = self.first_node_id
        parts = [first.encode() if isinstance(first, ChannelEnd) else _POINT.encode(first)]
        parts += [_POINT.encode(self.first_path_key), bytes([len(self.hops)])]
        for hop in self.hops:
            data = _OPAQUE.encode(hop.encrypted_recipient_data)
            parts += [_POINT.encode(hop.blinded_node_id), len(data).to_bytes(2, "big"), data]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a `blinded_path` that fills `data`; WireError if none does."""
        reader = _Reader(data)
        first_byte = reader.take(1)
        first_node_id: bytes | ChannelEnd
        if first_byte in (b"\0", b"\1"):
            first_node_id = ChannelEnd(first_byte[0], int.from_bytes(reader.take(8), "big"))
        elif first_byte in (b"\2", b"\3"):
            first_node_id = ecdh.checked_point(first_byte + reader.take(32))
        else:
            raise WireError(f"a blinded path begins with a byte from 0 to 3, not {first_byte[0]}")
        first_path_key = reader.take_point()
        hops = []
        for _ in range(reader.take(1)[0]):
            blinded_node_id, size = reader.take_point(), int.from_bytes(reader.take(2), "big")
            hops.append(BlindedHop(blinded_node_id, reader.take(size)))
        reader.expect_end()
        return cls(first_node_id, first_path_key, tuple(hops))


@dataclass(frozen=True, slots=True)
class OpenedHop:
    """This node's own hop of a blinded path, decrypted."""

    data: HopData
    path_key: bytes
    shared_secret: bytes = field(repr=False)

    @property
    def next_path_key(self) -> bytes:
        """The path key (33 bytes) that is sent to the next hop with the onion."""
        override = self.data.next_path_key_override
        return override or ecdh.next_ephemeral(self.path_key, self.shared_secret)


def hops_through(node_ids: Sequence[bytes], last: HopData) -> list[Hop]:
    """Return hops along these nodes (33 bytes each): the data of each hop names the next, the last hop gets `last`."""
    onwards = [HopData(next_node_id=node_id) for node_id in node_ids[1:]]
    return [Hop(node_id, data) for node_id, data in zip(node_ids, [*onwards, last], strict=True)]


def build(hops: Sequence[Hop], session_key: bytes) -> BlindedPath:
    """Blind a path whose first hop is the introduction node.

    session_key: 32 fresh random bytes, used once. WireError if there are no hops or more than 255, or if a
    node id is not a valid point.
    """
    if not hops:
        raise WireError("a blinded path needs at least one hop")
    links = list(ecdh.chain(session_key, [hop.node_id for hop in hops]))
    blinded = tuple(
        BlindedHop(ecdh.blind(hop.node_id, secret), _cipher(secret).encrypt(_NONCE, hop.data.encode(), None))
        for hop, (_, secret) in zip(hops, links, strict=True)
    )
    return BlindedPath(hops[0].node_id, links[0][0], blinded)


def join(own: Sequence[Hop], foreign: BlindedPath, session_key: bytes) -> BlindedPath:
    """Put own hops in front of a foreign path; without own hops, return that path.

    The data of the last own hop gets the foreign path key, and the foreign introduction node as its next node unless it
    already has one. It must already have one if the path names the introduction node by a channel: WireError otherwise.
    session_key: as for `build`.
    """
    if not own:
        return foreign
    data = replace(own[-1].data, next_path_key_override=foreign.first_path_key)
    if data.next_node_id is None and data.short_channel_id is None:
        if isinstance(foreign.first_node_id, ChannelEnd):
            raise WireError(
                f"the path begins at an end of channel {foreign.first_node_id.short_channel_id}: look up "
                "that node, and set it as next_node_id of the last own hop"
            )
        data = replace(data, next_node_id=foreign.first_node_id)
    front = build([*own[:-1], replace(own[-1], data=data)], session_key)
    return replace(front, hops=front.hops + foreign.hops)


def open_hop_steps(path_key: bytes, encrypted_recipient_data: bytes) -> ecdh.Steps[OpenedHop]:
    """Do `open_hop` with any driver of `asyncpay.wire.ecdh`; one call of the oracle."""
    shared_secret = yield ecdh.checked_point(path_key)
    return open_with_secret(path_key, shared_secret, encrypted_recipient_data)


def open_hop(path_key: bytes, encrypted_recipient_data: bytes, oracle: ecdh.Oracle) -> OpenedHop:
    """Decrypt this node's own hop: path_key is the point (33 bytes) received with it, oracle the node's ECDH.

    WireError if it was not encrypted for this node and path key, or is not a valid encrypted_data_tlv.
    """
    return ecdh.run(open_hop_steps(path_key, encrypted_recipient_data), oracle)


def open_with_secret(path_key: bytes, shared_secret: bytes, encrypted_recipient_data: bytes) -> OpenedHop:
    """Decrypt a hop whose shared secret (32 bytes) is already known: `open_hop` after its ECDH."""
    try:
        plain = _cipher(shared_secret).decrypt(_NONCE, encrypted_recipient_data, None)
    except InvalidTag as error:
        raise WireError("encrypted_recipient_data was not encrypted for this node and path key") from error
    return OpenedHop(HopData.decode(plain), path_key, shared_secret)


def _cipher(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(ecdh.derive(b"rho", secret))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._offset : self._offset + size]
        if len(taken) != size:
            raise WireError(f"the blinded path ends where {size} bytes are expected, at byte {self._offset}")
        self._offset += size
        return taken

    def take_point(self) -> bytes:
        return ecdh.checked_point(self.take(33))

    def expect_end(self) -> None:
        if self._offset != len(self._data):
            raise WireError(f"{len(self._data) - self._offset} bytes follow the end of the blinded path")
