"""Decide, store, act: in this order, and as far as the engine got."""

from dataclasses import dataclass

import pytest

from asyncpay.engine.core import Commit, EngineError, Perform, Put, Recall, Transition, WholeInMemory, drive


@dataclass(frozen=True)
class Note:
    key: int


class Notes(WholeInMemory):
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


class Archive:
    """An engine that looks up even events, and records what it is told. It fails on 13."""

    next_deadline = 0.0
    stored_time = None

    def __init__(self) -> None:
        self.known: list[object] = []
        self.times: list[float] = []

    def handle(self, now: float, event: int) -> Transition[Note, str]:
        if event == 13:
            raise LookupError("thirteen")
        self.times.append(now)
        return Transition((Put(Note(event)),), (f"{event}",))

    def wanted(self, now: float, event: int) -> str | None:
        return f"{event} at {now}" if event % 2 == 0 else None

    def recall(self, found: object) -> None:
        self.known.append(found)

    def committed(self) -> None:
        self.known.append("all is stored")


def test_what_is_archived_is_recalled_before_the_event_that_asks_for_it() -> None:
    engine, clock = Archive(), iter((1.0, 2.0))
    actions = drive(engine, lambda: next(clock), [7, 8])
    recall = next(actions)
    assert isinstance(recall, Recall)
    assert (recall.wanted, engine.times) == ("8 at 2.0", [1.0])
    recall.take("an 8")
    commit = next(actions)
    assert isinstance(commit, Commit)
    assert (len(commit.decisions), engine.times, engine.known) == (2, [1.0, 2.0], ["an 8"])
    next(actions)
    assert engine.known == ["an 8", "all is stored"]


def test_an_engine_that_has_failed_is_not_told_that_all_is_stored() -> None:
    """Its state is undefined: it must not decide what leaves its memory."""
    engine = Archive()
    with pytest.raises(EngineError):
        list(drive(engine, lambda: 0.0, [7, 13]))
    assert engine.known == []


def test_an_error_about_what_was_recalled_is_one_on_that_event() -> None:
    class Failing(Archive):
        def recall(self, found: object) -> None:
            raise KeyError(found)

    actions = drive(Failing(), lambda: 1.0, [7, 8, 9])
    recall = next(actions)
    assert isinstance(recall, Recall)
    recall.take("an 8")
    commit = next(actions)
    assert isinstance(commit, Commit)
    assert len(commit.decisions) == 1
    with pytest.raises(EngineError) as failed:
        list(actions)
    assert failed.value.event == 8
