"""The table of a payment's life, spelled out: every stage and every trigger."""

import pytest

from asyncpay.engine.payer.stages import CALLED_OFF, FINISHED, TRANSITIONS, UNPAID, WITH_NODE, Stage, Trigger

# Rows: stages. Columns: triggers. A letter is the stage that follows, a dot: nothing happens.
PICTURE = """
             accepted refused unanswered cancel ended deadline open all_held sent paid not_begun not_paid
requested    B        F       F          F      F     F        .    .        .    .    .         .
blocked      .        .       .          F      F     F        P    .        .    .    .         .
paying       .        .       .          .      .     .        .    H        .    S    B         F
held         .        .       .          .      .     .        .    .        O    S    .         F
handed_over  .        .       .          .      .     .        .    .        .    S    .         F
settled      .        .       .          .      .     .        .    .        .    .    .         .
failed       .        .       .          .      .     .        .    .        .    S    .         .
"""

LETTERS = {
    "B": Stage.BLOCKED,
    "P": Stage.PAYING,
    "H": Stage.HELD,
    "O": Stage.HANDED_OVER,
    "S": Stage.SETTLED,
    "F": Stage.FAILED,
}


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
    assert {Stage.REQUESTED, Stage.BLOCKED} == UNPAID
    assert {Stage.PAYING, Stage.HELD, Stage.HANDED_OVER} == WITH_NODE
    assert {Stage.SETTLED, Stage.FAILED} == FINISHED


def test_the_lsp_is_told_of_every_ending_that_it_did_not_bring_about_itself() -> None:
    endings = {trigger for row in TRANSITIONS.values() for trigger, stage in row.items() if stage is Stage.FAILED}
    assert endings - CALLED_OFF == {Trigger.REFUSED, Trigger.BLOCK_ENDED, Trigger.DEADLINE}
