"""The command line `asyncpay lsp`: its help, and its answers to invalid calls."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asyncpay.cli import app

runner = CliRunner()


def test_the_version_is_that_of_the_distribution() -> None:
    done = runner.invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"asyncpay {version('asyncpay')}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_lsp_says_that_it_runs_the_lsp(option: str) -> None:
    done = runner.invoke(app, ["lsp", option])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.output)
    assert done.exit_code == 0
    assert "lsp [OPTIONS] [COMMAND]" in shown
    assert "Without a command: run the LSP" in shown


def test_a_missing_file_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    done = runner.invoke(app, ["lsp", "--config", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert "none.toml cannot be read: No such file or directory" in done.stderr
    assert "--config or ASYNCPAY_LSP_CONFIG" in done.stderr


@pytest.mark.parametrize(
    ("event", "said"), [("helt", "did you mean held?"), ("x", "choose from: LSP not reached, LSPS0 answer not sent, ")]
)
def test_an_unknown_event_is_an_error_that_names_the_events(event: str, said: str) -> None:
    done = runner.invoke(app, ["lsp", "follow", "--event", event])
    assert done.exit_code == 2
    assert f"--event {event}: there is no such event; {said}" in done.stderr
