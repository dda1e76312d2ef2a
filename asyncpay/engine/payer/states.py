"""The life of a payment at its payer: from the request to hold it until it is settled or returned.

Two rules, as for the LSP's blocks: every transition of a payment from one state to another is in TRANSITIONS, and this
file does not depend on nodes and clocks.

Theory of operation
===================

    REQUESTED    the LSP is asked to hold the coming parts; nothing was sent
    BLOCKED      the LSP will hold them; nothing was sent
    PAYING       the node may be paying: from here on only the node's own record decides the outcome
    HELD         every part that the node has in flight is held by the LSP
    HANDED_OVER  the message for the payee was sent, and the payer may go offline

Each state is stored before the step that it names is taken. So a payment found in one of the first two after
a crash has no HTLC and may simply end; found in any other, it is looked up in the node, which never pays a
hash twice, and ends only by the node's report. If the node does not know a payment that is PAYING, the order was
lost in a crash and the payment is BLOCKED as before. A cancel does not end such a payment either: it asks the LSP to
return the parts, and the node reports when they are returned. If the node has paid a payment that had FAILED, it
becomes SETTLED: the proof of payment counts whenever it comes.
"""

from enum import Enum

from asyncpay.wire.messages import BlockState


class State(Enum):
    """The state of a payment. It is stored before the step that it names."""

    REQUESTED = "requested"
    BLOCKED = "blocked"
    PAYING = "paying"
    HELD = "held"
    HANDED_OVER = "handed over"
    SETTLED = "settled"
    FAILED = "failed"


class Trigger(Enum):
    """The events that can change the state of a payment."""

    ACCEPTED = "the LSP accepts the block"
    REFUSED = "the LSP refuses the block"
    UNANSWERED = "the LSP does not answer"
    CANCEL = "the user cancels"
    BLOCK_ENDED = "the LSP reports that the block has ended"
    DEADLINE = "a deadline of the block"
    CHANNEL_USABLE = "the channel to the LSP is usable"
    ALL_HELD = "all HTLCs in flight are held"
    PENDING_SENT = "payment_pending was sent"
    PAID = "the node has the preimage"
    NOT_BEGUN = "the node has no record of it"
    NOT_PAID = "the node has no attempt in flight"


TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.REQUESTED: {
        Trigger.ACCEPTED: State.BLOCKED,
        Trigger.REFUSED: State.FAILED,
        Trigger.UNANSWERED: State.FAILED,
        Trigger.CANCEL: State.FAILED,
        Trigger.BLOCK_ENDED: State.FAILED,
        Trigger.DEADLINE: State.FAILED,
    },
    State.BLOCKED: {
        Trigger.CHANNEL_USABLE: State.PAYING,
        Trigger.CANCEL: State.FAILED,
        Trigger.BLOCK_ENDED: State.FAILED,
        Trigger.DEADLINE: State.FAILED,
    },
    State.PAYING: {
        Trigger.ALL_HELD: State.HELD,
        Trigger.NOT_BEGUN: State.BLOCKED,
        Trigger.PAID: State.SETTLED,
        Trigger.NOT_PAID: State.FAILED,
    },
    State.HELD: {
        Trigger.PENDING_SENT: State.HANDED_OVER,
        Trigger.PAID: State.SETTLED,
        Trigger.NOT_PAID: State.FAILED,
    },
    State.HANDED_OVER: {
        Trigger.PAID: State.SETTLED,
        Trigger.NOT_PAID: State.FAILED,
    },
    State.SETTLED: {},
    State.FAILED: {
        Trigger.PAID: State.SETTLED,
    },
}

FINISHED = frozenset({State.SETTLED, State.FAILED})
"""Final states; only the proof of payment leads out of FAILED."""

WITH_NODE = frozenset(state for state, row in TRANSITIONS.items() if Trigger.NOT_PAID in row)
"""States in which the node may have HTLCs in flight, so that only the node decides the outcome."""

UNPAID = frozenset(state for state, row in TRANSITIONS.items() if Trigger.DEADLINE in row)
"""States in which nothing was sent, so that the payment may simply end, and must end at its deadlines."""

CANCELS_BLOCK = frozenset({Trigger.UNANSWERED, Trigger.CANCEL, Trigger.NOT_PAID})
"""Final states that the LSP may not know of: it is asked to end the block too."""

ENDS_BLOCK = frozenset({BlockState.RELEASED, BlockState.SETTLED, BlockState.FAILED_BACK})
"""Updates after which the LSP holds nothing for the block any more: nothing is left to cancel."""
