"""The life of a claim: a held payment that somebody announced to this payee by showing it a pid.

Few things can happen to it, because the payee risks nothing: it asks the payer's LSP to let the parts go
(RELEASING), again and again, until its own node has been paid or it is of no use any more. Having asked as often
as it may, it rests until the pid is shown to it once more.
"""

from enum import Enum


class Stage(Enum):
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


TRANSITIONS: dict[Stage, dict[Trigger, Stage]] = {
    Stage.RELEASING: {
        Trigger.PAID: Stage.PAID,
        Trigger.TOO_LATE: Stage.TOO_LATE,
        Trigger.DEADLINE: Stage.EXPIRED,
    },
    # The money may still come: a release that was on its way, or an answer that was wrong.
    Stage.TOO_LATE: {Trigger.PAID: Stage.PAID},
    Stage.EXPIRED: {Trigger.PAID: Stage.PAID},
    Stage.REFUSED: {},
    Stage.PAID: {},
}

FINISHED = frozenset(Stage) - {Stage.RELEASING}
"""Nothing is sent for these, and the same pid shown again changes nothing."""

UNPAID = frozenset(stage for stage, row in TRANSITIONS.items() if Trigger.PAID in row)
"""Stages in which the money may still come."""
