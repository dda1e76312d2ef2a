"""The table of a block's life, spelled out: every state and every trigger."""

import pytest

from asyncpay.engine.lsp.states import COLLECTING, FINISHED, PROPERTIES, TRANSITIONS, UNDECIDED, State, Trigger
from asyncpay.lightning import Resolution
from tests.support import state_pictures

# Rows: states. Columns: triggers. A letter is the state that follows, a dot: nothing happens.
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
    "H": State.HELD,
    "U": State.UNLOCKED,
    "D": State.DUE,
    "R": State.RELEASED,
    "P": State.PAYING,
    "C": State.CLAIMED,
    "S": State.SETTLED,
    "B": State.RETURNED,
    "F": State.FAILED_BACK,
}


ROWS = state_pictures.read(PICTURE, State, Trigger, LETTERS)


def test_the_picture_shows_every_state_and_trigger() -> None:
    assert {(state, trigger) for state, trigger, _ in ROWS} == {(s, t) for s in State for t in Trigger}


@pytest.mark.parametrize(("state", "trigger", "follows"), ROWS)
def test_what_follows(state: State, trigger: Trigger, follows: State | None) -> None:
    to = TRANSITIONS[state].get(trigger)
    assert (to.state if to else None) is follows


def test_parts_are_forwarded_claimed_or_failed_in_these_transitions_only() -> None:
    resolutions = {
        (state, to.state, to.resolution) for state, row in TRANSITIONS.items() for to in row.values() if to.resolution
    }
    undecided = (State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE)
    assert resolutions == {
        (State.DUE, State.RELEASED, Resolution.RESUME),
        (State.PAYING, State.CLAIMED, Resolution.SETTLE),
        *((state, State.FAILED_BACK, Resolution.FAIL) for state in undecided),
    }


def test_the_sets_of_states() -> None:
    assert {State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE} == UNDECIDED
    assert {State.ACCEPTED, State.UNLOCKED} == COLLECTING
    assert {State.SETTLED, State.CLAIMED, State.RETURNED, State.FAILED_BACK} == FINISHED


def test_a_part_more_is_never_taken_once_the_outcome_of_the_set_is_fixed() -> None:
    assert {state for state, facts in PROPERTIES.items() if facts.late_part is None} == UNDECIDED
    assert {state for state, facts in PROPERTIES.items() if facts.late_part is Resolution.FAIL} == {
        State.PAYING,
        State.CLAIMED,
        State.FAILED_BACK,
    }
