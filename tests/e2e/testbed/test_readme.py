"""The commands of the README, in order, exactly as printed."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.checks import balances
from harness.testbed import Testbed

CHECKOUT = Path(__file__).parents[3]
COMMAND = re.compile(r"^    (\.venv/bin/testbed [^#\n]+)", re.MULTILINE)
ADDRESS = re.compile(r"http://\S+")
LONGEST_SECONDS = 300
"""Bound of a command; `up` and `demo` take most."""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A separate state folder, so that `up` without a name finds no other testbed; it is empty again afterwards."""
    own = {key: value for key, value in os.environ.items() if key != "TESTBED"} | {"TESTBED_STATE": str(tmp_path)}
    yield own
    for folder in tmp_path.iterdir():
        down = [".venv/bin/testbed", "down", "--testbed", folder.name]
        subprocess.run(down, cwd=CHECKOUT, env=own, timeout=LONGEST_SECONDS, check=False)


def test_every_command_of_the_readme_succeeds(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    commands = [shlex.split(command) for command in COMMAND.findall(readme)]
    verbs = [command[1] for command in commands]
    assert verbs[0] == "up"
    assert verbs.index("pay") < verbs.index("down")
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path))
    for command in commands:
        before = balances.count(Testbed.attach(None)) if command[1] == "pay" else None
        if command[1] == "ui":
            serve_until_ctrl_c(command, environment)
            continue
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
        assert done.returncode == 0, f"{shlex.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}"
        if before:
            assert balances.count(Testbed.attach(None)).moved_since(before)["B"] == 1_000_000  # 1000 sat, as it says
    assert list(tmp_path.iterdir()) == []


def serve_until_ctrl_c(command: list[str], environment: dict[str, str]) -> None:
    """Start a command that serves a page, read the page at the address that it prints, and interrupt it."""
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background begins without it
    ) as server:
        assert server.stdout is not None
        address = ADDRESS.search(server.stdout.readline())
        assert address is not None
        page = httpx.get(address[0], trust_env=False, timeout=LONGEST_SECONDS)
        assert page.status_code == 200
        assert "<html" in page.text
        server.send_signal(signal.SIGINT)
        assert server.wait(LONGEST_SECONDS) == 130
