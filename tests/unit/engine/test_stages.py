"""The table of a block's life, spelled out: every stage and every trigger."""

import pytest

from asyncpay.engine.lsp.stages import COLLECTING, FACTS, FINISHED, TRANSITIONS, UNDECIDED, Stage, Trigger
from asyncpay.lightning import Verdict

# Rows: stages. Columns: triggers. A letter is the stage that follows, a dot: nothing happens.
PICTURE = """
             complete release usable behalf paid not_paid taken returned | deadline incomplete expiry cancel refusal lost closing limit
accepted     H        U       .      .      .    .        .     .        | F        F          F      F      F       F    F       F
unlocked     D        .       .      .      .    .        .     .        | F        F          F      F      F       F    F       F
held         .        D       .      .      .    .        .     .        | F        .          F      F      F       F    F       F
due          .        .       R      P      .    .        .     .        | F        .          F      F      F       F    F       F
paying       .        .       .      .      C    D        .     .        | .        .          .      .      .       .    .       .
released     .        .       .      .      .    .        S     B        | .        .          .      .      .       .    .       .
settled      .        .       .      .      .    .        .     .        | .        .          .      .      .       .    .       .
claimed      .        .       .      .      .    .        .     .        | .        .          .      .      .       .    .       .
returned     .        .       .      .      .    .        .     .        | .        .          .      .      .       .    .       .
failed_back  .        .       .      .      .    .        .     .        | .        .          .      .      .       .    .       .
"""  # noqa: E501 - a picture

LETTERS = {
    "H": Stage.HELD,
    "U": Stage.UNLOCKED,
    "D": Stage.DUE,
    "R": Stage.RELEASED,
    "P": Stage.PAYING,
    "C": Stage.CLAIMED,
    "S": Stage.SETTLED,
    "B": Stage.RETURNED,
    "F": Stage.FAILED_BACK,
}


def rows() -> list[tuple[Stage, Trigger, Stage | None]]:
    return [
        (Stage[line.split()[0].upper()], trigger, LETTERS.get(letter))
        for line in PICTURE.strip().splitlines()[1:]
        for trigger, letter in zip(Trigger, line.replace("|", "").split()[1:], strict=True)
    ]


def test_the_picture_shows_every_stage_and_trigger() -> None:
    assert {(stage, trigger) for stage, trigger, _ in rows()} == {(s, t) for s in Stage for t in Trigger}


@pytest.mark.parametrize(("stage", "trigger", "follows"), rows())
def test_what_follows(stage: Stage, trigger: Trigger, follows: Stage | None) -> None:
    to = TRANSITIONS[stage].get(trigger)
    assert (to.stage if to else None) is follows


def test_parts_are_forwarded_claimed_or_failed_in_these_transitions_only() -> None:
    verdicts = {
        (stage, to.stage, to.verdict) for stage, row in TRANSITIONS.items() for to in row.values() if to.verdict
    }
    undecided = (Stage.ACCEPTED, Stage.UNLOCKED, Stage.HELD, Stage.DUE)
    assert verdicts == {
        (Stage.DUE, Stage.RELEASED, Verdict.RESUME),
        (Stage.PAYING, Stage.CLAIMED, Verdict.SETTLE),
        *((stage, Stage.FAILED_BACK, Verdict.FAIL) for stage in undecided),
    }


def test_the_sets_of_stages() -> None:
    assert {Stage.ACCEPTED, Stage.UNLOCKED, Stage.HELD, Stage.DUE} == UNDECIDED
    assert {Stage.ACCEPTED, Stage.UNLOCKED} == COLLECTING
    assert {Stage.SETTLED, Stage.CLAIMED, Stage.RETURNED, Stage.FAILED_BACK} == FINISHED


def test_a_part_more_is_never_taken_once_the_outcome_of_the_set_is_fixed() -> None:
    assert {stage for stage, facts in FACTS.items() if facts.newcomer is None} == UNDECIDED
    assert {stage for stage, facts in FACTS.items() if facts.newcomer is Verdict.FAIL} == {
        Stage.PAYING,
        Stage.CLAIMED,
        Stage.FAILED_BACK,
    }
