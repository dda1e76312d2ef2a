"""The table of a payment's life, spelled out: every state and every trigger."""

import pytest

from asyncpay.engine.payer.states import CANCELS_BLOCK, FINISHED, TRANSITIONS, UNPAID, WITH_NODE, State, Trigger
from tests.support import state_pictures

# Rows: states. Columns: triggers. A letter is the state that follows, a dot: nothing happens.
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
    "B": State.BLOCKED,
    "P": State.PAYING,
    "H": State.HELD,
    "O": State.HANDED_OVER,
    "S": State.SETTLED,
    "F": State.FAILED,
}


ROWS = state_pictures.read(PICTURE, State, Trigger, LETTERS)


def test_the_picture_shows_every_state_and_trigger() -> None:
    assert {(state, trigger) for state, trigger, _ in ROWS} == {(s, t) for s in State for t in Trigger}


@pytest.mark.parametrize(("state", "trigger", "follows"), ROWS)
def test_what_follows(state: State, trigger: Trigger, follows: State | None) -> None:
    assert TRANSITIONS[state].get(trigger) is follows


def test_the_sets_of_states() -> None:
    assert {State.REQUESTED, State.BLOCKED} == UNPAID
    assert {State.PAYING, State.HELD, State.HANDED_OVER} == WITH_NODE
    assert {State.SETTLED, State.FAILED} == FINISHED


def test_the_lsp_is_told_of_every_ending_that_it_did_not_bring_about_itself() -> None:
    endings = {trigger for row in TRANSITIONS.values() for trigger, state in row.items() if state is State.FAILED}
    assert endings - CANCELS_BLOCK == {Trigger.REFUSED, Trigger.BLOCK_ENDED, Trigger.DEADLINE}
