"""Wanting the parts back. The LSP is asked until it answers, and only the node says when they are back.

A block that the LSP holds for a payment that has ended would take up room for nothing, so it is cancelled
too. What must not happen is that a cancel ends a payment whose parts are on their way: the LSP's answer
RELEASED or SETTLED means that it came too late, and then it is as if it had not been asked for.
"""

import math
from dataclasses import replace

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payer import progress
from asyncpay.engine.payer.effects import SendToLsp
from asyncpay.engine.payer.events import CancelOrdered, RefusalSeen
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import UNPAID, WITH_NODE, Trigger
from asyncpay.engine.payer.turn import Turn
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockState, CancelRequest


def ordered(turn: Turn, event: CancelOrdered) -> None:
    """The user wants a payment back."""
    payment = turn.payments.get(event.payment_hash)
    if payment is None:
        turn.log("cancel ignored", event.payment_hash, because="no such payment was ordered here")
    elif payment.stage in UNPAID:
        progress.advance(turn, payment, Trigger.CANCEL, "cancelled before anything was paid")
    else:
        _ask_back(turn, payment, "cancelled")


def refused(turn: Turn, event: RefusalSeen) -> None:
    """The payee will never take this payment."""
    payment = turn.payments.of_block(messages.unblock_hash(event.pid))
    if payment is not None and payment.stage in WITH_NODE:
        _ask_back(turn, payment, f"the payee refuses it: {event.reason or 'no reason given'}")


def answered(turn: Turn, payment: OutgoingPayment) -> None:
    """The LSP says how the block has ended, asked or unasked: there is nothing left to cancel."""
    stop = replace(payment, cancel_next_at=None)
    if payment.cancelled and payment.stage in WITH_NODE and payment.told is not BlockState.FAILED_BACK:
        turn.log("too late to cancel", payment.key, because="the parts were on their way already")
        stop = replace(stop, cancelled=False, failure="")
    if stop != payment:
        turn.put(stop)


def ask_afresh(turn: Turn, payment: OutgoingPayment) -> None:
    """The connection is a new one: what was sent over the old one, and the answer, may be lost."""
    if payment.cancel_next_at is not None:
        turn.put(replace(payment, cancels_sent=0, cancel_next_at=turn.now))


def run(turn: Turn, payment: OutgoingPayment) -> None:
    """Send the cancel when it is due, for as long as the block stands."""
    if next_at(turn, payment) > turn.now:
        return
    if not progress.block_stands(turn, payment):
        turn.put(replace(payment, cancel_next_at=None))
        return
    cancel = messages.decode(payment.cancel)
    assert isinstance(cancel, CancelRequest)
    pause = backoff_seconds(turn.policy.cancel_seconds, turn.policy.cancel_most_seconds, payment.cancels_sent)
    turn.put(replace(payment, cancels_sent=payment.cancels_sent + 1, cancel_next_at=turn.now + pause))
    turn.do(SendToLsp(payment.lsp, cancel))


def next_at(turn: Turn, payment: OutgoingPayment) -> float:
    """When `run` has something to do."""
    if payment.cancel_next_at is None or not turn.state.attached:
        return math.inf
    return payment.cancel_next_at


def _ask_back(turn: Turn, payment: OutgoingPayment, failure: str) -> None:
    if payment.stage not in WITH_NODE or not progress.block_stands(turn, payment):
        turn.log("cancel ignored", payment.key, because=_too_late(payment))
        return
    why = payment.failure or failure
    turn.put(replace(payment, cancelled=True, failure=why, cancels_sent=0, cancel_next_at=turn.now))
    turn.log("cancelling", payment.key, because=why)


def _too_late(payment: OutgoingPayment) -> str:
    if payment.stage not in WITH_NODE:
        return f"it is {payment.stage.value} already"
    return "the LSP has let go of the parts already; the node tells what becomes of them"
