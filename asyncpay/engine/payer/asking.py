"""Asking the LSP to hold the coming parts: again and again, with the same bytes, until it answers.

An LSP answers a request that it knows with the present state of the block. So it is asked also while the
node pays: an update that was lost is told again. By then nothing is urgent, and a request is large (32 kB with
its courier): on a slow line it would be in the way of the very HTLCs that are waited for, so the pauses grow.
"""

import math
from dataclasses import replace

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payer import progress
from asyncpay.engine.payer.effects import SendToLsp
from asyncpay.engine.payer.events import Ordered, Replied
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import Stage, Trigger
from asyncpay.engine.payer.turn import Turn
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockRequest, BlockStatus

_REFUSALS = {
    BlockStatus.TOO_MANY_HOLDS: "it holds as much for this wallet as it will: wait until a payment has ended",
    BlockStatus.AMOUNT_TOO_LARGE: "the amount is too large for it",
    BlockStatus.HOLD_TOO_LONG: "it will not hold a payment for so long: ask for less",
    BlockStatus.CONFLICT: "it was asked for the same payment before, in another way: ask the payee for a new invoice",
    BlockStatus.BAD_VALUE: "it finds the request wrong",
    BlockStatus.UNAVAILABLE: "its node is not available now: try again later",
}


def ordered(turn: Turn, event: Ordered) -> None:
    """The user pays. A payment is made once: what is known already is left as it is, unless nothing came of it."""
    payment = event.payment
    known = turn.payments.get(payment.key)
    if known is not None and not known.may_be_ordered_again:
        turn.log("order ignored", payment.key, because="this payment is known already")
        return
    turn.put(replace(payment, request_next_at=turn.now))
    turn.log(payment.stage.value, payment.key, because=f"{payment.amount_msat} msat to {payment.payee.hex()}")


def replied(turn: Turn, event: Replied) -> None:
    """The LSP says whether it will hold the parts; only the first answer counts."""
    reply = event.message
    payment = turn.payments.of_block(reply.unblock_hash)
    if payment is None:
        return
    if reply.status is BlockStatus.ACCEPTED:
        progress.advance(turn, payment, Trigger.ACCEPTED)
    else:
        why = _REFUSALS[reply.status] + (f" ({reply.reason})" if reply.reason else "")
        progress.advance(turn, payment, Trigger.REFUSED, f"LSP {payment.lsp.hex()} will not hold this payment: {why}")


def ask_afresh(turn: Turn, payment: OutgoingPayment) -> None:
    """The connection is a new one: what was sent over the old one, and the answer, may be lost."""
    if _is_open(turn, payment):
        turn.put(replace(payment, requests_sent=0, request_next_at=turn.now))


def run(turn: Turn, payment: OutgoingPayment) -> None:
    """Send the request when it is due, or give up."""
    if next_at(turn, payment) > turn.now:
        return
    if payment.stage is Stage.REQUESTED and payment.requests_sent > turn.policy.request_repeats:
        failure = (
            f"LSP {payment.lsp.hex()} did not answer, asked {payment.requests_sent} times; nothing was paid. "
            "See that it is connected, then pay a new invoice"
        )
        progress.advance(turn, payment, Trigger.UNANSWERED, failure)
        return
    request = messages.decode(payment.request)
    assert isinstance(request, BlockRequest)
    again = turn.now + _pause_seconds(turn, payment)
    turn.put(replace(payment, requests_sent=payment.requests_sent + 1, request_next_at=again))
    turn.do(SendToLsp(payment.lsp, request))


def next_at(turn: Turn, payment: OutgoingPayment) -> float:
    """When `run` has something to do."""
    if payment.request_next_at is None or not turn.state.attached or not _is_open(turn, payment):
        return math.inf
    return payment.request_next_at


def _pause_seconds(turn: Turn, payment: OutgoingPayment) -> float:
    if payment.stage is Stage.REQUESTED:
        return turn.policy.request_seconds
    return backoff_seconds(turn.policy.request_seconds, turn.policy.request_most_seconds, payment.requests_sent)


def _is_open(turn: Turn, payment: OutgoingPayment) -> bool:
    """Whether the LSP's answer to the request would be news."""
    if payment.stage is Stage.REQUESTED:
        return True
    return payment.stage is Stage.PAYING and not payment.cancelled and progress.block_stands(turn, payment)
