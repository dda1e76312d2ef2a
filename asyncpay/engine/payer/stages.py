"""The life of a payment as its payer sees it: from the request to hold it until it is settled or back.

Two rules, as for the LSP's blocks: whatever moves a payment from one stage to another is in TRANSITIONS, and
this file knows nothing of nodes and clocks.

Theory of operation
===================

    REQUESTED    the LSP is asked to hold the coming parts; nothing has left
    BLOCKED      it will; nothing has left
    PAYING       the node may be paying: from here on only the node's own record tells how it ends
    HELD         every part that the node has in flight is held by the LSP
    HANDED_OVER  the payee's message has left, and the payer may go offline

Each stage is stored before the step that it names is taken. So a payment found in one of the first two after
a crash has no HTLC and may simply end; found in any other, it is looked up in the node, which never pays a
hash twice, and ends only as the node says. If the node never heard of a payment that is PAYING, the order was
lost in a crash and the payment is BLOCKED as before. A cancel does not end such a payment either: it asks the LSP to
return the parts, and the node tells when they are back. Should the node have paid a payment that had FAILED, it is
SETTLED after all: the proof counts whenever it comes.
"""

from enum import Enum

from asyncpay.wire.messages import BlockState


class Stage(Enum):
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
    WAY_OPEN = "the channel to the LSP is usable"
    ALL_HELD = "all that the node has in flight is held"
    PENDING_SENT = "payment_pending has left"
    PAID = "the node has the preimage"
    NOT_BEGUN = "the node never heard of it"
    NOT_PAID = "the node has no attempt in flight"


TRANSITIONS: dict[Stage, dict[Trigger, Stage]] = {
    Stage.REQUESTED: {
        Trigger.ACCEPTED: Stage.BLOCKED,
        Trigger.REFUSED: Stage.FAILED,
        Trigger.UNANSWERED: Stage.FAILED,
        Trigger.CANCEL: Stage.FAILED,
        Trigger.BLOCK_ENDED: Stage.FAILED,
        Trigger.DEADLINE: Stage.FAILED,
    },
    Stage.BLOCKED: {
        Trigger.WAY_OPEN: Stage.PAYING,
        Trigger.CANCEL: Stage.FAILED,
        Trigger.BLOCK_ENDED: Stage.FAILED,
        Trigger.DEADLINE: Stage.FAILED,
    },
    Stage.PAYING: {
        Trigger.ALL_HELD: Stage.HELD,
        Trigger.NOT_BEGUN: Stage.BLOCKED,
        Trigger.PAID: Stage.SETTLED,
        Trigger.NOT_PAID: Stage.FAILED,
    },
    Stage.HELD: {
        Trigger.PENDING_SENT: Stage.HANDED_OVER,
        Trigger.PAID: Stage.SETTLED,
        Trigger.NOT_PAID: Stage.FAILED,
    },
    Stage.HANDED_OVER: {
        Trigger.PAID: Stage.SETTLED,
        Trigger.NOT_PAID: Stage.FAILED,
    },
    Stage.SETTLED: {},
    Stage.FAILED: {
        Trigger.PAID: Stage.SETTLED,
    },
}

FINISHED = frozenset({Stage.SETTLED, Stage.FAILED})
"""Nothing is waited for in these, and nothing but the proof that it was paid leads out of them."""

WITH_NODE = frozenset(stage for stage, row in TRANSITIONS.items() if Trigger.NOT_PAID in row)
"""Stages in which the node may have HTLCs in flight, so that it alone tells how the payment ends."""

UNPAID = frozenset(stage for stage, row in TRANSITIONS.items() if Trigger.DEADLINE in row)
"""Stages in which nothing has left, so that the payment may simply end, and must at its deadlines."""

CALLED_OFF = frozenset({Trigger.UNANSWERED, Trigger.CANCEL, Trigger.NOT_PAID})
"""Endings of which the LSP may not know: it is asked to end the block too."""

ENDS_BLOCK = frozenset({BlockState.RELEASED, BlockState.SETTLED, BlockState.FAILED_BACK})
"""What an LSP says of a block for which it holds nothing any more: nothing is left to cancel."""
