"""Waits end when their predicate holds, and say what was last seen when it does not."""

import pytest

from harness.errors import NodeError
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
