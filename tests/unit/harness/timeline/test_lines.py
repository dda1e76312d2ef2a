"""The times of lines whose process has a clock of its own."""

import pytest

from harness.timeline.lines import MOST_LAG_SECONDS, Clock, Moment


def test_a_line_that_is_received_late_was_written_when_the_other_lines_say() -> None:
    clock = Clock()
    written = [
        clock.moment(own_time, stamp)
        for own_time, stamp in ((4_000, 400.25), (4_001, 402), (4_002, 402), (4_003, 403.5))
    ]
    assert [moment.time for moment in written] == [400.25, 401.25, 402, 403], "the third one was received without delay"
    assert [moment.offset_seconds for moment in written] == [3599.75, 3599, 3600, 3599.5]


@pytest.mark.parametrize("speed", [0.1, 0.5, 2.0, 100.0])
def test_a_clock_of_another_speed_is_never_off_by_more_than_a_second(speed: float) -> None:
    clock = Clock()
    for second in range(1, 1_000):
        told = clock.moment(1e6 + speed * second, float(second))
        assert 0 <= second - told.time <= 1.0


def test_a_clock_that_is_set_is_followed() -> None:
    clock = Clock()
    for own_time, stamp in ((9_000.0, 10.0), (11.0, 11.0), (500.0, 12.0), (9_003.0, 13.0)):
        assert clock.moment(own_time, stamp).time == stamp


def test_the_machines_own_clock_is_used_as_it_is() -> None:
    clock = Clock()
    assert clock.moment(10.0, 10.0 + MOST_LAG_SECONDS) == Moment(10.0)
    assert clock.moment(None, 7.0) == Moment(7.0)
