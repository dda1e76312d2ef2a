"""The clock of the components: what another clock shows is believed once it has persisted, and time never leaps."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.engine.core import ClockRead, Put, StoredClock
from asyncpay.service.common.clock import (
    MAX_LEAP_SECONDS,
    MAX_UNIX_SECONDS,
    PERSIST_SECONDS,
    TOLERANCE_SECONDS,
    SteadyClock,
)
from asyncpay.store import LspStore

START = 1_000_000.0
DAY = 86_400.0


class Machine:
    """Time passes; the system's clock shows it with an error.

    told: what the engine was told of Unix time. stored: the latest time in the store; kept: what it has of the clock.
    """

    def __init__(self, stored: float | None = None, error: float = 0) -> None:
        self.elapsed, self.error = 0.0, error
        self.stored = stored
        self.kept: StoredClock | None = None
        self.start()

    def start(self) -> None:
        self.told = ClockRead(0, 0)
        self.clock = SteadyClock(
            self.stored, self.kept, lambda: START + self.elapsed + self.error, lambda: 77 + self.elapsed
        )

    def sleep(self, seconds: float) -> ClockRead | None:
        self.elapsed += seconds
        read = self.clock.read()
        self.told = read or self.told
        if (unstored := self.clock.unstored) is not None:
            self.clock.mark_stored(unstored)
            self.kept = unstored
        return read

    def store(self) -> None:
        """The engine has decided something, and that is stored."""
        self.sleep(0)
        self.stored = self.clock.now()

    def restart(self, down_seconds: float, error: float) -> None:
        """The process is killed, and begins again; meanwhile the system's clock was set."""
        self.elapsed += down_seconds
        self.error = error
        self.start()
        self.store()

    @property
    def late_seconds(self) -> float:
        """By how much the earliest Unix time that it can be is behind the true one."""
        return START + self.elapsed - self.clock.now() - self.told.earliest_offset_seconds


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


# --- restarts ---


@pytest.mark.parametrize("error", [3600.0, -3600.0, DAY - 3600, 15 * DAY, -400 * DAY])
@pytest.mark.parametrize("restarts", [1, 2, 5])
def test_a_clock_that_is_wrong_over_many_restarts_is_not_believed(error: float, restarts: int) -> None:
    machine = Machine()
    machine.store()
    machine.restart(1, error)
    for _ in range(restarts):
        machine.sleep(20)
        machine.store()
        machine.restart(1, error)
    assert machine.clock.in_doubt
    assert machine.late_seconds >= 0
    machine.error = 0
    machine.sleep(PERSIST_SECONDS)
    machine.sleep(PERSIST_SECONDS)
    assert -1 <= machine.late_seconds <= TOLERANCE_SECONDS + 1


@pytest.mark.parametrize("error", [3600.0, -3600.0, 400 * DAY])
def test_what_was_believed_is_believed_after_a_restart(error: float) -> None:
    """The engine's time is not Unix time, because the clock was wrong at the first start."""
    machine = Machine(error=error)
    machine.store()
    machine.error = 0
    machine.sleep(1)
    machine.sleep(PERSIST_SECONDS)
    machine.store()
    machine.restart(1, 0)
    assert not machine.clock.in_doubt
    assert abs(machine.late_seconds) <= 1


def test_time_without_a_process_counts_by_a_clock_that_stays_wrong() -> None:
    machine = Machine()
    machine.store()
    machine.error = 400 * DAY
    machine.store()
    machine.restart(3600, 400 * DAY)
    assert machine.clock.now() == START + 3600
    assert machine.told == ClockRead(-3600, 400 * 86_400)


def test_time_that_did_not_count_at_a_start_does_not_count_at_the_next() -> None:
    """The clock was far ahead at the first, and was put right since: no pause of the engine has become shorter."""
    machine = Machine()
    machine.store()
    machine.restart(400, 2 * DAY)
    machine.sleep(60)
    machine.error = 0
    machine.sleep(60)
    machine.store()
    machine.restart(1, 0)
    assert machine.clock.now() == START + 121


@pytest.mark.parametrize("error", [-3600.0, 3600.0, 400 * DAY])
def test_a_clock_put_right_while_no_process_ran_makes_no_time_pass(error: float) -> None:
    machine = Machine()
    machine.store()
    machine.error = error
    machine.store()
    machine.restart(60, 0)
    assert START <= machine.clock.now() <= START + 60


_ERRORS = st.sampled_from([0.0, 3600.0, -3600.0, 5000.0, DAY, -DAY, 15 * DAY, -400 * DAY, 400 * DAY])
_STEPS = st.one_of(
    st.tuples(st.just("sleep"), st.floats(0, 4000), st.just(0.0)),
    st.tuples(st.just("set"), st.floats(0, 30), _ERRORS),
    st.tuples(st.just("store"), st.floats(0, 30), st.just(0.0)),
    st.tuples(st.just("restart"), st.floats(0, 120), _ERRORS),
)


@given(st.lists(_STEPS, max_size=30))
def test_no_history_makes_unix_time_early(steps: list[tuple[str, float, float]]) -> None:
    """As long as the clock is right from time to time: each time that it is wrong ends before it is to be believed."""
    machine = Machine()
    machine.store()
    wrong_seconds = 0.0

    def put_right_in_time(seconds: float) -> None:
        nonlocal wrong_seconds
        wrong_seconds = wrong_seconds + seconds if machine.error else 0.0
        if wrong_seconds >= PERSIST_SECONDS - 20:
            machine.error, wrong_seconds = 0.0, 0.0
            machine.sleep(0)

    for action, seconds, error in steps:
        put_right_in_time(seconds)
        match action:
            case "sleep" | "set" | "store":
                while seconds > 0:
                    machine.sleep(min(10.0, seconds))
                    seconds -= 10.0
                if action == "set":
                    machine.error = error
                    machine.sleep(0)
                elif action == "store":
                    machine.store()
            case "restart":
                before = machine.clock.now(), machine.error
                machine.restart(seconds, error)
                if error <= before[1]:
                    assert machine.clock.now() - before[0] <= seconds + TOLERANCE_SECONDS
        assert machine.late_seconds >= -TOLERANCE_SECONDS


@pytest.mark.parametrize("shown", [1e12, 1e300, -1e300])
def test_a_reading_beyond_what_can_be_stored_is_cut(shown: float, tmp_path: Path) -> None:
    """An LSP that stored it as it is would call its own file damaged at the next start."""
    clock = SteadyClock(START, None, lambda: shown, lambda: 0.0)
    clock.read()
    unstored = clock.unstored
    assert unstored is not None
    assert -START <= unstored.shown_offset_seconds <= MAX_UNIX_SECONDS
    with LspStore(tmp_path / "lsp.sqlite") as store:
        store.commit([Put(unstored)])
        assert store.clock() == unstored
