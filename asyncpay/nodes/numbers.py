"""Ranges of the numbers that a node reports. Most were chosen by others: a peer, or the maker of an invoice.

Every adapter passes what it reads through one of these, so that what is behind it can be stored, added and compared.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from asyncpay.amounts import MAX_MSAT
from asyncpay.nodes.base import NodeError


class OutOfRangeError(NodeError):
    """A number that a node reports is none that there can be; the text names it and its range."""


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `least` to `most`, both included. Call it with a value to have that checked."""

    name: str
    least: int
    most: int

    def __call__(self, value: object) -> int:
        """Return the value if it is one of these; OutOfRangeError."""
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return int(value)
        shown = hex(value) if isinstance(value, int) else repr(value)[:50]
        raise OutOfRangeError(f"{self.name} {shown:.50} is out of range: {self.least} to {self.most}")


AMOUNT_MSAT = Range("amount in msat", 0, MAX_MSAT)
HEIGHT = Range("block height", 0, 2**32 - 1)
"""Of blocks and of absolute expiries (BOLT 2: u32)."""
HTLC_ID = Range("HTLC id", 0, 2**64 - 1)
"""BOLT 2: u64, chosen by the peer."""
UNIX_TIME = Range("Unix time", 0, 253_402_300_799)
"""Until the end of the year 9999, the last that calendars write."""
FINAL_CLTV_BLOCKS = Range("min_final_cltv_expiry", 0, 2016)
"""No node locks an HTLC for more, so an invoice that asks for more cannot be paid."""
UNREADABLE = (OutOfRangeError, KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)
"""What reading something raises that is not as the node's documentation has it."""


def optional_amount(value: object) -> int | None:
    """Return an amount that may be left out; nodes write 0 or nothing then. OutOfRangeError."""
    return None if value is None or value == 0 else AMOUNT_MSAT(value)


def text(value: str) -> str:
    """Return other people's text without half surrogate pairs, which JSON can carry and no store takes."""
    return value.encode(errors="replace").decode()


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around the reading of a node's answer: one that is not as it should be becomes a NodeError."""
    try:
        yield
    except OutOfRangeError as error:
        raise NodeError(f"{what} cannot be used: {error}") from None
    except UNREADABLE as error:
        raise NodeError(f"{what} cannot be read: {error!r}") from error
