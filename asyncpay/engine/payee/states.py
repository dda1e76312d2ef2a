"""The life of a claim: a held payment that was announced to this payee by showing it a pid.

Few things can happen to it, because the payee risks nothing: it asks the payer's LSP to release the parts (RELEASING),
again and again, until its own node has been paid or the block is over. Having asked as often as it may, it rests until
the pid is shown to it once more.
"""

from enum import Enum


class State(Enum):
    """How far a claim has come."""

    RELEASING = "releasing"
    PAID = "paid"
    TOO_LATE = "too late"
    EXPIRED = "expired"
    REFUSED = "refused"


class Trigger(Enum):
    """What can happen to a claim."""

    PAID = "all invoices are paid"
    TOO_LATE = "the payer's side says that it is too late"
    DEADLINE = "a deadline of the block"


TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.RELEASING: {
        Trigger.PAID: State.PAID,
        Trigger.TOO_LATE: State.TOO_LATE,
        Trigger.DEADLINE: State.EXPIRED,
    },
    # The money may still come: a release that was on its way, or an answer that was wrong.
    State.TOO_LATE: {Trigger.PAID: State.PAID},
    State.EXPIRED: {Trigger.PAID: State.PAID},
    State.REFUSED: {},
    State.PAID: {},
}

FINISHED = frozenset(State) - {State.RELEASING}
"""Final states: nothing is sent, and the same pid shown again changes nothing. The money may still come."""

UNPAID = frozenset(state for state, row in TRANSITIONS.items() if Trigger.PAID in row)
"""States in which the money may still come."""
