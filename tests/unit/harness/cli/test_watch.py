"""`testbed status --watch` looks again and again, also while a node is down, and ends with Ctrl-C or the testbed."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.checks import status
from harness.checks.status import NodeStatus, Status
from harness.cli.main import app
from harness.errors import TestbedError
from harness.testbed import Testbed


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The heights that are seen one after the other; then Ctrl-C is pressed."""
    heights = [101, 102, 103]

    def look(_: object) -> Status:
        if not heights:
            raise KeyboardInterrupt
        node = NodeStatus("A", "payer", "lnd", "exited", problem="its container is exited")
        return Status("line", "line", heights.pop(0), True, [node], [], [], [])

    def attach(_: type, which: str | None) -> Any:
        return None

    monkeypatch.setattr(Testbed, "attach", classmethod(attach))
    monkeypatch.setattr(status, "look", look)
    monkeypatch.setattr("harness.cli.nodes.time.sleep", lambda seconds: None)
    return heights


def test_a_program_gets_a_line_for_each_look(looks: list[int]) -> None:
    done = CliRunner().invoke(app, ["status", "--watch", "--json"])
    assert done.exit_code == 130
    assert [json.loads(line)["height_blocks"] for line in done.stdout.splitlines()] == [101, 102, 103]


def test_elsewhere_than_on_a_terminal_the_tables_are_below_each_other(looks: list[int]) -> None:
    done = CliRunner().invoke(app, ["status", "--watch", "--interval", "1"])
    assert done.exit_code == 130
    assert [f"block {height}" in done.stdout for height in (101, 102, 103)] == [True] * 3


def test_a_testbed_that_is_removed_ends_it_with_a_sentence(looks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> Status:
        raise TestbedError("testbed line is gone")

    monkeypatch.setattr(status, "look", gone)
    done = CliRunner().invoke(app, ["status", "--watch"])
    assert (done.exit_code, "testbed line is gone" in done.stderr) == (2, True)


def test_without_it_there_is_one_look(looks: list[int]) -> None:
    assert CliRunner().invoke(app, ["status"]).exit_code == 0
    assert looks == [102, 103]
