"""How often a party may have something done."""

import pytest

from asyncpay.fair_shares import RateLimit


def test_a_burst_then_one_at_a_time_and_each_party_for_itself() -> None:
    now = [100.0]
    limit = RateLimit(3, 10, lambda: now[0])
    assert [limit.seconds_to_wait("a") for _ in range(5)] == [0, 0, 0, 10, 10]
    assert limit.seconds_to_wait("b") == 0
    now[0] += 4
    assert limit.seconds_to_wait("a") == pytest.approx(6)
    now[0] += 6
    assert [limit.seconds_to_wait("a") for _ in range(2)] == [0, pytest.approx(10)]
    now[0] += 1000
    assert [limit.seconds_to_wait("a") for _ in range(4)] == [0, 0, 0, 10]


def test_nothing_is_kept_of_parties_that_have_their_room_back() -> None:
    now = [100.0]
    limit = RateLimit(3, 10, lambda: now[0])
    for party in range(1000):
        limit.seconds_to_wait(party)
        now[0] += 1
    assert len(limit._full_at) <= 11
