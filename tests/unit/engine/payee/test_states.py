"""The table of a claim's life, spelled out: every state and every trigger."""

import pytest

from asyncpay.engine.payee.states import FINISHED, TRANSITIONS, UNPAID, State, Trigger
from tests.support import state_pictures

# Rows: states. Columns: triggers. A letter is the state that follows, a dot: nothing happens.
PICTURE = """
             paid too_late deadline
releasing    P    L        E
paid         .    .        .
too_late     P    .        .
expired      P    .        .
refused      .    .        .
"""

LETTERS = {"P": State.PAID, "L": State.TOO_LATE, "E": State.EXPIRED}


ROWS = state_pictures.read(PICTURE, State, Trigger, LETTERS)


def test_the_picture_shows_every_state_and_trigger() -> None:
    assert {(state, trigger) for state, trigger, _ in ROWS} == {(s, t) for s in State for t in Trigger}


@pytest.mark.parametrize(("state", "trigger", "follows"), ROWS)
def test_what_follows(state: State, trigger: Trigger, follows: State | None) -> None:
    assert TRANSITIONS[state].get(trigger) is follows


def test_the_sets_of_states() -> None:
    assert {State.PAID, State.TOO_LATE, State.EXPIRED, State.REFUSED} == FINISHED
    assert {State.RELEASING, State.TOO_LATE, State.EXPIRED} == UNPAID
