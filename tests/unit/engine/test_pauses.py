"""Pauses double, but neither beyond their limit nor beyond what a float holds."""

import pytest

from asyncpay.engine.pauses import doubled


@pytest.mark.parametrize(
    ("times", "pause"), [(0, 5.0), (1, 10.0), (2, 20.0), (6, 320.0), (7, 600.0), (1024, 600.0), (10**6, 600.0)]
)
def test_doubled(times: int, pause: float) -> None:
    assert doubled(5.0, 600.0, times) == pause


def test_a_pause_of_nothing_stays_nothing() -> None:
    assert doubled(0.0, 600.0, 10**6) == 0.0
