"""The life of a block: from a payer's request to hold its parts until they are settled or returned.

This file follows two rules:

1. Every transition from one state to another is in TRANSITIONS, and everything that depends only on the state
   is in PROPERTIES. The other files detect *that* something happened; the consequence is defined here.
2. This file does not depend on nodes, peers, clocks or messages. So it cannot treat LND and CLN differently.

Theory of operation
===================

Two conditions must be met before the parts are released, in any order: the set of parts must be complete, and
the payee must have revealed the `pid`. Four states are the four combinations of the two:

                     pid unknown     pid known
    set incomplete   ACCEPTED        UNLOCKED
    set complete     HELD            DUE

A block that is DUE waits for the channels that it needs. If they are usable the parts are RELEASED, which is
the point of no return: from here on the network decides and the LSP fails no part back. If the payer is
offline and the LSP's node cannot forward without it, the LSP may pay the payee itself: PAYING is the other
point of no return, because only the result of that payment decides whether parts must be claimed or may be
returned. Only its definite failure leads back to DUE.

Every trigger that may end a block before those points has the same effect (all parts are failed back
together), so these triggers share one row, ENDINGS. In any later state they are not in the table, and
a trigger that is not in the table is ignored.

A finished block is kept for a time. It answers repeated requests as before, and it never changes its state.
"""

from dataclasses import dataclass
from enum import Enum

from asyncpay.lightning import Resolution
from asyncpay.wire.messages import BlockState, ReleaseStatus


class State(Enum):
    """The state of a block."""

    ACCEPTED = "accepted"
    UNLOCKED = "unlocked"
    HELD = "held"
    DUE = "due"
    PAYING = "paying"
    RELEASED = "released"
    SETTLED = "settled"
    CLAIMED = "claimed"
    RETURNED = "returned"
    FAILED_BACK = "failed back"


class Trigger(Enum):
    """The events that can change the state of a block."""

    COMPLETE = "every hash has a part and the sum is reached"
    RELEASE = "the pid is received"
    LINKS_USABLE = "all parts are intercepted, all channels usable"
    PAY_ON_BEHALF = "payer offline, invoice matches"
    PAID = "own payment succeeded"
    NOT_PAID = "own payment failed permanently"
    SETTLED_BY_PAYEE = "payee claimed the parts"
    RETURNED_BY_NETWORK = "every part failed downstream"

    DEADLINE = "a deadline of the block"
    INCOMPLETE = "parts missing for too long"
    NEAR_EXPIRY = "a part near its expiry"
    CANCEL = "payer cancels"
    REFUSAL = "payee refuses"
    PART_LOST = "a part was lost"
    CHANNEL_CLOSING = "a part's channel is being closed"
    OVER_LIMIT = "the limit of held HTLCs is exceeded"


@dataclass(frozen=True, slots=True)
class To:
    """The next state of a transition, and the resolution that it brings for all parts of the block, if any."""

    state: State
    resolution: Resolution | None = None


_BACK = To(State.FAILED_BACK, Resolution.FAIL)


ENDINGS: dict[Trigger, To] = {
    Trigger.DEADLINE: _BACK,
    Trigger.NEAR_EXPIRY: _BACK,
    Trigger.CANCEL: _BACK,
    Trigger.REFUSAL: _BACK,
    Trigger.PART_LOST: _BACK,
    Trigger.CHANNEL_CLOSING: _BACK,
    Trigger.OVER_LIMIT: _BACK,
}


TRANSITIONS: dict[State, dict[Trigger, To]] = {
    State.ACCEPTED: {
        Trigger.COMPLETE: To(State.HELD),
        Trigger.RELEASE: To(State.UNLOCKED),
        Trigger.INCOMPLETE: _BACK,
        **ENDINGS,
    },
    State.UNLOCKED: {
        Trigger.COMPLETE: To(State.DUE),
        Trigger.INCOMPLETE: _BACK,
        **ENDINGS,
    },
    State.HELD: {
        Trigger.RELEASE: To(State.DUE),
        **ENDINGS,
    },
    State.DUE: {
        Trigger.LINKS_USABLE: To(State.RELEASED, Resolution.RESUME),
        Trigger.PAY_ON_BEHALF: To(State.PAYING),
        **ENDINGS,
    },
    State.PAYING: {
        Trigger.PAID: To(State.CLAIMED, Resolution.SETTLE),
        Trigger.NOT_PAID: To(State.DUE),
    },
    State.RELEASED: {
        Trigger.SETTLED_BY_PAYEE: To(State.SETTLED),
        Trigger.RETURNED_BY_NETWORK: To(State.RETURNED),
    },
    State.SETTLED: {},
    State.CLAIMED: {},
    State.RETURNED: {},
    State.FAILED_BACK: {},
}


@dataclass(frozen=True, slots=True)
class Properties:
    """The answers and resolutions that a state determines.

    late_part: the resolution of a part that first arrives in this state; None: it joins the set.
    release: the answer to a release.
    update: the block_update for the payer; None: there is none yet.
    """

    late_part: Resolution | None
    release: ReleaseStatus
    update: BlockState | None


PROPERTIES: dict[State, Properties] = {
    State.ACCEPTED: Properties(None, ReleaseStatus.RELEASED, None),
    State.UNLOCKED: Properties(None, ReleaseStatus.RELEASED, None),
    State.HELD: Properties(None, ReleaseStatus.RELEASED, BlockState.HELD),
    State.DUE: Properties(None, ReleaseStatus.RELEASED, BlockState.HELD),
    # The LSP's payment is already fixed. The payer would get nothing for one more part.
    State.PAYING: Properties(Resolution.FAIL, ReleaseStatus.RELEASED, BlockState.HELD),
    State.RELEASED: Properties(Resolution.RESUME, ReleaseStatus.RELEASED, BlockState.RELEASED),
    State.SETTLED: Properties(Resolution.RESUME, ReleaseStatus.RELEASED, BlockState.SETTLED),
    State.CLAIMED: Properties(Resolution.FAIL, ReleaseStatus.RELEASED, BlockState.SETTLED),
    State.RETURNED: Properties(Resolution.RESUME, ReleaseStatus.TOO_LATE, BlockState.FAILED_BACK),
    State.FAILED_BACK: Properties(Resolution.FAIL, ReleaseStatus.TOO_LATE, BlockState.FAILED_BACK),
}


UNDECIDED = frozenset(state for state, row in TRANSITIONS.items() if Trigger.DEADLINE in row)
"""States in which the block may still be failed back, and so must be failed back at its deadlines."""


COLLECTING = frozenset(state for state, row in TRANSITIONS.items() if Trigger.COMPLETE in row)
"""States in which parts are missing."""


FINISHED = frozenset(state for state, row in TRANSITIONS.items() if not row)
"""Final states. The block is kept until its time is over, to answer repeated requests."""
