"""Waits end when their predicate holds, and say what was last seen when it does not."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import NodeError
from harness.nodes.predicates import nodes_announced, payment_gone
from harness.waits import Predicate, WaitTimeoutError, wait_for


def test_ends_as_soon_as_nothing_is_missing() -> None:
    answers = iter(["two left", "one left", None, "never asked"])
    wait_for(Predicate("done", lambda: next(answers)), interval_seconds=0)
    assert next(answers) == "never asked"


def test_tells_what_was_last_seen() -> None:
    answers = iter(["two left", *["one left"] * 1000])
    with pytest.raises(WaitTimeoutError, match=r"^done not reached in 0.05 s; last seen: one left$"):
        wait_for(Predicate("done", lambda: next(answers)), timeout_seconds=0.05, interval_seconds=0.01)


def test_a_silent_node_is_something_to_wait_for() -> None:
    def silent() -> str | None:
        raise NodeError("A does not answer")

    with pytest.raises(WaitTimeoutError, match="last seen: A does not answer"):
        wait_for(Predicate("done", silent), timeout_seconds=0.02, interval_seconds=0.01)


def node(name: str, announced: set[str] = frozenset(), hashes: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    channels = [SimpleNamespace(htlc_hashes=hashes)]
    return SimpleNamespace(name=name, node_id=name, announced_nodes=lambda: announced, channels=lambda: channels)


def test_a_node_s_features_are_to_be_known_to_all_others() -> None:
    a, router, b = node("A", {"router", "B"}), node("router", {"B"}), node("B", set())
    assert nodes_announced([a, router], [router, b]).missing() is None
    assert nodes_announced([a, router, b], [router, b]).missing() == "B does not know the announcement of router"


def test_a_payment_is_gone_whatever_else_is_in_flight() -> None:
    nodes = [node("A", hashes={"11", "22"}), node("B", hashes={"22"})]
    assert payment_gone(nodes, "33").missing() is None
    assert payment_gone(nodes, "11").missing() == "A has an HTLC of payment 11 in flight"
