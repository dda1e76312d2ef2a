"""Two thousand schedules, those that once failed, and the simulator's own promises."""

import re
from pathlib import Path

import pytest

from . import implementations
from .breaking import Mutant
from .found import FOUND
from .hunt import chunks
from .mutants import MUTANTS
from .never import AFTER_CHANGES
from .play import Outcome, play, play_seed
from .schedule import Schedule
from .setup import Setup
from .shrink import Shrinker
from .story import lines

SCHEDULES = 2_000
SEED = 0


def told(outcome: Outcome) -> str:
    """What to read when a schedule fails."""
    return "\n".join([*lines(outcome), f"as a regression test (found.py): {outcome.schedule!r}"])


@pytest.mark.parametrize(
    "numbers", list(chunks(SEED, SCHEDULES)), ids=lambda numbers: f"{numbers.start}-{numbers.stop - 1}"
)
def test_nothing_happens_that_must_not_happen(numbers: range) -> None:
    for number in numbers:
        outcome = play_seed(number)
        if outcome.violation is not None:
            pytest.fail(f"schedule {number}\n{told(Shrinker(outcome.schedule, outcome.violation.rule).run())}")


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once(name: str) -> None:
    outcome = play(FOUND[name], with_story=True)
    assert outcome.violation is None, told(outcome)
    assert len(outcome.schedule.disturbances) == len(FOUND[name].disturbances), "not every disturbance has its moment"


@pytest.mark.parametrize("payer_lsp", ["LND", "CLN"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("payee_awake", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_in_a_calm_world_the_payee_is_paid(payer_lsp: str, shared: bool, payee_awake: bool, parts: int) -> None:
    setup = Setup(payer_lsp=payer_lsp, shared=shared, payee_awake=payee_awake, parts=parts, payer_leaves=1.0)
    outcome = play(Schedule(setup), with_story=True)
    assert outcome.violation is None, told(outcome)
    assert outcome.paid


def test_a_schedule_plays_alike_every_time() -> None:
    drawn = next(outcome for number in range(100) if len((outcome := play_seed(number)).schedule.disturbances) > 8)
    again = play(drawn.schedule)
    assert again.schedule == drawn.schedule
    assert (again.steps, again.paid, again.coverage) == (drawn.steps, drawn.paid, drawn.coverage)


def test_what_fails_shrinks_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rule that forbids to cancel, nothing but a cancel is left of a schedule with one."""

    def nobody_cancels(world):  # type: ignore[no-untyped-def]
        if world.cancelled:
            yield "A's user has cancelled"

    monkeypatch.setattr("simulation.never.AFTER_CHANGES", (*AFTER_CHANGES, nobody_cancels))
    found = next(outcome for number in range(1000) if (outcome := play_seed(number)).violation is not None)
    assert found.violation is not None
    assert found.violation.rule == "nobody_cancels"
    plain = Shrinker(found.schedule, found.violation.rule).run()
    assert [str(disturbance) for _, disturbance in plain.schedule.disturbances] == ["A's user cancels"]
    assert plain.schedule.setup.differences() == {}
    assert plain.violation is not None


def test_every_rule_of_the_simulated_nodes_names_a_test_that_exists() -> None:
    """Of those that were checked on real nodes; a file that is not there at all belongs to a branch not merged yet."""
    e2e = Path(__file__).parents[1] / "e2e"
    named = re.findall(r"(\S+\.py)::(\w+)", Path(implementations.__file__).read_text())
    named = [(file, test) for file, test in named if (e2e / file).exists()]
    assert len(named) > 5
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in (e2e / file).read_text()] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_knows_what_to_break(mutant: Mutant) -> None:
    compile(mutant.source(), mutant.module, "exec")
