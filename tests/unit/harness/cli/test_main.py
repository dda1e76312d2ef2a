"""The `testbed` command without containers: exit codes, and sentences instead of tracebacks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import doctor
from harness.cli.main import app
from harness.errors import ImageUnavailableError
from harness.images import store

runner = CliRunner()


@pytest.fixture(autouse=True)
def no_testbeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "nowhere"], "nowhere: no such topology file"),
        (["up", "line", "--set", "LSP_a"], "--set LSP_a: write it as NODE=IMPLEMENTATION (lnd, "),
        (["up", "line", "--name", "No Good"], "'No Good' is not a valid name for a testbed"),
        (["status"], "no testbed is up; start one with `testbed up line`"),
        (["down", "--testbed", "x"], "there is no testbed named x (up: none)"),
        (["pay", "A", "B", "a lot"], "'a lot' is not an amount"),
        (["fund", "A", "10"], "'10' is not an amount"),
        (["open-channel", "A", "B", "100000500msat"], "it has a fraction of 500 msat"),
        (["close-channel", "A", "B"], "no testbed is up"),
    ],
)
def test_a_users_mistake_is_a_sentence_and_exit_code_2(arguments: list[str], said: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_home_that_does_not_exist_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", "--help"]
    for variable in ("TESTBED_STATE", "TESTBED_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME", "BCL_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/proc/nohome")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout
    assert runner.invoke(app, ["list"]).exit_code == 0
    assert "no testbed is up" in runner.invoke(app, ["status"]).stderr


def test_several_testbeds_want_a_choice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "compose.yaml").write_text("x-testbed: {}\n")
    assert runner.invoke(app, ["list"]).stdout.split() == ["one", "two"]
    assert json.loads(runner.invoke(app, ["list", "--json"]).stdout) == ["one", "two"]
    assert "choose one with --testbed (one, two)" in runner.invoke(app, ["status"]).stderr


def test_what_this_machine_cannot_run_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ensure(kinds: object, report: object) -> dict[str, str]:
        raise ImageUnavailableError("there is no image for cln; put lightningd on PATH")

    monkeypatch.setattr(store, "ensure", ensure)
    result = runner.invoke(app, ["up", "line-cln"])
    assert result.exit_code == 3
    assert "UNAVAILABLE there is no image for cln; put lightningd on PATH" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warning", 0), ("missing", 1)])
def test_doctors_exit_code(monkeypatch: pytest.MonkeyPatch, state: str, code: int) -> None:
    monkeypatch.setattr(doctor, "checks", lambda: [doctor.Check("it", doctor.State(state), "seen", "do this")])
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == code
    assert "do this" in result.stdout


COMMANDS = ["up", "status", "pay", "exec", "logs", "mine", "down", "doctor", "demo", "images", "pushes", "push-gateway"]
COMMANDS += ["stop", "start", "restart", "kill", "fund", "open-channel", "close-channel", "env"]
PHONE_VERBS = [
    "sleep",
    "wake",
    "freeze",
    "unfreeze",
    "disconnect",
    "reconnect",
    "blackhole",
    "latency",
    "bandwidth",
    "reset",
    "register",
]


@pytest.mark.parametrize(
    "command",
    [[name] for name in COMMANDS] + [["phone", "A", verb] for verb in (*PHONE_VERBS, "restore", "status")],
    ids=" ".join,
)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert re.search(r"\n +[A-Z].{20}", result.stdout)  # a sentence on what it does


@pytest.mark.parametrize("command", [[], ["up"], ["phone", "A", "sleep"], ["exec"]], ids=" ".join)
def test_help_has_a_short_name(command: list[str]) -> None:
    assert runner.invoke(app, [*command, "-h"]).stdout == runner.invoke(app, [*command, "--help"]).stdout != ""


def test_it_tells_its_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert re.fullmatch(r"testbed \d+\.\d+\.\d+\S*\n", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["A", "sleep"], "no testbed is up"),
        (["A", "latency", "300"], "'300' is not a delay: write it like 300ms or 0.5s"),
        (["A", "latency", "-1s"], "No such option: -1"),
        (["A", "latency", "0ms"], "'0ms' is not a delay"),
        (["A", "bandwidth", "0.5kB"], "'0.5kB' is not a rate"),
        (["A", "fly"], "No such command 'fly'"),
    ],
)
def test_a_mistake_about_a_phone_is_one_too(arguments: list[str], said: str) -> None:
    result = runner.invoke(app, ["phone", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
