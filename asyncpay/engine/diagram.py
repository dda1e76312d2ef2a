"""Draw the life of a block into docs/protocol.md from the table that the engine runs on.

python -m asyncpay.engine.diagram           write it
python -m asyncpay.engine.diagram --check   exit 1 if the page shows something else
"""

import sys
from collections.abc import Container, Iterator
from pathlib import Path

from asyncpay.engine.lsp.stages import ENDINGS, FACTS, FINISHED, TRANSITIONS, UNDECIDED, Stage
from asyncpay.lightning import Verdict
from asyncpay.wire.messages import ReleaseStatus

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- drawn by `make diagram` from asyncpay/engine/lsp/stages.py: begin -->\n"
END = "<!-- end -->\n"

_VERDICTS = {None: "joins the set", Verdict.RESUME: "is forwarded", Verdict.FAIL: "is failed back"}

_RELEASES = {ReleaseStatus.RELEASED: "released, or about to be", ReleaseStatus.TOO_LATE: "too late"}


def draw() -> str:
    """The Mermaid diagram, then the table of what each stage means."""
    return "\n".join(["```mermaid", *_mermaid(), "```", "", *_facts(), ""])


def _mermaid() -> Iterator[str]:
    yield "stateDiagram-v2"
    yield "    [*] --> accepted: block_request"
    yield "    state undecided {"
    yield from (f"        {line}" for line in _arrows(UNDECIDED, UNDECIDED))
    yield "    }"
    endings = " / ".join(trigger.value for trigger in ENDINGS)
    (back,) = {to.stage for to in ENDINGS.values()}
    yield f"    undecided --> {_name(back)}: {endings}"
    yield from (f"    {line}" for line in _arrows(set(Stage), set(Stage) - UNDECIDED))
    yield from (f"    {line}" for line in _arrows(set(Stage) - UNDECIDED, UNDECIDED))
    yield from (f"    {_name(stage)} --> [*]" for stage in Stage if stage in FINISHED)


def _arrows(sources: Container[Stage], targets: Container[Stage]) -> Iterator[str]:
    """The transitions between these, without those that all undecided stages share."""
    for stage in Stage:
        for trigger, to in TRANSITIONS[stage].items():
            shared = stage in UNDECIDED and ENDINGS.get(trigger) == to
            if stage in sources and to.stage in targets and not shared:
                yield f"{_name(stage)} --> {_name(to.stage)}: {trigger.value}"


def _facts() -> Iterator[str]:
    yield "| stage | a part that first arrives now | whoever shows the pid is told | the payer is told |"
    yield "|---|---|---|---|"
    for stage, facts in FACTS.items():
        told = "nothing yet" if facts.update is None else _words(facts.update.name)
        yield f"| {stage.value} | {_VERDICTS[facts.newcomer]} | {_RELEASES[facts.release]} | {told} |"


def _name(stage: Stage) -> str:
    return stage.name.lower()


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _page_with(drawing: str, page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + drawing + END + after


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit code."""
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        print(f"{PAGE} has lost the lines between which the diagram stands:\n{BEGIN}{END}", file=sys.stderr)
        return 1
    drawn = _page_with(draw(), page)
    if arguments == ["--check"]:
        if drawn != page:
            print(f"{PAGE} does not show what stages.py says: run `make diagram`", file=sys.stderr)
        return int(drawn != page)
    PAGE.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
