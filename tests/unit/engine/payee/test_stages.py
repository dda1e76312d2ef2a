"""The table of a claim's life, spelled out: every stage and every trigger."""

import pytest

from asyncpay.engine.payee.stages import FINISHED, TRANSITIONS, UNPAID, Stage, Trigger

# Rows: stages. Columns: triggers. A letter is the stage that follows, a dot: nothing happens.
PICTURE = """
             paid too_late deadline
releasing    P    L        E
paid         .    .        .
too_late     P    .        .
expired      P    .        .
refused      .    .        .
"""

LETTERS = {"P": Stage.PAID, "L": Stage.TOO_LATE, "E": Stage.EXPIRED}


def rows() -> list[tuple[Stage, Trigger, Stage | None]]:
    return [
        (Stage[line.split()[0].upper()], trigger, LETTERS.get(letter))
        for line in PICTURE.strip().splitlines()[1:]
        for trigger, letter in zip(Trigger, line.split()[1:], strict=True)
    ]


def test_the_picture_shows_every_stage_and_trigger() -> None:
    assert {(stage, trigger) for stage, trigger, _ in rows()} == {(s, t) for s in Stage for t in Trigger}


@pytest.mark.parametrize(("stage", "trigger", "follows"), rows())
def test_what_follows(stage: Stage, trigger: Trigger, follows: Stage | None) -> None:
    assert TRANSITIONS[stage].get(trigger) is follows


def test_the_sets_of_stages() -> None:
    assert {Stage.PAID, Stage.TOO_LATE, Stage.EXPIRED, Stage.REFUSED} == FINISHED
    assert {Stage.RELEASING, Stage.TOO_LATE, Stage.EXPIRED} == UNPAID
