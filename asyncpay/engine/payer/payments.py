"""Let the node pay, and learn from it, and from nothing else, how that ends.

The node pays a hash once. Only it can tell which payments it knows, so after every break it is asked; if it has never
heard of one, the order to pay was lost on the way and is given again.

Or the order is still on its way: LND carries it out also if it arrives late and its sender is gone, and after a failed
payment of the same hash too. So after a break while PAYING the outcome is not known yet. That the node knows of no
payment, or of none any more, counts only once it says so after `quiet_seconds`; that it paid counts at any time, also
for a payment that has FAILED. That time is stored, since a phone is rarely awake for so long. To order once more
meanwhile is safe: LND refuses a hash that is in flight or paid.
"""

import math
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.payer.interface import Pay, PaymentReported, Track
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.state import Context
from asyncpay.engine.payer.states import WITH_NODE, State, Trigger
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.log_events import LogEvent
from asyncpay.wire.messages import BlockState


def ask_about_all(ctx: Context) -> None:
    """Ask what became of the payments under way: after a break only the node knows."""
    under_way = [payment for payment in ctx.payments.live() if payment.state in WITH_NODE]
    ctx.state.ask_node_at.clear()
    ctx.state.ordered_again.clear()
    for payment in under_way:
        ctx.ask_node_at(payment, ctx.now)
        _lost_sight(ctx, payment)
    for payment_hash in ctx.payments.in_doubt():
        ctx.emit(Track(payment_hash))


def pay_or_ask(ctx: Context, payment: OutgoingPayment) -> None:
    """Pay once the channel to the LSP is usable; ask the node when it is time."""
    if payment.state is State.BLOCKED and ctx.node.channels.reaches(payment.lsp):
        ctx.advance(payment, Trigger.CHANNEL_USABLE)
        _pay(ctx, ctx.payments[payment.key])
    elif ask_at(ctx, payment) <= ctx.now:
        del ctx.state.ask_node_at[payment.key]
        ctx.emit(Track(payment.key))


def ask_at(ctx: Context, payment: OutgoingPayment) -> float:
    """When `pay_or_ask` has something to do, if no channel changes before."""
    return ctx.state.ask_node_at.get(payment.key, math.inf) if payment.state in WITH_NODE else math.inf


def reported(ctx: Context, event: PaymentReported) -> None:
    """The node says how far a payment is, or how it ended."""
    payment, result = ctx.payments.get(event.payment_hash), event.result
    if payment is None or not (payment.state in WITH_NODE or _paid_after_all(payment, result)):
        return
    match result.status:
        case PaymentStatus.IN_FLIGHT:
            ctx.state.ordered_again.discard(payment.key)
            _lost_sight(ctx, payment)
            _ask_again(ctx, payment)
        case PaymentStatus.SUCCEEDED:
            _paid(ctx, payment, result)
        case PaymentStatus.UNKNOWN if _may_order_again(ctx, payment):
            ctx.state.ordered_again.add(payment.key)
            _pay(ctx, payment)
        case _ if payment.unsure_until is not None and ctx.now < payment.unsure_until:
            _ask_again(ctx, payment)
        case PaymentStatus.FAILED:
            _not_paid(ctx, payment, result.failure)
        case PaymentStatus.UNKNOWN:
            _unknown(ctx, payment)


def _paid_after_all(payment: OutgoingPayment, result: PaymentResult) -> bool:
    """Whether the node paid what counts as failed."""
    return payment.state is State.FAILED and payment.begun and result.status is PaymentStatus.SUCCEEDED


def _ask_again(ctx: Context, payment: OutgoingPayment) -> None:
    ctx.ask_node_at(payment, ctx.now + ctx.policy.track_again_seconds)


def _lost_sight(ctx: Context, payment: OutgoingPayment) -> None:
    """Record that the order to pay may not have reached the node. Of what was HELD it had."""
    if payment.state is State.PAYING and payment.unsure_until is None:
        ctx.put(replace(payment, unsure_until=ctx.now + ctx.policy.quiet_seconds))
        ctx.log(LogEvent.OUTCOME_NOT_KNOWN, payment.key, because="the order to pay may still be on its way to the node")


def _may_order_again(ctx: Context, payment: OutgoingPayment) -> bool:
    """Once after each break, while the payment is wanted and can be sent."""
    first = payment.unsure_until is not None and payment.key not in ctx.state.ordered_again
    return first and _still_wanted(ctx, payment) and ctx.node.channels.reaches(payment.lsp)


def _still_wanted(ctx: Context, payment: OutgoingPayment) -> bool:
    return payment.state is State.PAYING and not payment.cancelled and ctx.block_in_force(payment)


def _pay(ctx: Context, payment: OutgoingPayment) -> None:
    """Order the node to pay. A second order, after one that was lost sight of, may itself be late."""
    if payment.unsure_until is not None:
        ctx.put(replace(payment, unsure_until=ctx.now + ctx.policy.quiet_seconds))
    ctx.emit(
        Pay(
            payment_hash=payment.payment_hash,
            lsp=payment.lsp,
            invoice=payment.invoice,
            amount_msat=payment.amount_msat,
            fee_limit_msat=payment.fee_limit_msat,
            cltv_limit_blocks=payment.cltv_limit_blocks,
            slack_blocks=payment.slack_blocks,
            max_parts=payment.max_parts,
            max_part_msat=payment.max_part_msat,
            timeout_seconds=ctx.policy.pay_timeout_seconds,
        )
    )


def _paid(ctx: Context, payment: OutgoingPayment, result: PaymentResult) -> None:
    if result.preimage is None or sha256(result.preimage).digest() != payment.payment_hash:
        ctx.log(LogEvent.REPORT_IGNORED, payment.key, because="the node reports success without the right preimage")
        return
    proof = replace(
        payment,
        preimage=result.preimage,
        fee_msat=result.fee_msat,
        cancelled=False,
        cancel_next_at=None,
        failure="",
    )
    ctx.advance(proof, Trigger.PAID)


def _not_paid(ctx: Context, payment: OutgoingPayment, failure: str) -> None:
    """Fail the payment, with the reason that the user or the payee gave: a node only knows that an HTLC has failed."""
    if payment.told is BlockState.FAILED_BACK:
        failure = f"returned by the LSP: {failure}"
    elif payment.state is not State.PAYING:
        failure = f"its parts were held, and came back: {failure}"
    ctx.advance(payment, Trigger.NOT_PAID, payment.failure or failure)


def _unknown(ctx: Context, payment: OutgoingPayment) -> None:
    if _still_wanted(ctx, payment):
        ctx.advance(payment, Trigger.NOT_BEGUN)
    else:
        _not_paid(ctx, payment, "the node has no record of it: it was never begun")
