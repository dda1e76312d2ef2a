"""The life of a claim: a held payment whose pid was announced to this payee.

It has few states, because the payee risks nothing: it asks the payer's LSP repeatedly to release the parts (RELEASING),
until its own node has been paid or the block is over. When all its releases are used up, it waits until the pid is
announced again.
"""

from enum import Enum


class State(Enum):
    """The state of a claim."""

    RELEASING = "releasing"
    PAID = "paid"
    TOO_LATE = "too late"
    EXPIRED = "expired"
    REFUSED = "refused"


class Trigger(Enum):
    """The events that can change the state of a claim."""

    PAID = "all invoices are paid"
    TOO_LATE = "the payer's side says that it is too late"
    DEADLINE = "a deadline of the block"


TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.RELEASING: {
        Trigger.PAID: State.PAID,
        Trigger.TOO_LATE: State.TOO_LATE,
        Trigger.DEADLINE: State.EXPIRED,
    },
    # The payment may still arrive: a release was in transit, or an answer was wrong.
    State.TOO_LATE: {Trigger.PAID: State.PAID},
    State.EXPIRED: {Trigger.PAID: State.PAID},
    State.REFUSED: {},
    State.PAID: {},
}

FINISHED = frozenset(State) - {State.RELEASING}
"""Final states: nothing is sent, and a repeated announcement changes nothing. The payment may still arrive."""

UNPAID = frozenset(state for state, row in TRANSITIONS.items() if Trigger.PAID in row)
"""States in which the payment may still arrive."""
