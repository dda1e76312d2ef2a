"""The wallet's command line: what it shows and takes, and whose configuration it was given."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asyncpay.cli import app
from asyncpay.service.common import control
from asyncpay.service.common.control import Progress

HASH = "0123456789abcdef" * 4
PAYMENT = {
    "payment_hash": HASH,
    "state": "handed over",
    "amount_msat": 123_456_789,
    "fee_msat": 1_001,
    "description": "a long description that takes all the room there is",
    "cancelled": False,
    "outcome_unsure_until": None,
    "created_at": 0,
    "ended_at": None,
}


@contextmanager
def running(folder: Path, component: str, answers: Mapping[str, Any]) -> Iterator[Path]:
    """A component that gives these answers; the path of its configuration."""
    asked: dict[str, Any] = {}
    config = folder / "config.toml"
    store = folder / "store.sqlite"
    config.write_text(f'[node]\nimplementation = "cln"\nrpc_file = "nowhere"\n[store]\npath = "{store}"\n')

    def verb(name: str) -> Any:
        async def answer(said: Mapping[str, Any], _: Progress) -> Any:
            asked[name] = said
            return answers[name]

        return answer

    async def serve() -> None:
        async with control.serving(folder / "store.sqlite.sock", {name: verb(name) for name in answers}, component):
            listening.set()
            await asyncio.to_thread(over.wait)

    listening, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    listening.wait()
    try:
        yield config
    finally:
        over.set()
        thread.join()


def run(*arguments: str, columns: int = 80) -> Any:
    return CliRunner().invoke(app, list(arguments), env=os.environ | {"COLUMNS": str(columns)})


@pytest.mark.parametrize(
    ("runs", "command", "asked"), [("LSP", ["wallet", "status"], "wallet"), ("wallet", ["lsp", "status"], "LSP")]
)
def test_the_other_component_s_configuration(tmp_path: Path, runs: str, command: list[str], asked: str) -> None:
    with running(tmp_path, runs, {"status": {}}) as config:
        result = run(*command, "--config", str(config))
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    expected = f"the {runs} runs with this configuration, not the {asked}. Name the other configuration with --config."
    assert expected in " ".join(result.output.split())


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_payments_shows_of_a_payment_hash_is_what_cancel_takes(tmp_path: Path, columns: int) -> None:
    answers = {"payments": {"sent": [PAYMENT], "announced": []}, "cancel": PAYMENT}
    with running(tmp_path, "wallet", answers) as config:
        shown = run("wallet", "payments", "--config", str(config), columns=columns)
        (digits,) = [word for word in shown.output.split() if HASH.startswith(word) and len(word) >= 4]
        cancelled = run("wallet", "cancel", digits, "--config", str(config))
    assert cancelled.exit_code == 0
    assert f"cancel requested for {HASH}; it is handed over" in cancelled.output


@pytest.mark.parametrize("digits", ["", "012", "0123x", HASH + "0"])
def test_what_is_no_payment_hash(tmp_path: Path, digits: str) -> None:
    with running(tmp_path, "wallet", {"cancel": PAYMENT}) as config:
        result = run("wallet", "cancel", digits, "--config", str(config))
    assert result.exit_code == 2
    assert "is not a payment hash" in result.output


# --- what a question takes ---


def test_reconnect_hands_on_and_does_not_wait(tmp_path: Path) -> None:
    with running(tmp_path, "wallet", {"reconnect": {"connected": False}}) as config:
        result = run("wallet", "reconnect", "--config", str(config))
    assert (result.exit_code, result.stdout) == (0, "dialling the LSP\n")


def test_a_question_needs_neither_the_engines_nor_an_event_loop(tmp_path: Path) -> None:
    """Nor a check of the whole file: that was done when the wallet started."""
    code = (
        "import sys; from asyncpay.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "print(*{'asyncio', 'asyncpay.config', 'grpc', 'cryptography', 'sqlite3', 'pyln'} & set(sys.modules))"
    )
    with running(tmp_path, "wallet", {"reconnect": {"connected": True}}) as config:
        command = [sys.executable, "-c", code, "wallet", "reconnect", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "the LSP is connected\n\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[store", "config.toml is not TOML"),
        ("[node]", "store: is missing"),
        ("[store]\npath = 3", "store.path: Input is not a valid path"),
        ('[store]\npath = "x.sqlite"', "node: is missing"),
    ],
)
def test_a_file_that_no_wallet_has_started_with_is_checked_whole(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    result = run("wallet", "status", "--config", str(tmp_path / "config.toml"), columns=200)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_wallet_that_was_killed_is_said_not_to_answer(tmp_path: Path) -> None:
    with running(tmp_path, "wallet", {}) as config:
        pass
    assert (tmp_path / "store.sqlite.sock").is_socket(), "it is left, as SIGKILL leaves it"
    result = run("wallet", "status", "--config", str(config), columns=200)
    assert result.exit_code == 1
    assert "nothing answers at" in " ".join(result.output.split())
