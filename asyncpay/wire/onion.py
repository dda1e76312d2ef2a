"""Onion messages (BOLT 4): build one for a blinded path, and peel one layer off.

A packet is version 0, an ephemeral point, 1300 or 32768 bytes of layers, and an HMAC. Each layer is a
length, a `Payload` and the next layer's HMAC, all zeros for the last.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from asyncpay.wire import bigsize, blinding, ecdh
from asyncpay.wire.blinding import BlindedPath, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.tlv import Record, TlvStream, nested, up_to

SMALL_ROOM = 1300
LARGE_ROOM = 32768

ASYNC_PAYMENT = 180003  # onionmsg_tlv: one of asyncpay.wire.messages
FIRST_CONTENT_TYPE = 64  # a message has at most one field of this type or above; LND drops it otherwise

_POINT_BYTES = 33
_HMAC_BYTES = 32
_OVERHEAD = 1 + _POINT_BYTES + _HMAC_BYTES
_MAX_PACKET_BYTES = 65535 - 2 - _POINT_BYTES - 2  # what fits into message 513 with type, path_key and length

_OPAQUE = up_to(LARGE_ROOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload(TlvStream):
    """onionmsg_tlv: the content of an onion message.

    Intermediate hops get `encrypted_recipient_data` only; `build` sets it. async_payment: one message of
    `asyncpay.wire.messages`. The invoice fields are BOLT 12's; they are accepted, but not parsed.
    """

    reply_path: Annotated[BlindedPath | None, Record(2, nested(BlindedPath))] = None
    encrypted_recipient_data: Annotated[bytes | None, Record(4, _OPAQUE)] = None
    invoice_request: Annotated[bytes | None, Record(64, _OPAQUE)] = None
    invoice: Annotated[bytes | None, Record(66, _OPAQUE)] = None
    invoice_error: Annotated[bytes | None, Record(68, _OPAQUE)] = None
    async_payment: Annotated[bytes | None, Record(ASYNC_PAYMENT, _OPAQUE)] = None


@dataclass(frozen=True, slots=True)
class OnionMessage:
    """An onion message between two peers: the path key (33 bytes) and the packet (1366 or 32834 bytes)."""

    path_key: bytes
    packet: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """A peeled message for another node: `message` to data.next_node_id, or else over data.short_channel_id."""

    data: HopData
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class Final:
    """A peeled message for this node. data: from the creator of the path. payload: from the sender."""

    data: HopData
    payload: Payload


def build(
    path: BlindedPath,
    payload: Payload,
    session_key: bytes,
    *,
    rooms: Sequence[int] = (SMALL_ROOM, LARGE_ROOM),
) -> OnionMessage:
    """Wrap `payload` for the end of `path`; the result is for the path's introduction node.

    session_key: 32 fresh random bytes, not those of the path. rooms: the permitted sizes of the layers in bytes; the
    first sufficient one is used. WireError if none suffices, if a point of the path is not valid, or if the payload has
    more than one field of type 64 or above.
    """
    payloads = [Payload(encrypted_recipient_data=hop.encrypted_recipient_data) for hop in path.hops]
    payloads[-1] = replace(payload, encrypted_recipient_data=path.hops[-1].encrypted_recipient_data)
    _check_content(payload)
    framed = []
    for each in payloads:
        stream = each.encode()
        framed.append(bigsize.encode(len(stream)) + stream)
    needed = sum(len(frame) + _HMAC_BYTES for frame in framed)
    room = next((room for room in rooms if needed <= room), None)
    if room is None:
        raise WireError(f"over {len(framed)} hops this message needs {needed} bytes; the maximum is {max(rooms)}")
    packet = _wrap([hop.blinded_node_id for hop in path.hops], framed, session_key, room)
    return OnionMessage(ecdh.checked_point(path.first_path_key), packet)


def _wrap(points: Sequence[bytes], framed: Sequence[bytes], session_key: bytes, room: int) -> bytes:
    """Encrypt the framed payloads into one packet, from the last hop to the first."""
    links = list(ecdh.chain(session_key, points))
    filler = _filler(framed[:-1], [secret for _, secret in links], room)
    layers = _crypt(ecdh.derive(b"pad", session_key), bytes(room))
    mac = bytes(_HMAC_BYTES)
    for hops_left, (frame, (_, secret)) in enumerate(zip(reversed(framed), reversed(links), strict=True)):
        layers = _crypt(ecdh.derive(b"rho", secret), (frame + mac + layers)[:room])
        if hops_left == 0:
            layers = layers[: room - len(filler)] + filler
        mac = _mac(secret, layers)
    return b"\0" + links[0][0] + layers + mac


def _filler(framed: Sequence[bytes], secrets: Sequence[bytes], room: int) -> bytes:
    """Return the filler: the bytes that the hops' shifts leave at the end of the last layer, covered by its HMAC."""
    filler = b""
    for frame, secret in zip(framed, secrets, strict=False):
        start = room - len(filler)
        foreseen = bytes(start) + filler + bytes(len(frame) + _HMAC_BYTES)
        filler = _crypt(ecdh.derive(b"rho", secret), foreseen)[start:]
    return filler


def peel_steps(packet: bytes, path_key: bytes) -> ecdh.Steps[Forward | Final]:
    """Do `peel` with any driver of `asyncpay.wire.ecdh`; two calls of the oracle."""
    if not _OVERHEAD < len(packet) <= _MAX_PACKET_BYTES or packet[0] != 0:
        raise WireError(f"{len(packet)} bytes beginning with {packet[:1].hex()} are not an onion message packet")
    ephemeral, layers, mac = packet[1:34], packet[34:-_HMAC_BYTES], packet[-_HMAC_BYTES:]
    path_secret = yield ecdh.checked_point(path_key)
    secret = yield ecdh.blind(ephemeral, path_secret)
    payload, rest, next_mac = _unwrap(layers, mac, secret)
    if payload.encrypted_recipient_data is None:
        raise WireError("the onion's payload has no encrypted_recipient_data")
    hop = blinding.open_with_secret(path_key, path_secret, payload.encrypted_recipient_data)
    if any(hop.data.allowed_features or b""):
        raise WireError("the path requires features for its messages, and none are supported")
    if next_mac == bytes(_HMAC_BYTES):
        _check_content(payload)
        return Final(hop.data, payload)
    _check_forward(hop.data, payload)
    next_packet = b"\0" + ecdh.next_ephemeral(ephemeral, secret) + rest + next_mac
    return Forward(hop.data, OnionMessage(hop.next_path_key, next_packet))


def peel(packet: bytes, path_key: bytes, oracle: ecdh.Oracle) -> Forward | Final:
    """Remove this node's layer; oracle(point) = SHA256(compressed(node key * point)), called twice.

    path_key: the point (33 bytes) received with the packet. WireError if the message is not for this node,
    was modified, or must be ignored according to BOLT 4.
    """
    return ecdh.run(peel_steps(packet, path_key), oracle)


def _unwrap(layers: bytes, mac: bytes, secret: bytes) -> tuple[Payload, bytes, bytes]:
    """Return this hop's payload, and the next hop's layers and HMAC."""
    if not hmac.compare_digest(_mac(secret, layers), mac):
        raise WireError("the onion's HMAC does not match: it is not for this node, or was modified in transit")
    plain = _crypt(ecdh.derive(b"rho", secret), layers + bytes(len(layers)))
    size, start = bigsize.decode(plain)
    end = start + size
    rest = end + _HMAC_BYTES
    if rest > len(layers):
        raise WireError(f"the onion's payload announces {size} bytes, more than the packet holds")
    return Payload.decode(plain[start:end]), plain[rest : rest + len(layers)], plain[end:rest]


def _check_content(payload: Payload) -> None:
    contents = [number for number in payload.to_records() if number >= FIRST_CONTENT_TYPE]
    if len(contents) > 1:
        raise WireError(f"an onion message carries one field of type 64 or above, not all of {contents}")


def _check_forward(data: HopData, payload: Payload) -> None:
    if payload.to_records().keys() != {4}:
        raise WireError("a message to be forwarded carries more than encrypted_recipient_data for this hop")
    if data.path_id is not None:
        raise WireError("a message to be forwarded has a path_id for this hop, which belongs to the last one")
    if data.next_node_id is None and data.short_channel_id is None:
        raise WireError("a message to be forwarded names neither a next node nor a channel")


def _crypt(key: bytes, data: bytes) -> bytes:
    """XOR with the ChaCha20 stream of `key`, from its beginning."""
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(data)


def _mac(secret: bytes, layers: bytes) -> bytes:
    return hmac.digest(ecdh.derive(b"mu", secret), layers, "sha256")
