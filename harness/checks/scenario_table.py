"""The outcomes of a run's scenarios, as JSON and as a table.

A scenario is a test that has recorded properties (pytest's `record_property`, so that JUnit files have them too):

    family     its group, such as MPP; tests without one are not scenarios
    fault      an injected fault; one property per injection
    outcome    where the money is at the end: paid once, returned in full, refused, ...

`pytest --testbed-scenarios FILE` writes the run's scenarios to the file as JSON; each replaces its earlier entry. So a
run may be done in parts, and failed scenarios can be re-run after the fix.
`python -m harness.checks.scenario_table FILE docs/scenarios.md` writes them into a page, between
two marked lines.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FAMILY, FAULT, OUTCOME = "family", "fault", "outcome"
PAID, RETURNED, REFUSED = "paid once", "returned in full", "refused"
FAILED, NOT_RUN = "FAILED", "not run"

BEGIN = "<!-- drawn by `make scenarios` from the last run of `make test-e2e`: begin -->\n"
END = "<!-- scenarios: end -->\n"

Recorder = Callable[[str, object], None]
"""The type of pytest's `record_property`: called with a name and a value."""


@dataclass(frozen=True)
class Scenario:
    """One scenario of a run. faults: how often each was injected. outcomes: as recorded, or FAILED or NOT_RUN alone."""

    family: str
    name: str
    faults: dict[str, int]
    outcomes: list[str]
    seconds: float


def write(file: Path, scenarios: Iterable[Scenario]) -> None:
    """Store the scenarios of a run, and the time of its end; scenarios that only earlier runs had are kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    earlier = _read(file.read_text(encoding="utf-8"))[1] if file.exists() else []
    latest = {(each.family, each.name): each for each in (*earlier, *scenarios)}
    run = {
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenarios": [asdict(latest[key]) for key in sorted(latest)],
    }
    file.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def draw(run: str) -> str:
    """Return the section of the page, from the output of `write`."""
    ended_at, scenarios = _read(run)
    kinds: Counter[str] = Counter()
    for scenario in scenarios:
        kinds.update(scenario.faults)
    injected = ", ".join(f"{kind} ({number})" for kind, number in sorted(kinds.items()))
    lines = [
        f"Run of {ended_at[:10]}: {len(scenarios)} scenarios, {kinds.total()} faults injected.",
        "",
        *_table(scenarios),
        "",
        f"Faults: {injected or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def _read(run: str) -> tuple[str, list[Scenario]]:
    """Return the time of the last run's end, and the scenarios."""
    read = json.loads(run)
    return read["ended_at"], [Scenario(**each) for each in read["scenarios"]]


def _table(scenarios: list[Scenario]) -> Iterator[str]:
    """Yield a row for each family; a scenario with several payments may count under more than one outcome."""
    seen = {outcome for scenario in scenarios for outcome in scenario.outcomes}
    first, last = [PAID, RETURNED, REFUSED], [FAILED, NOT_RUN]
    columns = [*first, *sorted(seen - {*first, *last}), *last]
    yield f"| family | scenarios | faults | {' | '.join(columns)} | seconds |"
    yield "|---|" + "---:|" * (len(columns) + 3)
    families = sorted({scenario.family for scenario in scenarios})
    for family in families:
        yield _row(family, [scenario for scenario in scenarios if scenario.family == family], columns)
    yield _row("**all**", scenarios, columns)


def _row(name: str, scenarios: list[Scenario], columns: list[str]) -> str:
    faults = sum(sum(scenario.faults.values()) for scenario in scenarios)
    counts = [sum(outcome in scenario.outcomes for scenario in scenarios) for outcome in columns]
    seconds = sum(scenario.seconds for scenario in scenarios)
    return f"| {name} | {len(scenarios)} | {faults} | {' | '.join(map(str, counts))} | {seconds:.0f} |"


def main(arguments: list[str]) -> int:
    """Write a run (first argument) into a page (second argument). Return the exit code."""
    file, page = map(Path, arguments)
    if not file.exists():
        print(f"{file} does not exist. Run `make test-e2e`, which writes it.", file=sys.stderr)
        return 1
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{page} lacks the lines that mark the table's place. Add them:\n{BEGIN}{END}", file=sys.stderr)
        return 1
    page.write_text(before + begin + draw(file.read_text(encoding="utf-8")) + end + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
