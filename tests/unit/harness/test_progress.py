"""The bar of a long operation."""

import io

from asyncpay.terminal import SafeConsole
from harness.progress import bar


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
