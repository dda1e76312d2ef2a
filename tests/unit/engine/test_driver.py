"""Decide, store, act: in this order, and as far as the engine got."""

from dataclasses import dataclass

import pytest

from asyncpay.engine.core import Commit, EngineError, Perform, Put, Transition, drive


@dataclass(frozen=True)
class Note:
    key: int


class Notes:
    """An engine that stores a note of each event, and says its number twice; it fails on 13."""

    next_deadline = 0.0
    stored_time = None

    def __init__(self) -> None:
        self.times: list[float] = []

    def handle(self, now: float, event: int) -> Transition[Note, str]:
        if event == 13:
            raise LookupError("thirteen")
        self.times.append(now)
        return Transition((Put(Note(event)),), (f"{event}", f"{event} again"))


def test_everything_is_stored_together_before_anything_is_done() -> None:
    engine, clock = Notes(), iter((1.0, 2.0))
    first, *others = drive(engine, lambda: next(clock), [7, 8])
    assert isinstance(first, Commit)
    assert first.changes == (Put(Note(7)), Put(Note(8)))
    assert [event for event, _ in first.decisions] == [7, 8]
    assert others == [Perform("7"), Perform("7 again"), Perform("8"), Perform("8 again")]
    assert engine.times == [1.0, 2.0]


def test_what_was_decided_before_the_engine_failed_is_still_stored_and_done() -> None:
    actions: list[object] = []
    with pytest.raises(EngineError, match="failed on int") as raised:
        actions.extend(drive(Notes(), lambda: 0.0, [7, 13, 8]))
    assert raised.value.event == 13
    assert isinstance(raised.value.__cause__, LookupError)
    assert isinstance(actions[0], Commit)
    assert actions[0].changes == (Put(Note(7)),)
    assert actions[1:] == [Perform("7"), Perform("7 again")]


def test_nothing_is_done_if_it_cannot_be_stored() -> None:
    actions = drive(Notes(), lambda: 0.0, [7])
    assert isinstance(next(actions), Commit)
    actions.close()  # type: ignore[attr-defined]
    assert list(actions) == []
