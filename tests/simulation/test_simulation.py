"""Two thousand schedules, the schedules that once failed, and the simulator's own guarantees."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import implementations
from .crowd_execution import run_crowd
from .execution import Outcome, run_schedule, run_seed
from .invariants import AFTER_CHANGES
from .mutants import MUTANTS
from .mutation import Mutant
from .regressions import REGRESSIONS
from .report import trace_lines
from .runner import chunks
from .schedule import Schedule
from .setup import Setup
from .shrink import Shrinker
from .simulation import Simulation

SCHEDULES = 2_000
SEED = 0
CROWDS = 8
CROWD_PAYMENTS = 30


def trace(outcome: Outcome) -> str:
    """Return the trace and the regression test of a failed schedule."""
    return "\n".join([*trace_lines(outcome), f"as a regression test (regressions.py): {outcome.schedule!r}"])


@pytest.mark.parametrize(
    "numbers", list(chunks(SEED, SCHEDULES)), ids=lambda numbers: f"{numbers.start}-{numbers.stop - 1}"
)
def test_nothing_happens_that_must_not_happen(numbers: range) -> None:
    for number in numbers:
        outcome = run_seed(number)
        if outcome.violation is not None:
            pytest.fail(f"schedule {number}\n{trace(Shrinker(outcome.schedule, outcome.violation.invariant).run())}")


@pytest.mark.parametrize("number", range(CROWDS))
def test_many_payments_at_a_time(number: int) -> None:
    outcome = run_crowd(number, CROWD_PAYMENTS)
    assert outcome.violation is None, f"crowd {number}: {outcome.violation.invariant}: {outcome.violation}"
    assert outcome.paid, "no payment of this crowd was made"


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions(name: str) -> None:
    outcome = run_schedule(REGRESSIONS[name], with_trace=True)
    assert outcome.violation is None, trace(outcome)
    assert len(outcome.schedule.disturbances) == len(REGRESSIONS[name].disturbances), (
        "not every disturbance has its failpoint"
    )


@pytest.mark.parametrize("payer_lsp", ["LND", "CLN"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("payee_awake", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_without_disturbances_the_payee_is_paid(payer_lsp: str, shared: bool, payee_awake: bool, parts: int) -> None:
    setup = Setup(payer_lsp=payer_lsp, shared=shared, payee_awake=payee_awake, parts=parts, payer_leaves=1.0)
    outcome = run_schedule(Schedule(setup), with_trace=True)
    assert outcome.violation is None, trace(outcome)
    assert outcome.paid


def test_a_schedule_plays_alike_every_time() -> None:
    drawn = next(outcome for number in range(100) if len((outcome := run_seed(number)).schedule.disturbances) > 8)
    again = run_schedule(drawn.schedule)
    assert again.schedule == drawn.schedule
    assert (again.steps, again.paid, again.coverage) == (drawn.steps, drawn.paid, drawn.coverage)


def test_a_number_names_one_schedule_in_every_process() -> None:
    """The order of a set of bytes differs between processes. Number 3000283 once ran in two different ways."""
    program = "from tests.simulation.execution import run_seed; print(sorted(run_seed(3000283).coverage.cells.items()))"
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1


def test_what_fails_shrinks_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invariant that forbids cancels, a schedule with a cancel shrinks to only that cancel."""

    def nobody_cancels(sim: Simulation) -> Iterator[str]:
        if sim.cancelled:
            yield "A's user has cancelled"

    monkeypatch.setattr("tests.simulation.invariants.AFTER_CHANGES", (*AFTER_CHANGES, nobody_cancels))
    found = next(outcome for number in range(1000) if (outcome := run_seed(number)).violation is not None)
    assert found.violation is not None
    assert found.violation.invariant == "nobody_cancels"
    plain = Shrinker(found.schedule, found.violation.invariant).run()
    assert [str(disturbance) for _, disturbance in plain.schedule.disturbances] == ["A's user cancels"]
    assert plain.schedule.setup.differences() == {}
    assert plain.violation is not None


def test_every_fact_of_an_implementation_names_a_test_that_exists() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"(\S+\.py)::(\w+)", Path(implementations.__file__).read_text())
    assert len(named) > 15
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in (root / file).read_text()] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_knows_what_to_break(mutant: Mutant) -> None:
    compile(mutant.source(), mutant.module, "exec")
