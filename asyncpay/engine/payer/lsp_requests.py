"""Requests to the LSP, and its answers: hold the coming parts (block_request), or return them (cancel_request).

Both are repeated, with the same bytes, until there is an answer, and again over each new connection: the request sent
over the old connection, or its answer, may be lost.

An LSP answers a known request with the present state of the block. So the request is repeated also while the
node pays: that replaces a lost update. At this stage nothing is urgent, and a request is large (32 kB with its
courier): on a slow connection it would delay the HTLCs that the payment waits for, so the pauses grow.

The block of a payment that has ended takes up space at the LSP for nothing, so it is cancelled too. A cancel
never ends a payment whose parts are with the node: RELEASED or SETTLED from the LSP means that the cancel was too
late, and it is treated as if it had not been requested. Only the node reports when parts are returned.
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
    BlockStatus.TOO_MANY_HOLDS: "it holds the maximum for this wallet: wait until a payment has ended",
    BlockStatus.AMOUNT_TOO_LARGE: "the amount is too large for it",
    BlockStatus.HOLD_TOO_LONG: "it will not hold a payment for so long: ask for less",
    BlockStatus.CONFLICT: "it has an earlier, different request for this payment: ask the payee for a new invoice",
    BlockStatus.BAD_VALUE: "it rejects a value of the request",
    BlockStatus.UNAVAILABLE: "its node is not available now: try again later",
}

_RANK = {BlockState.HELD: 1, BlockState.RELEASED: 2, BlockState.SETTLED: 3, BlockState.FAILED_BACK: 3}
"""The progress of a block that each update means. Updates may come late, twice, in another order, or not at all."""


def resend_all(ctx: Context, payment: OutgoingPayment) -> None:
    """Make every request that waits for an answer of the LSP due again, over its new connection."""
    if _answer_is_news(ctx, payment):
        ctx.put(replace(payment, requests_sent=0, request_next_at=ctx.now))
    handover.resend(ctx, payment)
    payment = ctx.payments[payment.key]
    if payment.cancel_next_at is not None:
        ctx.put(replace(payment, cancels_sent=0, cancel_next_at=ctx.now))


# --- hold the parts ---


def ordered(ctx: Context, event: Ordered) -> None:
    """Handle the user's order. A payment is made once: a known one is not changed, unless nothing was sent for it."""
    payment = event.payment
    known = ctx.payments.get(payment.key)
    if known is not None and not known.may_be_ordered_again:
        ctx.log(LogEvent.ORDER_IGNORED, payment.key, because="this payment is already known")
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
    """Return the time at which `request_block` has work to do."""
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
    """Handle the LSP's answer whether it will hold the parts; only the first answer counts."""
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
    """Handle the LSP's report on the progress of the block; it never goes back."""
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
    """Handle the user's order to cancel a payment."""
    payment = ctx.payments.get(event.payment_hash)
    if payment is None:
        ctx.log(LogEvent.CANCEL_IGNORED, event.payment_hash, because="no such payment was ordered in this wallet")
    elif payment.state in UNPAID:
        ctx.advance(payment, Trigger.CANCEL, "cancelled before anything was paid")
    else:
        _begin_cancelling(ctx, payment, "cancelled")


def refusal_seen(ctx: Context, event: RefusalSeen) -> None:
    """Handle the payee's refusal: it will never accept this payment."""
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
    """Return the time at which `cancel` has work to do."""
    return math.inf if payment.cancel_next_at is None else payment.cancel_next_at


def _begin_cancelling(ctx: Context, payment: OutgoingPayment, failure: str) -> None:
    if payment.state not in WITH_NODE:
        ctx.log(LogEvent.CANCEL_IGNORED, payment.key, because=f"it is already {payment.state.value}")
    elif not ctx.block_in_force(payment):
        why = "the LSP has already released or returned the parts; the node reports their outcome"
        ctx.log(LogEvent.CANCEL_IGNORED, payment.key, because=why)
    else:
        why = payment.failure or failure
        ctx.put(replace(payment, cancelled=True, failure=why, cancels_sent=0, cancel_next_at=ctx.now))
        ctx.log(LogEvent.CANCELLING, payment.key, because=why)


def _stop_cancelling(ctx: Context, payment: OutgoingPayment) -> None:
    """Stop cancelling: the LSP has reported how the block ended."""
    stopped = replace(payment, cancel_next_at=None)
    if payment.cancelled and payment.state in WITH_NODE and payment.told is not BlockState.FAILED_BACK:
        ctx.log(LogEvent.TOO_LATE_TO_CANCEL, payment.key, because="the parts were already released")
        stopped = replace(stopped, cancelled=False, failure="")
    if stopped != payment:
        ctx.put(stopped)
