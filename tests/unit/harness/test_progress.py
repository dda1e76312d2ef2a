"""The bar of a long operation, and its lines where no bar is shown."""

import io

import pytest

from asyncpay.terminal import SafeConsole
from harness import progress
from harness.progress import bar, one_operation, time_left


def shown(terminal: bool) -> str:
    """Return the output of an operation of four parts, three of which are done."""
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=terminal, width=120)
    with bar(console, 4) as advance:
        for done in (1, 2, 3):
            advance(done, "[red]cell\x1b[2J")
    return file.getvalue()


def test_a_terminal_shows_how_much_is_done_and_an_estimate_of_the_time_left() -> None:
    told = shown(terminal=True)
    assert "3/4" in told
    assert "left:" in told
    assert "0:00:00" in told.partition("left:")[2], "the time left is known after two parts"


def test_a_description_is_literal() -> None:
    told = shown(terminal=True)
    assert "[red]cell" in told
    assert "\x1b[2J" not in told


def test_a_file_gets_no_bar() -> None:
    assert "left:" not in shown(terminal=False)


# --- operations whose parts cannot be counted ---


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0)


def one_shown(terminal: bool, last_seconds: float | None) -> tuple[str, list[str]]:
    """Return the output of an operation that has just begun, and its lines."""
    file, lines = io.StringIO(), list[str]()
    console = SafeConsole(file=file, force_terminal=terminal, width=140)
    with one_operation(console, "lnd", last_seconds, lines.append) as step:
        step("[red]compiling\x1b[2J")
    return file.getvalue(), lines


def test_a_terminal_shows_the_time_left_and_the_current_step() -> None:
    told, lines = one_shown(terminal=True, last_seconds=300)
    assert "about 300 s left" in told
    assert "lnd: [red]compiling" in told
    assert "\x1b[2J" not in told
    assert lines == []


@pytest.mark.usefixtures("at_every_step")
def test_a_file_gets_lines_with_the_estimate_and_no_bar() -> None:
    told, (line,) = one_shown(terminal=False, last_seconds=300)
    assert told == ""
    assert line == "lnd: 0 s, about 300 s left, now at [red]compiling\x1b[2J"


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize("terminal", [True, False])
def test_an_operation_that_was_never_run_has_no_estimate(terminal: bool) -> None:
    told, lines = one_shown(terminal, last_seconds=None)
    assert "left" not in told
    assert lines == ([] if terminal else ["lnd: 0 s, now at [red]compiling\x1b[2J"])


def test_an_operation_that_takes_longer_than_the_last_time_is_not_said_to_end_soon() -> None:
    assert time_left(100, 40) == "about 60 s left"
    assert time_left(100, 99.5) == "about 1 s left"
    assert time_left(100, 130) == "longer than the last time (100 s)"
