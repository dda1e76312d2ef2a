"""BOLT 1's TLV streams, strict in both directions; and dataclasses that are read from a stream and written as one.

A stream has exactly one encoding: types ascend, none is repeated, every BigSize is minimal, and there are no trailing
bytes. So `encode` reproduces every stream that `decode` accepts byte for byte; signatures over raw bytes rely on that.

A dataclass declares the record of each field:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Greeting(TlvStream):
        name: Annotated[str, Record(0, utf8(64))]
        age_years: Annotated[int | None, Record(1, tu(TU32_BYTES))] = None

A field without a default must be present. An unknown even record makes the stream unreadable; unknown odd ones are
ignored but kept in `unknown_records`, so that a decoded stream is encoded to the same bytes. (A module that defines
such a class must not use `from __future__ import annotations`: the annotations are evaluated.)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from typing import Any, Protocol, Self, cast

from asyncpay.wire import bigsize
from asyncpay.wire.errors import WireError

MAX_STREAM_BYTES = 65535  # no Lightning message is longer (BOLT 8)

TU32_BYTES = 4
TU64_BYTES = 8


def encode(records: Mapping[int, bytes]) -> bytes:
    """Encode type -> value as one stream, ascending; WireError for a type outside 0..2^64-1."""
    return b"".join(
        bigsize.encode(number) + bigsize.encode(len(value)) + value for number, value in sorted(records.items())
    )


def decode(data: bytes) -> dict[int, bytes]:
    """Read a whole stream as type -> value, ascending.

    Every type is returned: the caller knows the valid types, and refuses unknown even ones. WireError if the stream
    is longer than `MAX_STREAM_BYTES`, truncated, not minimal, not ascending, or repeats a type.
    """
    if len(data) > MAX_STREAM_BYTES:
        raise WireError(f"a TLV stream of {len(data)} bytes; the maximum is {MAX_STREAM_BYTES}")
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
    """Encode a truncated integer (tu32: up to 4 bytes, tu64: up to 8): no leading zeros, zero is empty."""
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


# --- dataclasses ---


@dataclass(frozen=True, slots=True)
class Codec:
    """The encoder and the decoder of a record's value; both raise WireError for an invalid value."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Record:
    """Marks a dataclass field as the TLV record `number`."""

    number: int
    codec: Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class TlvStream:
    """Base class of every dataclass that is one TLV stream.

    unknown_records: (type, value) of the odd records that this version does not know, as received.
    """

    unknown_records: tuple[tuple[int, bytes], ...] = ()

    def encode(self) -> bytes:
        """Return the canonical TLV stream; WireError if a value does not match its record."""
        return encode(self.to_records())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a whole stream; WireError for a record that is malformed, missing, or unknown and even."""
        records = decode(data)
        values = {}
        for name, record, required in _layout(cls):
            raw = records.pop(record.number, None)
            if raw is not None:
                values[name] = _explained(cls, name, record.codec.decode, raw)
            elif required:
                raise WireError(f"{cls.__name__}: record {record.number} ({name}) is missing")
        _refuse_even(cls, records)
        return cls(unknown_records=tuple(records.items()), **values)

    def to_records(self, *, without: int | None = None) -> dict[int, bytes]:
        """Return type -> value of every record present, except for the type `without`."""
        records = dict(self.unknown_records)
        _refuse_even(type(self), records)
        for name, record, _ in _layout(type(self)):
            value = getattr(self, name)
            if record.number in records:
                raise WireError(f"{type(self).__name__}: record {record.number} is {name}, not an unknown one")
            if value is not None and record.number != without:
                records[record.number] = _explained(type(self), name, record.codec.encode, value)
        return records


def _layout(cls: type[TlvStream]) -> Iterator[tuple[str, Record, bool]]:
    """Yield (field name, its record, whether it must be present), in the order of declaration."""
    for field in fields(cls):
        if field.name != "unknown_records":
            (record,) = cast(Any, field.type).__metadata__
            yield field.name, record, field.default is MISSING


def _explained(cls: type[TlvStream], name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except WireError as error:
        raise WireError(f"{cls.__name__}.{name}: {error}") from error


def _refuse_even(cls: type[TlvStream], unknown: dict[int, bytes]) -> None:
    for number in unknown:
        if number % 2 == 0:
            raise WireError(f"{cls.__name__}: record {number} is even and unknown, so the stream is refused")


# --- codecs ---


def sized(*lengths: int) -> Codec:
    """Bytes of exactly one of these lengths."""

    def check(value: bytes) -> bytes:
        if len(value) not in lengths:
            raise WireError(f"{len(value)} bytes; it must have {' or '.join(map(str, lengths))}")
        return value

    return Codec(check, check)


def up_to(max_bytes: int) -> Codec:
    """Bytes of any length up to this one."""

    def check(value: bytes) -> bytes:
        if len(value) > max_bytes:
            raise WireError(f"{len(value)} bytes; the maximum is {max_bytes}")
        return value

    return Codec(check, check)


def chunks(size: int, *, at_most: int) -> Codec:
    """One to `at_most` byte strings of `size` bytes each, concatenated; a tuple of them in Python."""
    whole = sized(*(size * n for n in range(1, at_most + 1)))

    def encode(values: tuple[bytes, ...]) -> bytes:
        return whole.encode(b"".join(sized(size).encode(value) for value in values))

    def decode(data: bytes) -> tuple[bytes, ...]:
        whole.decode(data)
        return tuple(data[i : i + size] for i in range(0, len(data), size))

    return Codec(encode, decode)


def tu(max_bytes: int) -> Codec:
    """A truncated unsigned integer, see `encode_tu`."""
    return Codec(lambda value: encode_tu(value, max_bytes), lambda data: decode_tu(data, max_bytes))


def u64() -> Codec:
    """An unsigned integer in exactly eight bytes, big-endian."""

    def encode(value: int) -> bytes:
        if not 0 <= value < 2**64:
            raise WireError(f"{value} does not fit a u64")
        return value.to_bytes(8, "big")

    return Codec(encode, lambda data: int.from_bytes(sized(8).decode(data), "big"))


def utf8(max_bytes: int) -> Codec:
    """Text of at most `max_bytes` bytes of valid UTF-8."""

    def encode(text: str) -> bytes:
        try:
            return up_to(max_bytes).encode(text.encode())
        except UnicodeEncodeError as error:
            raise WireError(f"the text cannot be encoded in UTF-8: {error}") from error

    def decode(data: bytes) -> str:
        try:
            return str(up_to(max_bytes).decode(data), "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"not valid UTF-8: {error}") from error

    return Codec(encode, decode)


def enum8(values: type[IntEnum]) -> Codec:
    """One byte that is a member of `values`."""

    def decode(data: bytes) -> IntEnum:
        (byte,) = sized(1).decode(data)
        try:
            return values(byte)
        except ValueError as error:
            raise WireError(f"{byte} is not a {values.__name__} that this version knows") from error

    return Codec(lambda value: bytes([value]), decode)


class Nested(Protocol):
    """A value with its own encoding."""

    def encode(self) -> bytes:
        """Return the bytes of the value."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the value that fills `data`."""


def nested(cls: type[Nested]) -> Codec:
    """A record whose value has its own `encode` and `decode`."""
    return Codec(lambda value: bytes(value.encode()), cls.decode)
