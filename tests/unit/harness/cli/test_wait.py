"""`testbed wait`: its exit code says whether the predicate holds, and what was last seen if it does not."""

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from asyncpay.engine.payer.states import State
from harness.cli import wait
from harness.cli.main import app
from harness.errors import NodeError, TestbedError
from harness.testbed import Testbed
from harness.waits import Predicate

HASH = "ab" * 32
runner = CliRunner()


class Scripted:
    """A testbed at block 7, whose phone A has no payment; no node answers."""

    def at_height(self, height_blocks: int) -> Predicate:
        return Predicate("at_height", lambda: None if height_blocks <= 7 else f"A is at block 7 of {height_blocks}")

    def __getitem__(self, name: str) -> Any:
        if name != "A":
            raise TestbedError(f"testbed x has no node {name} (nodes: A)")
        return self

    def missing_to_be_ready(self) -> str | None:
        raise NodeError("A cannot be reached: \x1b]0;title\x07")

    @property
    def name(self) -> str:
        return "A"


@pytest.fixture(autouse=True)
def attached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Testbed, "attach", classmethod(lambda cls, which: Scripted()))


def test_it_holds() -> None:
    done = runner.invoke(app, ["wait", "at-height", "7"])
    assert done.exit_code == 0
    assert re.fullmatch(r"at-height holds after \d+\.\d s\n", done.stdout)
    told = json.loads(runner.invoke(app, ["wait", "at-height", "7", "--json"]).stdout)
    assert (told["predicate"], told["holds"], told["last_seen"]) == ("at-height", True, None)


def test_it_does_not_hold_in_time() -> None:
    done = runner.invoke(app, ["wait", "at-height", "8", "--timeout", "0.01"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "at-height not reached in 0.01 s; last seen: A is at block 7 of 8" in done.stderr
    done = runner.invoke(app, ["wait", "at-height", "8", "--timeout", "0", "--json"])
    assert (done.exit_code, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["holds"], told["last_seen"]) == (False, "A is at block 7 of 8")


def test_a_node_that_does_not_answer_is_waited_for_and_told_to_the_letter() -> None:
    done = runner.invoke(app, ["wait", "ready", "A", "--timeout", "0"])
    assert done.exit_code == 1
    assert "A cannot be reached" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ready", "C"], "has no node C (nodes: A)"),
        (["payment-gone", "abc"], "'abc' is not a payment hash: use 64 hex digits"),
        (["wallet-payment", "A", HASH, "gone"], "'gone' is not a payment state. Choose from: requested, "),
        (["at-height", "-1"], "No such option: -1"),
        (["rain"], "No such command 'rain'"),
        (["at-height", "7", "--timeout", "nan"], "--timeout"),
    ],
)
def test_a_mistake_is_no_time_out(arguments: list[str], said: str) -> None:
    done = runner.invoke(app, ["wait", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_all_states_of_a_payment_can_be_waited_for() -> None:
    assert set(wait.PAYMENT_STATES) == {state.value for state in State}


def test_each_predicate_explains_itself_and_has_the_same_options() -> None:
    names = [command.name or command.callback.__name__.replace("_", "-") for command in wait.app.registered_commands]  # type: ignore[union-attr]
    listed = runner.invoke(app, ["wait", "--help"]).stdout
    assert len(names) >= 14
    for name in names:
        assert name in listed
        helped = runner.invoke(app, ["wait", name, "--help"])
        assert helped.exit_code == 0
        assert all(option in helped.stdout for option in ("--timeout", "--json", "--testbed")), name
