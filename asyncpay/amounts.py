"""Parsing and formatting of amounts for users."""

import re
from decimal import Decimal


class AmountError(ValueError):
    """The text is not a valid amount; the message says how to write one."""


MAX_MSAT = 21_000_000 * 100_000_000 * 1_000
"""The maximum supply of bitcoin."""
_MSAT_PER_UNIT = {"msat": 1, "sat": 1_000, "btc": 100_000_000_000}


def parse_msat(text: str) -> int:
    """Parse `1000sat`, `1500msat` or `0.01btc` to millisatoshi. AmountError for anything else, and for zero."""
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*(msat|sat|btc)", text.strip().lower())
    if not match:
        raise AmountError(f"{text!r} is not an amount; write it with its unit, like 1000sat, 1500msat or 0.01btc")
    msat = Decimal(match[1].replace("_", "")) * _MSAT_PER_UNIT[match[2]]
    if msat > MAX_MSAT:
        raise AmountError("the amount exceeds the supply of bitcoin; write 21000000btc or less")
    if msat != int(msat) or msat <= 0:
        raise AmountError(f"{text!r} is not a whole, positive number of millisatoshi")
    return int(msat)


def in_sat(msat: int) -> str:
    """Return millisatoshi as satoshi: `1 234`, with a fraction only where there is one."""
    whole, rest = divmod(msat, 1_000)
    return f"{whole:,}".replace(",", " ") + (f".{rest:03}" if rest else "")


def show_sat(msat: int) -> str:
    """Return millisatoshi as satoshi with the unit: `1 234 sat`."""
    return in_sat(msat) + " sat"
