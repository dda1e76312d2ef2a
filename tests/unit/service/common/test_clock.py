"""The clock of the components: what another clock shows is believed once it has persisted, and time never leaps."""

import pytest

from asyncpay.engine.core import ClockRead
from asyncpay.service.common.clock import MAX_LEAP_SECONDS, PERSIST_SECONDS, SteadyClock

START = 1_000_000.0
DAY = 86_400.0


class Machine:
    """Time passes; the system's clock shows it with an error."""

    def __init__(self, stored: float | None = None, error: float = 0) -> None:
        self.elapsed, self.error = 0.0, error
        self.clock = SteadyClock(stored, lambda: START + self.elapsed + self.error, lambda: 77 + self.elapsed)

    def sleep(self, seconds: float) -> ClockRead | None:
        self.elapsed += seconds
        return self.clock.read()


def test_the_time_is_that_of_the_system_from_its_start_on() -> None:
    machine = Machine()
    assert machine.clock.now() == START
    assert machine.sleep(10) is None
    assert machine.clock.now() == START + 10


@pytest.mark.parametrize("error", [DAY, -DAY, 15 * DAY, 3.0])
def test_time_goes_on_evenly_whatever_the_system_shows(error: float) -> None:
    machine = Machine()
    machine.error = error
    for _ in range(100):
        machine.sleep(10)
    assert machine.clock.now() == START + 1000


@pytest.mark.parametrize("error", [DAY, -DAY])
def test_unix_time_is_in_doubt_until_a_reading_has_persisted(error: float) -> None:
    machine = Machine()
    machine.error = error
    assert machine.sleep(1) == ClockRead(int(min(error, 0)), int(max(error, 0)))
    assert machine.sleep(PERSIST_SECONDS - 1) is None
    assert machine.sleep(1) == ClockRead(int(error), int(error))


def test_one_wild_reading_leaves_nothing_behind() -> None:
    machine = Machine()
    machine.error = 15 * DAY
    machine.sleep(1)
    machine.error = 0
    assert machine.sleep(1) == ClockRead(0, 0)


def test_readings_that_keep_changing_are_never_believed() -> None:
    machine = Machine()
    for number in range(1, 100):
        machine.error = 100.0 * number
        machine.sleep(60)
    assert machine.sleep(0) is None
    assert machine.clock.read() is None
    machine.error = 0
    assert machine.sleep(1) == ClockRead(0, 0)


@pytest.mark.parametrize("stored", [START + 5 * DAY, START - MAX_LEAP_SECONDS - 15 * DAY])
def test_a_start_with_another_time_than_the_store_bears_witness_of_is_in_doubt(stored: float) -> None:
    """The clock was set back while nothing ran, or is far ahead: timers go on where they were."""
    machine = Machine(stored)
    begun = machine.clock.now()
    assert begun == stored
    offset = int(START - begun)
    assert machine.sleep(0) == ClockRead(min(offset, 0), max(offset, 0))
    assert machine.sleep(PERSIST_SECONDS) == ClockRead(offset, offset)


def test_a_process_that_was_down_for_less_than_a_day_begins_with_the_systems_time_and_doubts_it() -> None:
    machine = Machine(START - 3600)
    assert machine.clock.now() == START
    assert machine.sleep(0) == ClockRead(-3600, 0)
    assert machine.sleep(PERSIST_SECONDS) == ClockRead(0, 0)


@pytest.mark.parametrize("down_seconds", [3600, 3 * 86_400])
def test_the_likeliest_time_at_a_start_is_what_the_system_shows(down_seconds: int) -> None:
    machine = Machine(START - down_seconds)
    assert machine.clock.unix() == START
    machine.sleep(0)
    machine.error = 15 * DAY  # one wild reading
    machine.sleep(1)
    assert machine.clock.unix() == START + 1


def test_a_process_that_was_down_for_a_moment_doubts_nothing() -> None:
    machine = Machine(START - 1)
    assert machine.sleep(0) is None
    assert machine.clock.now() == START
