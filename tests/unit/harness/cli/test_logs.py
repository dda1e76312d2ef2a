"""What a container printed reaches a terminal to the letter only, and a program byte by byte."""

import io
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from asyncpay.terminal import REPLACEMENT, SafeConsole
from harness.cli import nodes
from harness.cli.main import app
from harness.testbed import Testbed

MORE = b"2026-11-27T16:00:01Z \x1b[2Jmore"
PRINTED = b"2026-11-27T16:00:00Z \x1b]0;title\x07 alias \x1b[2J\xff\n"


class Logging:
    """Prints a line, and while it is followed one more, until Ctrl-C."""

    def logs(self, service: str, tail: int | None) -> bytes:
        return PRINTED

    def follow_logs(self, service: str, tail: int | None) -> Iterator[bytes]:
        yield PRINTED
        yield MORE
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def attached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Testbed, "attach", classmethod(lambda cls, which: Logging()))


def test_on_a_terminal_nothing_is_acted_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(nodes, "out", SafeConsole(file=shown))
    nodes.logs("A")
    assert "\x1b" not in shown.getvalue()
    assert f"{REPLACEMENT}[2J" in shown.getvalue()


def test_a_program_gets_every_byte() -> None:
    assert CliRunner().invoke(app, ["logs", "A"]).stdout_bytes == PRINTED


def test_followed_it_is_line_by_line_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = CliRunner().invoke(app, ["logs", "A", "--follow", "--tail", "1"])
    assert followed.stdout_bytes == PRINTED + MORE
    assert followed.exit_code == 130
    assert "Traceback" not in followed.output
    shown = io.StringIO()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(nodes, "out", SafeConsole(file=shown))
    with pytest.raises(typer.Exit):
        nodes.logs("A", follow=True)
    assert "\x1b" not in shown.getvalue()
    assert shown.getvalue().endswith("more")
