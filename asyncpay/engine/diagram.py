"""Draw the lives of blocks, payments and claims into docs/protocol.md, from the tables that the engines run on.

python -m asyncpay.engine.diagram           write them
python -m asyncpay.engine.diagram --check   exit 1 if the page shows something else
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
    """One table on the page. begins: what starts such a life, and where. groups: states that share transitions.

    module: of the engine, with the table.
    """

    engine: str
    module: str
    begins: Mapping[str, Enum]
    transitions: Callable[[], Transitions]
    groups: Mapping[str, Collection[Enum]]
    facts: Callable[[], Iterator[str]] = lambda: iter(())

    @property
    def mark(self) -> str:
        """The line on the page that it follows."""
        return f"<!-- drawn by `make diagram` from asyncpay/engine/{self.engine}/{self.module}.py: begin -->\n"

    def draw(self) -> str:
        """The Mermaid diagram, then the table of what each stage means, if there is one."""
        facts = list(self.facts())
        return "\n".join(["```mermaid", *self._mermaid(), "```", *([""] if facts else []), *facts, ""])

    def _mermaid(self) -> Iterator[str]:
        transitions = self.transitions()
        drawn = set()
        yield "stateDiagram-v2"
        yield from (f"    [*] --> {_name(first)}: {what}" for what, first in self.begins.items())
        for group, members in self.groups.items():
            yield f"    state {group} {{"
            for stage, trigger, to in _arrows(transitions):
                if stage in members and to in members:
                    drawn.add((stage, trigger))
                    yield f"        {_name(stage)} --> {_name(to)}: {trigger.value}"
            yield "    }"
            for to, triggers in _shared(transitions, members).items():
                drawn |= {(stage, trigger) for stage in members for trigger in triggers}
                yield f"    {group} --> {_name(to)}: {' / '.join(trigger.value for trigger in triggers)}"
        for stage, trigger, to in _arrows(transitions):
            if (stage, trigger) not in drawn:
                yield f"    {_name(stage)} --> {_name(to)}: {trigger.value}"
        yield from (f"    {_name(stage)} --> [*]" for stage, row in transitions.items() if not row)


def _arrows(transitions: Transitions) -> Iterator[tuple[Enum, Enum, Enum]]:
    return ((stage, trigger, to) for stage, row in transitions.items() for trigger, to in row.items())


def _shared(transitions: Transitions, members: Collection[Enum]) -> dict[Enum, list[Enum]]:
    """What leads from every one of these stages to the same other one, by where it leads."""
    first, *others = (transitions[stage] for stage in transitions if stage in members)
    shared: dict[Enum, list[Enum]] = {}
    for trigger, to in first.items():
        if to not in members and all(row.get(trigger) is to for row in others):
            shared.setdefault(to, []).append(trigger)
    return shared


_RESOLUTIONS = {None: "joins the set", Resolution.RESUME: "is forwarded", Resolution.FAIL: "is failed back"}

_RELEASES = {ReleaseStatus.RELEASED: "released, or about to be", ReleaseStatus.TOO_LATE: "too late"}


def _block_facts() -> Iterator[str]:
    yield "| stage | a part that first arrives now | whoever shows the pid is told | the payer is told |"
    yield "|---|---|---|---|"
    for stage, facts in lsp.PROPERTIES.items():
        told = "nothing yet" if facts.update is None else facts.update.name.lower().replace("_", " ")
        yield f"| {stage.value} | {_RESOLUTIONS[facts.late_part]} | {_RELEASES[facts.release]} | {told} |"


DRAWINGS = (
    Drawing(
        engine="lsp",
        module="states",
        begins={"block_request": lsp.State.ACCEPTED},
        transitions=lambda: {
            stage: {trigger: to.state for trigger, to in row.items()} for stage, row in lsp.TRANSITIONS.items()
        },
        groups={"undecided": lsp.UNDECIDED},
        facts=_block_facts,
    ),
    Drawing(
        engine="payer",
        module="states",
        begins={"the user pays": payer.State.REQUESTED},
        transitions=lambda: payer.TRANSITIONS,
        groups={"nothing_has_left": payer.UNPAID, "with_the_node": payer.WITH_NODE},
    ),
    Drawing(
        engine="payee",
        module="states",
        begins={"announced, and owed": payee.State.RELEASING, "announced, but not owed": payee.State.REFUSED},
        transitions=lambda: payee.TRANSITIONS,
        groups={},
    ),
)


def _name(stage: Enum) -> str:
    return stage.name.lower()


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit code."""
    page = drawn = PAGE.read_text()
    for drawing in DRAWINGS:
        before, mark, rest = drawn.partition(drawing.mark)
        _, end, after = rest.partition(END)
        if not mark or not end:
            lines = drawing.mark + END
            print(f"{PAGE} has lost the lines around a diagram:\n{lines}", file=sys.stderr)
            return 1
        drawn = before + mark + drawing.draw() + end + after
    if arguments == ["--check"]:
        if drawn != page:
            print(f"{PAGE} does not show what the states.py files say: run `make diagram`", file=sys.stderr)
        return int(drawn != page)
    PAGE.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
