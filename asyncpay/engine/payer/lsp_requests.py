"""What the LSP is asked for, and what it says: hold the coming parts (block_request), or return them (cancel_request).

Both are repeated, with the same bytes, until there is an answer, and again over each new connection: what was sent
over the old one, and the answer, may be lost.

An LSP answers a request that it knows with the present state of the block. So the request is repeated also while the
node pays: an update that was lost comes again. By then nothing is urgent, and a request is large (32 kB with its
courier): on a slow line it would delay the very HTLCs that are waited for, so the pauses grow.

A block that the LSP keeps for a payment that has ended takes up room for nothing, so it is cancelled too. A cancel
never ends a payment whose parts are with the node: RELEASED or SETTLED from the LSP means that the cancel was too
late, and then it is as if it had not been asked for. Only the node says when parts are back.
"""

import math
from dataclasses import replace

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payer import handover
from asyncpay.engine.payer.interface import CancelOrdered, Ordered, RefusalSeen, Replied, SendToLsp, Updated
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.state import Context
from asyncpay.engine.payer.states import ENDS_BLOCK, UNPAID, WITH_NODE, State, Trigger
from asyncpay.log_events import LogEvent
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockRequest, BlockState, BlockStatus, CancelRequest

_REFUSALS = {
    BlockStatus.TOO_MANY_HOLDS: "it holds as much for this wallet as it will: wait until a payment has ended",
    BlockStatus.AMOUNT_TOO_LARGE: "the amount is too large for it",
    BlockStatus.HOLD_TOO_LONG: "it will not hold a payment for so long: ask for less",
    BlockStatus.CONFLICT: "it was asked for the same payment before, in another way: ask the payee for a new invoice",
    BlockStatus.BAD_VALUE: "it rejects a value of the request",
    BlockStatus.UNAVAILABLE: "its node is not available now: try again later",
}

_RANK = {BlockState.HELD: 1, BlockState.RELEASED: 2, BlockState.SETTLED: 3, BlockState.FAILED_BACK: 3}
"""How far a block has come by each update. Updates may come late, twice, in another order, or not at all."""


def resend_all(ctx: Context, payment: OutgoingPayment) -> None:
    """Make everything due that waits for an answer of the LSP: the connection is a new one."""
    if _answer_is_news(ctx, payment):
        ctx.put(replace(payment, requests_sent=0, request_next_at=ctx.now))
    handover.resend(ctx, payment)
    payment = ctx.payments[payment.key]
    if payment.cancel_next_at is not None:
        ctx.put(replace(payment, cancels_sent=0, cancel_next_at=ctx.now))


# --- hold the parts ---


def ordered(ctx: Context, event: Ordered) -> None:
    """The user pays. A payment is made once: a known one is left as it is, unless nothing came of it."""
    payment = event.payment
    known = ctx.payments.get(payment.key)
    if known is not None and not known.may_be_ordered_again:
        ctx.log(LogEvent.ORDER_IGNORED, payment.key, because="this payment is known already")
        return
    ctx.put(replace(payment, request_next_at=ctx.now))
    ctx.log(LogEvent(payment.state.value), payment.key, because=f"{payment.amount_msat} msat to {payment.payee.hex()}")


def request_block(ctx: Context, payment: OutgoingPayment) -> None:
    """Send the block_request when it is due, or give up."""
    if request_at(ctx, payment) > ctx.now:
        return
    if payment.state is State.REQUESTED and payment.requests_sent > ctx.policy.request_repeats:
        failure = (
            f"nothing was paid: LSP {payment.lsp.hex()} did not answer {payment.requests_sent} requests. "
            "Check that it is connected, then pay a new invoice"
        )
        ctx.advance(payment, Trigger.UNANSWERED, failure)
        return
    request = messages.decode(payment.request)
    assert isinstance(request, BlockRequest)
    again = ctx.now + _request_pause_seconds(ctx, payment)
    ctx.put(replace(payment, requests_sent=payment.requests_sent + 1, request_next_at=again))
    ctx.emit(SendToLsp(payment.lsp, request))


def request_at(ctx: Context, payment: OutgoingPayment) -> float:
    """When `request_block` has something to do."""
    if payment.request_next_at is None or not _answer_is_news(ctx, payment):
        return math.inf
    return payment.request_next_at


def _request_pause_seconds(ctx: Context, payment: OutgoingPayment) -> float:
    if payment.state is State.REQUESTED:
        return ctx.policy.request_seconds
    return backoff_seconds(ctx.policy.request_seconds, ctx.policy.request_most_seconds, payment.requests_sent)


def _answer_is_news(ctx: Context, payment: OutgoingPayment) -> bool:
    if payment.state is State.REQUESTED:
        return True
    return payment.state is State.PAYING and not payment.cancelled and ctx.block_in_force(payment)


def replied(ctx: Context, event: Replied) -> None:
    """The LSP says whether it will hold the parts; only the first answer counts."""
    reply = event.message
    payment = ctx.payments.of_block(reply.unblock_hash)
    if payment is None:
        return
    if reply.status is BlockStatus.ACCEPTED:
        ctx.advance(payment, Trigger.ACCEPTED)
    else:
        why = _REFUSALS[reply.status] + (f" ({reply.reason})" if reply.reason else "")
        ctx.advance(payment, Trigger.REFUSED, f"LSP {payment.lsp.hex()} will not hold this payment: {why}")


def updated(ctx: Context, event: Updated) -> None:
    """The LSP says how far the block has come; it never goes back."""
    update = event.message
    payment = ctx.payments.of_block(update.unblock_hash)
    if payment is None or not _may_follow(payment.told, update.state):
        return
    if (payment.told, payment.told_parts) != (update.state, update.parts):
        ctx.put(replace(payment, told=update.state, told_parts=update.parts))
        ctx.log(LogEvent(f"the LSP says {update.state.name}"), payment.key, because=f"{update.parts} parts")
    if update.state in ENDS_BLOCK:
        _stop_cancelling(ctx, ctx.payments[payment.key])
    else:
        handover.compare_with_node(ctx, ctx.payments[payment.key])
    if update.state is BlockState.FAILED_BACK:
        failure = f"LSP {payment.lsp.hex()} has ended the block before anything was paid"
        ctx.advance(ctx.payments[payment.key], Trigger.BLOCK_ENDED, failure)


def _may_follow(told: BlockState | None, state: BlockState) -> bool:
    return told is None or told is state or _RANK[told] < _RANK[state]


def end_if_overdue(ctx: Context, payment: OutgoingPayment) -> None:
    """Fail a payment whose block has passed a deadline before anything was paid."""
    if ctx.block_overdue(payment):
        ctx.advance(payment, Trigger.DEADLINE, "its time was over before anything could be paid")


# --- return the parts ---


def cancel_ordered(ctx: Context, event: CancelOrdered) -> None:
    """The user wants a payment back."""
    payment = ctx.payments.get(event.payment_hash)
    if payment is None:
        ctx.log(LogEvent.CANCEL_IGNORED, event.payment_hash, because="no such payment was ordered here")
    elif payment.state in UNPAID:
        ctx.advance(payment, Trigger.CANCEL, "cancelled before anything was paid")
    else:
        _begin_cancelling(ctx, payment, "cancelled")


def refusal_seen(ctx: Context, event: RefusalSeen) -> None:
    """The payee will never take this payment."""
    payment = ctx.payments.of_block(messages.unblock_hash(event.pid))
    if payment is not None and payment.state in WITH_NODE:
        _begin_cancelling(ctx, payment, f"the payee refuses it: {event.reason or 'no reason given'}")


def cancel(ctx: Context, payment: OutgoingPayment) -> None:
    """Send the cancel_request when it is due, for as long as the block is in force."""
    if cancel_at(payment) > ctx.now:
        return
    if not ctx.block_in_force(payment):
        ctx.put(replace(payment, cancel_next_at=None))
        return
    request = messages.decode(payment.cancel)
    assert isinstance(request, CancelRequest)
    pause = backoff_seconds(ctx.policy.cancel_seconds, ctx.policy.cancel_most_seconds, payment.cancels_sent)
    ctx.put(replace(payment, cancels_sent=payment.cancels_sent + 1, cancel_next_at=ctx.now + pause))
    ctx.emit(SendToLsp(payment.lsp, request))


def cancel_at(payment: OutgoingPayment) -> float:
    """When `cancel` has something to do."""
    return math.inf if payment.cancel_next_at is None else payment.cancel_next_at


def _begin_cancelling(ctx: Context, payment: OutgoingPayment, failure: str) -> None:
    if payment.state not in WITH_NODE:
        ctx.log(LogEvent.CANCEL_IGNORED, payment.key, because=f"it is {payment.state.value} already")
    elif not ctx.block_in_force(payment):
        why = "the LSP has let go of the parts already; the node tells what becomes of them"
        ctx.log(LogEvent.CANCEL_IGNORED, payment.key, because=why)
    else:
        why = payment.failure or failure
        ctx.put(replace(payment, cancelled=True, failure=why, cancels_sent=0, cancel_next_at=ctx.now))
        ctx.log(LogEvent.CANCELLING, payment.key, because=why)


def _stop_cancelling(ctx: Context, payment: OutgoingPayment) -> None:
    """The LSP says, asked or unasked, how the block has ended: nothing is left to cancel."""
    stopped = replace(payment, cancel_next_at=None)
    if payment.cancelled and payment.state in WITH_NODE and payment.told is not BlockState.FAILED_BACK:
        ctx.log(LogEvent.TOO_LATE_TO_CANCEL, payment.key, because="the parts were on their way already")
        stopped = replace(stopped, cancelled=False, failure="")
    if stopped != payment:
        ctx.put(stopped)
