"""BOLT 1's TLV streams and truncated integers, strict in both directions.

A stream has exactly one encoding: types ascend, none is repeated, every BigSize is minimal, nothing
trails. So what `decode` accepts, `encode` gives back byte for byte; signatures over raw bytes rest on that.
"""

from collections.abc import Mapping

from asyncpay.wire import bigsize
from asyncpay.wire.errors import WireError

MAX_STREAM_BYTES = 65535  # no Lightning message is longer (BOLT 8)

TU32_BYTES = 4
TU64_BYTES = 8


def encode(records: Mapping[int, bytes]) -> bytes:
    """Write type -> value as one stream, ascending; WireError for a type outside 0..2^64-1."""
    return b"".join(
        bigsize.encode(number) + bigsize.encode(len(value)) + value for number, value in sorted(records.items())
    )


def decode(data: bytes) -> dict[int, bytes]:
    """Read a whole stream as type -> value, ascending.

    Every type is returned: which of them are known, and that unknown even ones are fatal, is the caller's
    to know. WireError if the stream is longer than `MAX_STREAM_BYTES`, truncated, not minimal, not
    ascending, or repeats a type.
    """
    if len(data) > MAX_STREAM_BYTES:
        raise WireError(f"a TLV stream of {len(data)} bytes; {MAX_STREAM_BYTES} is the most")
    records: dict[int, bytes] = {}
    offset, previous = 0, -1
    while offset < len(data):
        number, offset = bigsize.decode(data, offset)
        if number <= previous:
            raise WireError(f"TLV type {number} after {previous}: types must ascend and never repeat")
        length, offset = bigsize.decode(data, offset)
        if length > len(data) - offset:
            raise WireError(f"TLV type {number} announces {length} bytes where {len(data) - offset} are left")
        records[number] = data[offset : offset + length]
        offset, previous = offset + length, number
    return records


def encode_tu(value: int, max_bytes: int) -> bytes:
    """Write a truncated integer (tu32: up to 4 bytes, tu64: up to 8): no leading zeros, zero is empty."""
    if not 0 <= value < 1 << (8 * max_bytes):
        raise WireError(f"{value} does not fit a tu{8 * max_bytes}")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_tu(data: bytes, max_bytes: int) -> int:
    """Read a truncated integer that fills `data`; WireError if it is too long or has leading zeros."""
    if len(data) > max_bytes:
        raise WireError(f"{len(data)} bytes are too long for a tu{8 * max_bytes}")
    if data[:1] == b"\0":
        raise WireError(f"a tu{8 * max_bytes} with a leading zero byte is not minimal")
    return int.from_bytes(data, "big")
