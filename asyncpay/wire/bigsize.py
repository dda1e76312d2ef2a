"""BigSize, BOLT 1's variable-length integer: 1, 3, 5 or 9 bytes, big-endian, always the shortest form."""

from asyncpay.wire.errors import WireError

MAX = 2**64 - 1

# First byte -> (bytes that follow it, smallest value for which this form is the shortest).
_LONG_FORMS = {0xFD: (2, 0xFD), 0xFE: (4, 2**16), 0xFF: (8, 2**32)}


def encode(value: int) -> bytes:
    """Encode 0..2^64-1; WireError for anything else."""
    if not 0 <= value <= MAX:
        raise WireError(f"{value} does not fit a BigSize (0 to 2^64-1)")
    for prefix in (0xFF, 0xFE, 0xFD):
        width, smallest = _LONG_FORMS[prefix]
        if value >= smallest:
            return bytes([prefix]) + value.to_bytes(width, "big")
    return bytes([value])


def decode(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Read one BigSize at `offset`; return it with the offset after it.

    WireError if it is truncated or not in its shortest form.
    """
    if offset >= len(data):
        raise WireError(f"a BigSize is expected at byte {offset}, where the data ends")
    first = data[offset]
    if first not in _LONG_FORMS:
        return first, offset + 1
    width, smallest = _LONG_FORMS[first]
    end = offset + 1 + width
    if end > len(data):
        raise WireError(f"the BigSize at byte {offset} is truncated: {width} bytes expected after the first")
    value = int.from_bytes(data[offset + 1 : end], "big")
    if value < smallest:
        raise WireError(f"the BigSize at byte {offset} is not minimal: {value} written in {width + 1} bytes")
    return value, end
