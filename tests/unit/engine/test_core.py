"""Pauses that double, deadlines in their order, and Unix time as an interval."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.engine.core import ClockRead, Tick, UnixTime, backoff_seconds
from asyncpay.engine.indexes import Deadlines


@pytest.mark.parametrize(
    ("times", "pause"), [(0, 5.0), (1, 10.0), (2, 20.0), (6, 320.0), (7, 600.0), (1024, 600.0), (10**6, 600.0)]
)
def test_backoff_doubles_up_to_its_limit_and_never_beyond_what_a_float_holds(times: int, pause: float) -> None:
    assert backoff_seconds(5.0, 600.0, times) == pause


def test_a_pause_of_nothing_stays_nothing() -> None:
    assert backoff_seconds(0.0, 600.0, 10**6) == 0.0


def test_deadlines_are_due_in_their_order_and_not_before() -> None:
    deadlines: Deadlines[bytes] = Deadlines()
    assert deadlines.first == math.inf
    for key, at in ((b"c", 30), (b"a", 10), (b"b", 20.5), (b"never", math.inf)):
        deadlines.set(key, at)
    assert len(deadlines) == 3
    assert deadlines.first == 10
    assert deadlines.due(9) == []
    assert deadlines.due(20.5) == [b"a", b"b"]
    deadlines.set(b"a", 40)
    deadlines.discard(b"b")
    deadlines.discard(b"unknown")
    assert deadlines.due(100) == [b"c", b"a"]
    assert deadlines.due(100, 1) == [b"c"]
    assert (deadlines.earliest, deadlines.get(b"a"), deadlines.get(b"b")) == (b"c", 40, math.inf)
    deadlines.clear()
    assert (deadlines.earliest, deadlines.first, len(deadlines)) == (None, math.inf, 0)


def test_keys_of_deadlines_need_no_order() -> None:
    deadlines: Deadlines[object] = Deadlines()
    keys = [object() for _ in range(10)]
    for key in keys:
        deadlines.set(key, 5)
    deadlines.discard(keys[3])
    assert deadlines.due(5) == [*keys[:3], *keys[4:]]


KEYS = st.integers(0, 5)
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 10) | st.just(math.inf)))


@given(CHANGES, st.integers(0, 10))
def test_deadlines_agree_with_a_plain_dictionary(changes: list[tuple[int, float | None]], reached: int) -> None:
    deadlines: Deadlines[int] = Deadlines()
    plain: dict[int, float] = {}
    for key, at in changes:
        if at is None:
            deadlines.discard(key)
            plain.pop(key, None)
        else:
            deadlines.set(key, at)
            plain[key] = at
    assert deadlines.first == min(plain.values(), default=math.inf)
    assert sorted(deadlines.due(reached)) == sorted(key for key, at in plain.items() if at <= reached)


@given(st.floats(1e9, 2e9), st.integers(-(10**6), 10**6), st.integers(0, 2 * 10**9))
def test_a_second_is_past_exactly_from_when_it_is_said_to_be(now: float, offset: int, second: int) -> None:
    unix = UnixTime()
    unix.advance(now, ClockRead(offset, offset + 5))
    assert unix.surely_past(second) == (math.floor(now + offset) > second)
    unix.advance(unix.past_at(second), Tick())
    assert unix.surely_past(second)
    assert not unix.surely_past(second + 1)
