"""The times at which phones were offline: from the verbs of their links, and from the phones' own logs."""

from collections.abc import Iterable

from harness.timeline.model import Event, Kind, Lane, Span

_AWAY = {
    "disconnect": "disconnected",
    "blackhole": "blackholed",
    "reset": "connections reset",
    "asleep": "asleep",
    "frozen": "frozen",
}
_BACK = {
    "reconnect": {"disconnected"},
    "restore_link": {"disconnected", "blackholed", "connections reset"},
    "restore": {"disconnected", "blackholed", "connections reset", "asleep", "frozen"},
    "awake": {"asleep", "frozen"},
}
"""The states that each event ends. A phone's state is from its own log; verbs of its link take effect immediately."""


def with_absences(lanes: Iterable[Lane], events: Iterable[Event], phones: Iterable[str]) -> list[Lane]:
    """Return the lanes, with the times at which phones were unreachable. events: in order."""
    reasons: dict[str, set[str]] = {name: set() for name in phones}
    spans: dict[str, list[Span]] = {name: [] for name in reasons}
    for event in events:
        if event.kind is not Kind.PHONE or event.lane not in reasons:
            continue
        before = frozenset(reasons[event.lane])
        if event.what in _AWAY:
            reasons[event.lane].add(_AWAY[event.what])
        reasons[event.lane] -= _BACK.get(event.what, set())
        if reasons[event.lane] != before:
            _note(spans[event.lane], event.time, ", ".join(sorted(reasons[event.lane])))
    return [lane.model_copy(update={"away": tuple(spans.get(lane.name, ()))}) for lane in lanes]


def _note(spans: list[Span], time: float, why: str) -> None:
    """Record that the phone is offline for this reason from this time on; an empty reason means it is back."""
    if spans and spans[-1].end is None:
        spans[-1] = spans[-1].model_copy(update={"end": time})
    if why:
        spans.append(Span(begin=time, why=why))
