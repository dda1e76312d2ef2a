"""What keeps a testbed from being brought up, and is told at once."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import bringup
from harness.errors import NodeError, TestbedError
from harness.testbed import Testbed
from harness.topology import load


def bitcoind(answers: bool) -> Testbed:
    """A testbed whose bitcoind runs, and answers through its published port or not."""

    def call(method: str) -> Any:
        if not answers:
            raise NodeError(f"bitcoind does not answer {method}: [Errno 111] Connection refused")

    return cast(Testbed, SimpleNamespace(chain=SimpleNamespace(call=call)))


def test_an_engine_whose_ports_are_elsewhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an engine on another machine, or with its socket mounted into a container."""
    monkeypatch.setattr(bringup, "REACH_SECONDS", 0.05)
    with pytest.raises(TestbedError, match=r"its port cannot be reached from here .*refused.*run the testbed there"):
        bringup.reach_chain(bitcoind(answers=False))


@pytest.mark.parametrize("name", ["line", "line-cln", "two-channels"])
def test_a_nodes_first_peer_is_one_that_has_gossip(name: str) -> None:
    topology = load(name)
    first, later = ([frozenset((c.opener, c.peer)) for c in pairs] for pairs in bringup.connection_rounds(topology))
    assert sorted(first + later, key=sorted) == sorted(
        {frozenset((c.opener, c.peer)) for c in topology.channels}, key=sorted
    )
    assert set(first) == {frozenset((c.opener, c.peer)) for c in topology.channels if not c.private}


def test_one_that_is_here_goes_on() -> None:
    bringup.reach_chain(bitcoind(answers=True))
