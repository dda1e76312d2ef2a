"""The table of a claim's life, spelled out: every state and every trigger."""

import pytest

from asyncpay.engine.payee.states import FINISHED, TRANSITIONS, UNPAID, State, Trigger

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


def rows() -> list[tuple[State, Trigger, State | None]]:
    return [
        (State[line.split()[0].upper()], trigger, LETTERS.get(letter))
        for line in PICTURE.strip().splitlines()[1:]
        for trigger, letter in zip(Trigger, line.split()[1:], strict=True)
    ]


def test_the_picture_shows_every_state_and_trigger() -> None:
    assert {(state, trigger) for state, trigger, _ in rows()} == {(s, t) for s in State for t in Trigger}


@pytest.mark.parametrize(("state", "trigger", "follows"), rows())
def test_what_follows(state: State, trigger: Trigger, follows: State | None) -> None:
    assert TRANSITIONS[state].get(trigger) is follows


def test_the_sets_of_stages() -> None:
    assert {State.PAID, State.TOO_LATE, State.EXPIRED, State.REFUSED} == FINISHED
    assert {State.RELEASING, State.TOO_LATE, State.EXPIRED} == UNPAID
