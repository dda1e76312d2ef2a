"""When a phone was away is told by its link's verbs and by what it says of itself."""

from harness.timeline.model import Event, Kind, Lane
from harness.timeline.presence import with_absences


def away(*happened: tuple[float, str]) -> list[tuple[float, float | None, str]]:
    events = [Event(time=time, lane="A", kind=Kind.PHONE, what=what) for time, what in happened]
    (lane,) = with_absences([Lane(name="A", kind="payer")], events, ["A"])
    return [(span.begin, span.end, span.why) for span in lane.away]


def test_from_one_verb_to_the_other() -> None:
    assert away((1, "disconnect"), (2, "reconnect"), (5, "asleep")) == [(1, 2, "disconnected"), (5, None, "asleep")]


def test_what_overlaps_is_said_as_it_was() -> None:
    assert away((1, "asleep"), (2, "disconnect"), (3, "awake"), (4, "reconnect")) == [
        (1, 2, "asleep"),
        (2, 3, "asleep, disconnected"),
        (3, 4, "disconnected"),
    ]


def test_restore_ends_all_of_it_and_repetition_changes_nothing() -> None:
    assert away((1, "blackhole"), (2, "blackhole"), (3, "frozen"), (9, "restore")) == [
        (1, 3, "blackholed"),
        (3, 9, "blackholed, frozen"),
    ]


def test_a_phone_that_was_there_all_the_time_has_no_such_spans() -> None:
    assert away((1, "awake"), (2, "latency"), (3, "reconnect")) == []
