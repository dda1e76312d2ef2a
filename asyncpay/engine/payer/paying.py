"""Having the node pay, and learning from it how that ends: from nobody else.

The node pays a hash once. Which payments it knows only it can tell, so after every break it is asked; if it
has never heard of one, the order to pay was lost on the way and is given again.

Or it is still on its way: LND carries an order out also if it comes late and nobody waits for it any more, and after a
failed payment of the same hash too. So after a break while PAYING the outcome is not known yet: that the node knows of
no payment, or of none any more, counts only once it says so after `quiet_seconds`; that it paid counts at any time,
also of a payment that has FAILED. That time is stored, since a phone is rarely awake for so long. To order once more
meanwhile is safe: LND refuses a hash that is in flight or paid.
"""

import math
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.payer import progress
from asyncpay.engine.payer.effects import Pay, Track
from asyncpay.engine.payer.events import PaymentReported
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import WITH_NODE, Stage, Trigger
from asyncpay.engine.payer.turn import Turn
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.wire.messages import BlockState


def ask_all(turn: Turn) -> None:
    """After a break nobody knows what became of the payments under way: ask."""
    turn.state.ask_at = {each.key: turn.now for each in turn.payments.live() if each.stage in WITH_NODE}
    turn.state.ordered_again.clear()
    for payment_hash in turn.state.ask_at:
        _lost_sight(turn, turn.payments[payment_hash])
    for payment_hash in turn.payments.doubtful():
        turn.do(Track(payment_hash))


def run(turn: Turn, payment: OutgoingPayment) -> None:
    """Begin once the way is open; ask the node when it is time."""
    if not turn.state.attached:
        return
    if payment.stage is Stage.BLOCKED and turn.state.channels.reaches(payment.lsp):
        progress.advance(turn, payment, Trigger.WAY_OPEN)
        _pay(turn, turn.payments[payment.key])
    elif next_at(turn, payment) <= turn.now:
        del turn.state.ask_at[payment.key]
        turn.do(Track(payment.key))


def next_at(turn: Turn, payment: OutgoingPayment) -> float:
    """When `run` has something to do, if no channel changes before."""
    if payment.stage not in WITH_NODE or not turn.state.attached:
        return math.inf
    return turn.state.ask_at.get(payment.key, math.inf)


def reported(turn: Turn, event: PaymentReported) -> None:
    """The node says where a payment stands."""
    payment, result = turn.payments.get(event.payment_hash), event.result
    if payment is None or not (payment.stage in WITH_NODE or _paid_after_all(payment, result)):
        return
    match result.status:
        case PaymentStatus.IN_FLIGHT:
            turn.state.ordered_again.discard(payment.key)
            _lost_sight(turn, payment)
            _ask_again(turn, payment)
        case PaymentStatus.SUCCEEDED:
            _paid(turn, payment, result)
        case PaymentStatus.UNKNOWN if _may_order_again(turn, payment):
            turn.state.ordered_again.add(payment.key)
            _pay(turn, payment)
        case _ if payment.unsure_until is not None and turn.now < payment.unsure_until:
            _ask_again(turn, payment)
        case PaymentStatus.FAILED:
            _not_paid(turn, payment, result.failure)
        case PaymentStatus.UNKNOWN:
            _unknown(turn, payment)


def _paid_after_all(payment: OutgoingPayment, result: PaymentResult) -> bool:
    """Whether the node paid what counts as failed."""
    return payment.stage is Stage.FAILED and payment.begun and result.status is PaymentStatus.SUCCEEDED


def _ask_again(turn: Turn, payment: OutgoingPayment) -> None:
    turn.state.ask_at[payment.key] = turn.now + turn.policy.track_again_seconds


def _lost_sight(turn: Turn, payment: OutgoingPayment) -> None:
    """Nobody knows whether the order to pay has reached the node. Of what was HELD it had."""
    if payment.stage is Stage.PAYING and payment.unsure_until is None:
        turn.put(replace(payment, unsure_until=turn.now + turn.policy.quiet_seconds))
        turn.log("outcome not known yet", payment.key, because="the order to pay may still be on its way to the node")


def _may_order_again(turn: Turn, payment: OutgoingPayment) -> bool:
    """Once after each break, while the payment is wanted and can be sent."""
    first = payment.unsure_until is not None and payment.key not in turn.state.ordered_again
    return first and _still_wanted(turn, payment) and turn.state.channels.reaches(payment.lsp)


def _still_wanted(turn: Turn, payment: OutgoingPayment) -> bool:
    return payment.stage is Stage.PAYING and not payment.cancelled and progress.block_stands(turn, payment)


def _pay(turn: Turn, payment: OutgoingPayment) -> None:
    """An order beside one that was lost sight of may itself be late."""
    if payment.unsure_until is not None:
        turn.put(replace(payment, unsure_until=turn.now + turn.policy.quiet_seconds))
    turn.do(
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
            timeout_seconds=turn.policy.pay_timeout_seconds,
        )
    )


def _paid(turn: Turn, payment: OutgoingPayment, result: PaymentResult) -> None:
    if result.preimage is None or sha256(result.preimage).digest() != payment.payment_hash:
        turn.log("report ignored", payment.key, because="the node reports success without the right preimage")
        return
    proof = replace(
        payment,
        preimage=result.preimage,
        fee_msat=result.fee_msat,
        cancelled=False,
        cancel_next_at=None,
        failure="",
    )
    progress.advance(turn, proof, Trigger.PAID)


def _not_paid(turn: Turn, payment: OutgoingPayment, failure: str) -> None:
    """What the user or the payee wanted is told as that; a node only knows that an HTLC has failed, not why."""
    if payment.told is BlockState.FAILED_BACK:
        failure = f"returned by the LSP: {failure}"
    elif payment.stage is not Stage.PAYING:
        failure = f"its parts were held, and came back: {failure}"
    progress.advance(turn, payment, Trigger.NOT_PAID, payment.failure or failure)


def _unknown(turn: Turn, payment: OutgoingPayment) -> None:
    if _still_wanted(turn, payment):
        progress.advance(turn, payment, Trigger.NOT_BEGUN)
    else:
        _not_paid(turn, payment, "the node has no record of it: it was never begun")
