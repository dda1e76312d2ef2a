"""The testbed's actions on services and phones (harness.actions), as events."""

from collections.abc import Collection, Iterator

from harness.timeline.lines import json_object, number
from harness.timeline.model import Event, Kind, shortened
from harness.topology import COMPONENT_SUFFIX

SOURCE = "testbed"
OF_SERVICES = frozenset({"kill", "stop", "start", "answer"})
"""The actions on services, including phones; `freeze` and `unfreeze` are also verbs of phones."""


def events(actions: bytes, lanes: Collection[str], phones: Collection[str], problems: list[str]) -> Iterator[Event]:
    """Yield one event for each line. lanes: the existing lanes; events of other services are in lane `testbed`."""
    torn = 0
    for line in actions.splitlines():
        event = of_line(line, lanes, phones)
        if event is None:
            torn += 1
        else:
            yield event
    if torn:
        problems.append(f"{torn} lines of the testbed's actions are incomplete or damaged, and omitted")


def of_line(line: bytes, lanes: Collection[str], phones: Collection[str]) -> Event | None:
    """Return the event of one line; None if it is incomplete or damaged."""
    said = json_object(line.decode(errors="replace"))
    time = number(said.get("time")) if said else None
    if said is None or time is None:
        return None
    what, target = shortened(said.get("what", "")), shortened(said.get("target", ""))
    arguments = said.get("arguments")
    words = [what, target, *map(str, arguments if isinstance(arguments, list) else [])]
    lane = target.removesuffix(COMPONENT_SUFFIX)
    is_verb = target in phones and what.removesuffix(" failed") not in OF_SERVICES
    return Event(
        time=time,
        lane=lane if lane in lanes else SOURCE,
        kind=Kind.PHONE if is_verb else Kind.FAULT,
        what=what,
        text=shortened(" ".join(words)),
        because=shortened(said.get("because", "")),
        source=SOURCE,
    )
