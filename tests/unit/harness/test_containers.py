"""What a message quotes of a container's log."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.containers import LAST_LINES, Containers

OF_A_PHONE = b"""\
{"what": "node started"}
INFO lightningd: v26
lightningd: --bogus: unknown option
{"what": "node ended", "error": "exit code 1"}
{"what": "node started"}
INFO lightningd: v26
{"what": "the node is away"}
"""


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> Containers:
    made = Containers("testbed-x", Path("compose.yaml"))
    monkeypatch.setattr(made, "container", lambda _: SimpleNamespace(logs=lambda tail: OF_A_PHONE))
    return made


def test_the_last_words_of_a_phones_node_are_those_of_its_last_run(containers: Containers) -> None:
    quoted = containers.last_lines("A", before='"what": "node ended"')
    assert quoted.splitlines() == ["  INFO lightningd: v26", "  lightningd: --bogus: unknown option"]


def test_no_more_than_a_few_lines(containers: Containers) -> None:
    assert containers.last_lines("A").splitlines()[-1] == '  {"what": "the node is away"}'
    many = SimpleNamespace(logs=lambda tail: b"line\n" * 100)
    containers.container = lambda _: many  # type: ignore[assignment,method-assign,return-value]
    assert len(containers.last_lines("A").splitlines()) == LAST_LINES
