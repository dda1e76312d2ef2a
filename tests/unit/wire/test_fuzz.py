"""Every decoder against damaged and random input: it reads what it would write, or raises WireError.

$FUZZ_INPUTS says how many inputs each decoder gets (5,000), $FUZZ_SEED which ones; `make fuzz` gives many.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import pytest

from asyncpay.wire import bigsize, blinding, onion, signature, tlv
from asyncpay.wire import messages as m
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import SMALL_ROOM, Payload

from .support import LSP_A, ONION_KEY, PATH_KEY, PID, A
from .test_messages import EXAMPLES

INPUTS = int(os.environ.get("FUZZ_INPUTS", "5000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))

FULL_HOP_DATA = HopData(
    padding=bytes(3),
    short_channel_id=1729,
    next_node_id=A.id,
    path_id=PID,
    next_path_key_override=LSP_A.id,
    allowed_features=b"",
    payment_unblock=PID,
    unknown_records=((561, b"\x12"),),
)
PATH = blinding.build(blinding.hops_through([LSP_A.id, A.id], HopData(path_id=PID)), PATH_KEY)
MESSAGES = [encoded for _, encoded in EXAMPLES]
SEALED = PATH.hops[0].encrypted_recipient_data
PAYLOADS = [
    Payload(encrypted_recipient_data=SEALED, reply_path=PATH, async_payment=MESSAGES[1]).encode(),
    Payload(encrypted_recipient_data=SEALED).encode(),
]
ONION = onion.build(PATH, Payload(async_payment=b"hello"), ONION_KEY)
ZBASE32 = signature.encode(bytes([31]) + bytes([7]) * 64).encode()


def same(decode: Callable[[bytes], object], encode: Callable[..., bytes]) -> Callable[[bytes], None]:
    """The check for decoders of a canonical form: what was read is written as the same bytes."""

    def check(data: bytes) -> None:
        assert encode(decode(data)) == data

    return check


def bigsize_at_the_start(data: bytes) -> None:
    value, end = bigsize.decode(data)
    assert bigsize.encode(value) == data[:end]


def zbase32(data: bytes) -> None:
    text = data.decode("latin-1")
    assert signature.encode(signature.decode(text)) == text


def recovered(data: bytes) -> None:
    assert len(signature.recover("text", data)) == 33


def peeled_packet(data: bytes) -> None:
    onion.peel(data[33:], data[:33], LSP_A.ecdh)


def peeled_payload(data: bytes) -> None:
    """A payload under valid HMACs, so that it gets judged; every other one is a forwarding hop's."""
    frames = [bigsize.encode(len(data)) + data, b"\0"][: 1 + len(data) % 2]
    if len(data) <= SMALL_ROOM // 2:
        points = [hop.blinded_node_id for hop in PATH.hops]
        packet = onion._wrap(points[: len(frames)], frames, ONION_KEY, SMALL_ROOM)
        onion.peel(packet, PATH.first_path_key, LSP_A.ecdh)


def opened_data(data: bytes) -> None:
    """Data under a valid seal, so that it is the data that gets judged."""
    hop = Hop(LSP_A.id, Sealed(data))  # type: ignore[arg-type]
    path = blinding.build([hop], PATH_KEY)
    opened = blinding.open_hop(path.first_path_key, path.hops[0].encrypted_recipient_data, LSP_A.ecdh)
    assert opened.data.encode() == data
    assert len(opened.next_path_key) == 33


@dataclass
class Sealed:
    """Bytes where `build` expects hop data."""

    data: bytes

    def encode(self) -> bytes:
        return self.data


def opened_ciphertext(data: bytes) -> None:
    blinding.open_hop(data[:33], data[33:], LSP_A.ecdh)


DECODERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "bigsize": (bigsize_at_the_start, [bigsize.encode(n) for n in (0, 252, 253, 2**16, 2**32, 2**64 - 1)]),
    "tlv": (same(tlv.decode, tlv.encode), [FULL_HOP_DATA.encode(), *PAYLOADS]),
    "message": (same(m.decode, lambda message: message.encode()), MESSAGES),
    "courier": (same(m.Courier.decode, m.Courier.encode), [bytes(1399)]),
    "hop data": (same(HopData.decode, HopData.encode), [FULL_HOP_DATA.encode()]),
    "payload": (same(Payload.decode, Payload.encode), PAYLOADS),
    "blinded path": (
        same(BlindedPath.decode, BlindedPath.encode),
        [PATH.encode(), b"\1" * 9 + PATH.encode()[33:]],
    ),
    "zbase32": (zbase32, [ZBASE32]),
    "signature": (recovered, [bytes([31]) + bytes([7]) * 64]),
    "sealed hop data": (opened_data, [FULL_HOP_DATA.encode()]),
    "encrypted hop data": (opened_ciphertext, [PATH.first_path_key + SEALED]),
    "sealed payload": (peeled_payload, PAYLOADS),
    "onion packet": (peeled_packet, [ONION.path_key + ONION.packet]),
}


def inputs(samples: list[bytes], random: Random) -> Iterator[bytes]:
    """One in five is noise, the others are samples with a few wounds."""
    for _ in range(INPUTS):
        if random.random() < 0.2:
            yield random.randbytes(random.randrange(200))
        else:
            data = bytearray(random.choice(samples))
            for _ in range(random.randrange(1, 4)):
                wound(data, random)
            yield bytes(data)


def wound(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    match random.randrange(5):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1 if at < len(data):
            data[at] = random.choice([0, 1, 0xFC, 0xFD, 0xFE, 0xFF, random.randrange(256)])
        case 2:
            data[at:at] = random.randbytes(random.randrange(1, 9))
        case 3:
            del data[at : at + random.randrange(1, 9)]
        case _:
            source = random.randrange(len(data) + 1)
            data[at:at] = data[source : source + random.randrange(40)]


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name: str) -> None:
    check, samples = DECODERS[name]
    read = 0
    for data in inputs(samples, Random(f"{name} {SEED}")):
        try:
            check(data)
            read += 1
        except WireError:
            pass
        except Exception as error:
            raise AssertionError(f"{name} with FUZZ_SEED={SEED} fails on {data.hex()}") from error
    assert read < INPUTS, "no input was refused: the generator does not damage anything"
