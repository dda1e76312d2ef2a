"""Let the node pay, and take the result from the node only.

The node pays a hash once. Only the node knows its payments, so it is asked after every interruption; if it does not
know a payment, the order to pay was lost in transit and is given again.

Or the order is still in transit: LND executes it even if it arrives late and its sender has disconnected, and also
after a failed payment of the same hash. So after an interruption while PAYING the outcome is not known yet. A report
that the node knows no payment, or only a failed one, counts only after `quiet_seconds`; a report that it paid counts at
any time, also for a payment that has FAILED. That time is stored, since a phone rarely runs for so long. A second order
in the meantime is safe: LND refuses a hash that is in flight or paid.
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
    """Ask the node for the outcome of the payments under way: after an interruption only the node knows it."""
    under_way = [payment for payment in ctx.payments.live() if payment.state in WITH_NODE]
    ctx.state.ask_node_at.clear()
    ctx.state.ordered_again.clear()
    for payment in under_way:
        ctx.ask_node_at(payment, ctx.now)
        _lost_sight(ctx, payment)
    for payment_hash in ctx.payments.in_doubt():
        ctx.emit(Track(payment_hash))


def pay_or_ask(ctx: Context, payment: OutgoingPayment) -> None:
    """Pay once the channel to the LSP is usable; ask the node when that is due."""
    if payment.state is State.BLOCKED and ctx.node.channels.reaches(payment.lsp):
        ctx.advance(payment, Trigger.CHANNEL_USABLE)
        _pay(ctx, ctx.payments[payment.key])
    elif ask_at(ctx, payment) <= ctx.now:
        del ctx.state.ask_node_at[payment.key]
        ctx.emit(Track(payment.key))


def ask_at(ctx: Context, payment: OutgoingPayment) -> float:
    """Return the time at which `pay_or_ask` has work to do, if no channel changes before."""
    return ctx.state.ask_node_at.get(payment.key, math.inf) if payment.state in WITH_NODE else math.inf


def reported(ctx: Context, event: PaymentReported) -> None:
    """Handle the node's report of the progress or the result of a payment."""
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
    """Return whether the node has paid a payment that is recorded as failed."""
    return payment.state is State.FAILED and payment.begun and result.status is PaymentStatus.SUCCEEDED


def _ask_again(ctx: Context, payment: OutgoingPayment) -> None:
    ctx.ask_node_at(payment, ctx.now + ctx.policy.track_again_seconds)


def _lost_sight(ctx: Context, payment: OutgoingPayment) -> None:
    """Record that the order to pay may not have reached the node. If the payment was HELD, it had reached the node."""
    if payment.state is State.PAYING and payment.unsure_until is None:
        ctx.put(replace(payment, unsure_until=ctx.now + ctx.policy.quiet_seconds))
        ctx.log(LogEvent.OUTCOME_NOT_KNOWN, payment.key, because="the order to pay may still be in transit to the node")


def _may_order_again(ctx: Context, payment: OutgoingPayment) -> bool:
    """Return whether to order again: once after each interruption, if the payment is still wanted and can be sent."""
    first = payment.unsure_until is not None and payment.key not in ctx.state.ordered_again
    return first and _still_wanted(ctx, payment) and ctx.node.channels.reaches(payment.lsp)


def _still_wanted(ctx: Context, payment: OutgoingPayment) -> bool:
    return payment.state is State.PAYING and not payment.cancelled and ctx.block_in_force(payment)


def _pay(ctx: Context, payment: OutgoingPayment) -> None:
    """Order the node to pay. A second order, while the first may be in transit, may itself arrive late."""
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
    """Fail the payment, if possible with the reason of the user or the payee: the node only knows that HTLCs failed."""
    if payment.told is BlockState.FAILED_BACK:
        failure = f"returned by the LSP: {failure}"
    elif payment.state is not State.PAYING:
        failure = f"its parts were held, then returned: {failure}"
    ctx.advance(payment, Trigger.NOT_PAID, payment.failure or failure)


def _unknown(ctx: Context, payment: OutgoingPayment) -> None:
    if _still_wanted(ctx, payment):
        ctx.advance(payment, Trigger.NOT_BEGUN)
    else:
        _not_paid(ctx, payment, "the node has no record of it: it was never begun")
