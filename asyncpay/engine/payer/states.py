"""The life of a payment as its payer sees it: from the request to hold it until it is settled or back.

Two rules, as for the LSP's blocks: all that moves a payment from one state to another is in TRANSITIONS, and this file
knows nothing of nodes and clocks.

Theory of operation
===================

    REQUESTED    the LSP is asked to hold the coming parts; nothing has left
    BLOCKED      it will; nothing has left
    PAYING       the node may be paying: from here on only the node's own record tells how it ends
    HELD         every part that the node has in flight is held by the LSP
    HANDED_OVER  the payee's message has left, and the payer may go offline

Each state is stored before the step that it names is taken. So a payment found in one of the first two after
a crash has no HTLC and may simply end; found in any other, it is looked up in the node, which never pays a
hash twice, and ends only as the node says. If the node never heard of a payment that is PAYING, the order was
lost in a crash and the payment is BLOCKED as before. A cancel does not end such a payment either: it asks the LSP to
return the parts, and the node tells when they are back. Should the node have paid a payment that had FAILED, it is
SETTLED after all: the proof counts whenever it comes.
"""

from enum import Enum

from asyncpay.wire.messages import BlockState


class State(Enum):
    """How far a payment has come. Each is stored before the step that it names."""

    REQUESTED = "requested"
    BLOCKED = "blocked"
    PAYING = "paying"
    HELD = "held"
    HANDED_OVER = "handed over"
    SETTLED = "settled"
    FAILED = "failed"


class Trigger(Enum):
    """What can happen to a payment."""

    ACCEPTED = "the LSP will hold it"
    REFUSED = "the LSP will not hold it"
    UNANSWERED = "the LSP does not answer"
    CANCEL = "the user cancels"
    BLOCK_ENDED = "the LSP says that the block is over"
    DEADLINE = "a deadline of the block"
    CHANNEL_USABLE = "the channel to the LSP is usable"
    ALL_HELD = "all that the node has in flight is held"
    PENDING_SENT = "payment_pending has left"
    PAID = "the node has the preimage"
    NOT_BEGUN = "the node never heard of it"
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
"""Final states; only the proof that it was paid leads out of FAILED."""

WITH_NODE = frozenset(state for state, row in TRANSITIONS.items() if Trigger.NOT_PAID in row)
"""States in which the node may have HTLCs in flight, so that it alone tells how the payment ends."""

UNPAID = frozenset(state for state, row in TRANSITIONS.items() if Trigger.DEADLINE in row)
"""States in which nothing has left, so that the payment may simply end, and must at its deadlines."""

CANCELS_BLOCK = frozenset({Trigger.UNANSWERED, Trigger.CANCEL, Trigger.NOT_PAID})
"""Endings of which the LSP may not know: it is asked to end the block too."""

ENDS_BLOCK = frozenset({BlockState.RELEASED, BlockState.SETTLED, BlockState.FAILED_BACK})
"""Updates about a block for which the LSP holds nothing any more: nothing is left to cancel."""
