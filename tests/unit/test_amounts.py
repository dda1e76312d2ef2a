"""Amounts as people write them."""

import pytest

from asyncpay.amounts import AmountError, parse_msat, show_sat


@pytest.mark.parametrize(
    ("text", "msat"),
    [("1000sat", 1_000_000), ("1 sat", 1_000), ("1500msat", 1_500), ("0.01btc", 10**9), ("1.5sat", 1_500)],
)
def test_parse(text: str, msat: int) -> None:
    assert parse_msat(text) == msat


@pytest.mark.parametrize("text", ["", "10", "sat", "-1sat", "0sat", "1.5msat", "1e3sat", "ten sat"])
def test_refuse(text: str) -> None:
    with pytest.raises(AmountError, match="is no"):
        parse_msat(text)


@pytest.mark.parametrize(("msat", "text"), [(0, "0 sat"), (1_234_567_000, "1 234 567 sat"), (1_001, "1.001 sat")])
def test_show(msat: int, text: str) -> None:
    assert show_sat(msat) == text
