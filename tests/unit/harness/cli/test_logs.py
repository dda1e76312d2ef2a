"""What a container printed reaches a terminal to the letter only, and a program byte by byte."""

import io
import sys

import pytest
from typer.testing import CliRunner

from asyncpay.terminal import REPLACEMENT, SafeConsole
from harness.cli import nodes
from harness.cli.main import app
from harness.testbed import Testbed

PRINTED = b"2026-11-27T16:00:00Z \x1b]0;title\x07 alias \x1b[2J\xff\n"


class Logging:
    def logs(self, service: str, tail: int | None) -> bytes:
        return PRINTED


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
