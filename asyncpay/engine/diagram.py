"""Draw the state diagrams of blocks, payments and claims into docs/protocol.md, from the tables of the engines.

python -m asyncpay.engine.diagram           write the diagrams
python -m asyncpay.engine.diagram --check   exit 1 if the page is out of date
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from asyncpay.engine.lsp import states as lsp
from asyncpay.engine.payee import states as payee
from asyncpay.engine.payer import states as payer
from asyncpay.lightning import Resolution
from asyncpay.wire.messages import ReleaseStatus

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
END = "<!-- end -->\n"

Transitions: TypeAlias = Mapping[Any, Mapping[Any, Enum]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One diagram on the page. begins: the initial states, by the event that leads to each. groups: states that share
    transitions.
    """

    engine: str
    begins: Mapping[str, Enum]
    transitions: Callable[[], Transitions]
    groups: Mapping[str, Collection[Enum]]
    properties: Callable[[], Iterator[str]] = lambda: iter(())

    @property
    def mark(self) -> str:
        """The line on the page that precedes the diagram."""
        return f"<!-- drawn by `make diagram` from asyncpay/engine/{self.engine}/states.py: begin -->\n"

    def draw(self) -> str:
        """Return the Mermaid diagram, then the table of the properties of each state, if there is one."""
        properties = list(self.properties())
        return "\n".join(["```mermaid", *self._mermaid(), "```", *([""] if properties else []), *properties, ""])

    def _mermaid(self) -> Iterator[str]:
        transitions = self.transitions()
        drawn = set()
        yield "stateDiagram-v2"
        yield from (f"    [*] --> {_name(first)}: {what}" for what, first in self.begins.items())
        for group, members in self.groups.items():
            yield f"    state {group} {{"
            for state, trigger, to in _arrows(transitions):
                if state in members and to in members:
                    drawn.add((state, trigger))
                    yield f"        {_name(state)} --> {_name(to)}: {trigger.value}"
            yield "    }"
            for to, triggers in _shared(transitions, members).items():
                drawn |= {(state, trigger) for state in members for trigger in triggers}
                yield f"    {group} --> {_name(to)}: {' / '.join(trigger.value for trigger in triggers)}"
        for state, trigger, to in _arrows(transitions):
            if (state, trigger) not in drawn:
                yield f"    {_name(state)} --> {_name(to)}: {trigger.value}"
        yield from (f"    {_name(state)} --> [*]" for state, row in transitions.items() if not row)


def _arrows(transitions: Transitions) -> Iterator[tuple[Enum, Enum, Enum]]:
    return ((state, trigger, to) for state, row in transitions.items() for trigger, to in row.items())


def _shared(transitions: Transitions, members: Collection[Enum]) -> dict[Enum, list[Enum]]:
    """Return the triggers that lead from every one of these states to the same other one, by that state."""
    first, *others = (transitions[state] for state in transitions if state in members)
    shared: dict[Enum, list[Enum]] = {}
    for trigger, to in first.items():
        if to not in members and all(row.get(trigger) is to for row in others):
            shared.setdefault(to, []).append(trigger)
    return shared


_RESOLUTIONS = {None: "joins the set", Resolution.RESUME: "is forwarded", Resolution.FAIL: "is failed back"}

_RELEASES = {ReleaseStatus.RELEASED: "released, or about to be", ReleaseStatus.TOO_LATE: "too late"}


def _block_properties() -> Iterator[str]:
    yield "| state | a part that first arrives now | the answer to a release | the last update to the payer |"
    yield "|---|---|---|---|"
    for state, properties in lsp.PROPERTIES.items():
        update = "none yet" if properties.update is None else properties.update.name.lower().replace("_", " ")
        yield f"| {state.value} | {_RESOLUTIONS[properties.late_part]} | {_RELEASES[properties.release]} | {update} |"


DRAWINGS = (
    Drawing(
        engine="lsp",
        begins={"block_request": lsp.State.ACCEPTED},
        transitions=lambda: {
            state: {trigger: to.state for trigger, to in row.items()} for state, row in lsp.TRANSITIONS.items()
        },
        groups={"undecided": lsp.UNDECIDED},
        properties=_block_properties,
    ),
    Drawing(
        engine="payer",
        begins={"the user pays": payer.State.REQUESTED},
        transitions=lambda: payer.TRANSITIONS,
        groups={"nothing_sent": payer.UNPAID, "order_given": payer.WITH_NODE},
    ),
    Drawing(
        engine="payee",
        begins={"announced, and owed": payee.State.RELEASING, "announced, but not owed": payee.State.REFUSED},
        transitions=lambda: payee.TRANSITIONS,
        groups={},
    ),
)


def _name(state: Enum) -> str:
    return state.name.lower()


def main(arguments: list[str]) -> int:
    """Write or check the page; return the exit code."""
    page = drawn = PAGE.read_text()
    for drawing in DRAWINGS:
        before, mark, rest = drawn.partition(drawing.mark)
        _, end, after = rest.partition(END)
        if not mark or not end:
            lines = drawing.mark + END
            print(f"{PAGE} lacks the lines around a diagram:\n{lines}", file=sys.stderr)
            return 1
        drawn = before + mark + drawing.draw() + end + after
    if arguments == ["--check"]:
        if drawn != page:
            print(f"{PAGE} does not match the tables of the states.py files: run `make diagram`", file=sys.stderr)
        return int(drawn != page)
    PAGE.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
