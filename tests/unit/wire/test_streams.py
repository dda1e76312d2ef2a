"""BigSize, TLV streams, truncated integers: one encoding for each value, and no other is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.wire import bigsize, tlv
from asyncpay.wire.errors import WireError

u64 = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (252, "fc"),
        (253, "fd00fd"),
        (65535, "fdffff"),
        (65536, "fe00010000"),
        (2**32 - 1, "feffffffff"),
        (2**32, "ff0000000100000000"),
        (2**64 - 1, "ffffffffffffffffff"),
    ],
)
def test_bigsize_at_its_edges(value: int, encoded: str) -> None:
    assert bigsize.encode(value).hex() == encoded
    assert bigsize.decode(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "fd",
        "fd00",
        "fe",
        "fe000100",
        "ff",
        "ff00000001000000",
        "fd00fc",
        "fe0000ffff",
        "ff00000000ffffffff",
    ],
)
def test_bigsize_truncated_or_not_minimal(encoded: str) -> None:
    with pytest.raises(WireError):
        bigsize.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("value", [-1, 2**64])
def test_bigsize_out_of_range(value: int) -> None:
    with pytest.raises(WireError):
        bigsize.encode(value)


@given(u64, st.binary(max_size=5), st.binary(max_size=5))
def test_bigsize_amid_other_bytes(value: int, before: bytes, after: bytes) -> None:
    encoded = bigsize.encode(value)
    assert bigsize.decode(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@given(st.dictionaries(u64, st.binary(max_size=300), max_size=8))
def test_stream_round_trip(records: dict[int, bytes]) -> None:
    read = tlv.decode(tlv.encode(records))
    assert read == records
    assert list(read) == sorted(records)


@given(st.binary(max_size=60))
def test_whatever_is_read_has_no_other_encoding(data: bytes) -> None:
    try:
        records = tlv.decode(data)
    except WireError:
        return
    assert tlv.encode(records) == data


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ("01000000", "ascend"),
        ("01000100", "ascend"),
        ("01", "ends"),
        ("0102ff", "announces 2 bytes where 1"),
        ("01fd0001ff", "not minimal"),
        ("fd000100", "not minimal"),
        ("010002", "ends"),
        ("01ffffffffffffffffff", "announces"),
    ],
)
def test_stream_that_is_not_canonical(stream: str, why: str) -> None:
    with pytest.raises(WireError, match=why):
        tlv.decode(bytes.fromhex(stream))


def test_stream_longer_than_any_lightning_message() -> None:
    largest = tlv.encode({1: bytes(tlv.MAX_STREAM_BYTES - 4)})
    assert len(largest) == tlv.MAX_STREAM_BYTES
    assert tlv.decode(largest) == {1: bytes(tlv.MAX_STREAM_BYTES - 4)}
    with pytest.raises(WireError, match="65535"):
        tlv.decode(tlv.encode({1: bytes(tlv.MAX_STREAM_BYTES - 3)}))


@pytest.mark.parametrize("max_bytes", [tlv.TU32_BYTES, tlv.TU64_BYTES])
@given(data=st.data())
def test_truncated_integer(max_bytes: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 256**max_bytes - 1))
    encoded = tlv.encode_tu(value, max_bytes)
    assert tlv.decode_tu(encoded, max_bytes) == value
    assert len(encoded) == (value.bit_length() + 7) // 8
    with pytest.raises(WireError):
        tlv.decode_tu(b"\0" + encoded, max_bytes)


@pytest.mark.parametrize(("value", "max_bytes"), [(2**32, tlv.TU32_BYTES), (2**64, tlv.TU64_BYTES), (-1, 4)])
def test_truncated_integer_out_of_range(value: int, max_bytes: int) -> None:
    with pytest.raises(WireError):
        tlv.encode_tu(value, max_bytes)


def test_truncated_integer_too_long() -> None:
    with pytest.raises(WireError, match="tu32"):
        tlv.decode_tu(b"\1\0\0\0\0", tlv.TU32_BYTES)
