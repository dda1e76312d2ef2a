"""Ranges of the numbers that a node reports. Most are chosen by others: by a peer, or by the creator of an invoice.

Every adapter checks the numbers that it reads with one of these, so that they can be stored, added and compared.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from asyncpay.amounts import MAX_MSAT
from asyncpay.nodes.base import NodeError


class OutOfRangeError(NodeError):
    """A number that a node reports is out of range; the text names the number and its range."""


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `least` to `most`, both included. Calling it checks a value."""

    name: str
    least: int
    most: int

    def __call__(self, value: object) -> int:
        """Return the value if it is in the range, or raise OutOfRangeError."""
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return int(value)
        shown = hex(value) if isinstance(value, int) else repr(value)[:50]
        raise OutOfRangeError(f"{self.name} {shown:.50} is out of range: {self.least} to {self.most}")


AMOUNT_MSAT = Range("amount in msat", 0, MAX_MSAT)
HEIGHT = Range("block height", 0, 2**32 - 1)
"""Heights of blocks and absolute expiries (BOLT 2: u32)."""
HTLC_ID = Range("HTLC id", 0, 2**64 - 1)
"""BOLT 2: u64, chosen by the peer."""
UNIX_TIME = Range("Unix time", 0, 253_402_300_799)
"""Until the end of the year 9999, the last one of Python's datetime."""
FINAL_CLTV_BLOCKS = Range("min_final_cltv_expiry", 0, 2016)
"""No node locks an HTLC for more blocks, so an invoice that requires more cannot be paid."""
UNREADABLE = (OutOfRangeError, KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)
"""The exceptions raised by reading an answer that does not match the node's documentation."""


def optional_amount(value: object) -> int | None:
    """Return an optional amount; nodes omit it or write 0 if there is none. Raises OutOfRangeError."""
    return None if value is None or value == 0 else AMOUNT_MSAT(value)


def text(value: str) -> str:
    """Return untrusted text without lone surrogates, which JSON can contain and the store cannot."""
    return value.encode(errors="replace").decode()


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the exceptions of reading an invalid answer of the node into NodeError, in this context."""
    try:
        yield
    except OutOfRangeError as error:
        raise NodeError(f"{what} cannot be used: {error}") from None
    except UNREADABLE as error:
        raise NodeError(f"{what} cannot be read: {error!r}") from error
