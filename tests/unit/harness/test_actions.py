"""What the testbed did is written down: by whom it was done, once, and never at the cost of doing it."""

import json
from pathlib import Path

import pytest

from harness.actions import ACTIONS, ActionLog, recorded_of_service, recorded_verb


class Thing:
    def __init__(self, folder: Path) -> None:
        self.name = "A"
        self.actions = ActionLog(folder / "compose.yaml")

    @recorded_verb
    def disconnect(self, how: str = "gently") -> str:
        return how

    @recorded_verb
    def restore(self) -> None:
        self.disconnect()

    @recorded_of_service
    def kill(self, service: str) -> None:
        raise RuntimeError(f"{service} cannot be killed")


@pytest.fixture
def thing(tmp_path: Path) -> Thing:
    (tmp_path / "compose.yaml").touch()
    return Thing(tmp_path)


def lines(thing: Thing) -> list[dict[str, object]]:
    said = [json.loads(line) for line in thing.actions.read().splitlines()]
    assert all(line.pop("time") > 1_700_000_000 for line in said)
    return said


def test_a_verb_is_written_down_with_its_arguments(thing: Thing) -> None:
    assert thing.disconnect("at once") == "at once"
    assert lines(thing) == [{"what": "disconnect", "target": "A", "arguments": ["at once"]}]


def test_what_a_verb_does_to_carry_itself_out_is_part_of_it(thing: Thing) -> None:
    thing.restore()
    thing.disconnect()
    assert [line["what"] for line in lines(thing)] == ["restore", "disconnect"]


def test_one_that_fails_is_written_down_with_the_reason_and_still_fails(thing: Thing) -> None:
    with pytest.raises(RuntimeError):
        thing.kill("LSP_a-lsp")
    assert lines(thing) == [
        {"what": "kill", "target": "LSP_a-lsp"},
        {"what": "kill failed", "target": "LSP_a-lsp", "because": "LSP_a-lsp cannot be killed"},
    ]


def test_without_a_testbeds_folder_nothing_is_written_and_the_action_is_done(tmp_path: Path) -> None:
    thing = Thing(tmp_path)
    assert thing.disconnect() == "gently"
    assert list(tmp_path.iterdir()) == []
    assert thing.actions.read() == b""


def test_an_unwritable_file_does_not_keep_the_action_from_being_done(thing: Thing, tmp_path: Path) -> None:
    (tmp_path / ACTIONS).mkdir()
    assert thing.disconnect() == "gently"
