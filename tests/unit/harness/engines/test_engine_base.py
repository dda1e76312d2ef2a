"""What a message quotes of a service's log."""

from harness.engines.base import LAST_LINES
from tests.unit.harness.played_engine import PlayedEngine, Service

OF_A_PHONE = b"""\
{"what": "node started"}
INFO lightningd: v26
lightningd: --bogus: unknown option
{"what": "node ended", "error": "exit code 1"}
{"what": "node started"}
INFO lightningd: v26
{"what": "the node is away"}
"""


def test_the_last_words_of_a_phones_node_are_those_of_its_last_run() -> None:
    quoted = PlayedEngine({"A": Service(log=OF_A_PHONE)}).last_lines("A", before='"what": "node ended"')
    assert quoted.splitlines() == ["  INFO lightningd: v26", "  lightningd: --bogus: unknown option"]


def test_no_more_than_a_few_lines() -> None:
    engine = PlayedEngine({"A": Service(log=OF_A_PHONE), "B": Service(log=b"line\n" * 100)})
    assert engine.last_lines("A").splitlines()[-1] == '  {"what": "the node is away"}'
    assert len(engine.last_lines("B").splitlines()) == LAST_LINES
