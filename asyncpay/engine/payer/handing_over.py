"""Telling the payee, once every part is held: that is when the payer may leave.

That all is held takes two witnesses. The LSP says how many parts it has; the node says how many are in flight,
and that they bring the amount. Only if the numbers agree there is no part that the LSP does not have.

Messages are lost without a word, and the payee answers this one only by its release. An LSP with a courier
repeats it; without one the wallet does, for as long as it is there itself.
"""

import math

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payer import progress
from asyncpay.engine.payer.effects import LookUp, SendPending
from asyncpay.engine.payer.events import PaymentSeen, PendingSent
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import Stage, Trigger
from asyncpay.engine.payer.turn import Turn
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockRequest, BlockState


def look(turn: Turn, payment: OutgoingPayment) -> None:
    """The LSP says that it holds the parts: see what the node has in flight."""
    if payment.stage is Stage.PAYING and not payment.cancelled:
        turn.do(LookUp(payment.key))


def seen(turn: Turn, event: PaymentSeen) -> None:
    """The node says what is in flight. If that is not what is held, the LSP's next update will tell."""
    payment, seen = turn.payments.get(event.payment_hash), event.result
    if payment is None or payment.cancelled or payment.told is not BlockState.HELD:
        return
    all_held = seen.parts_in_flight == payment.told_parts and seen.in_flight_msat >= payment.amount_msat
    if all_held and progress.advance(turn, payment, Trigger.ALL_HELD):
        turn.state.pending_at[payment.key] = turn.now


def pending_sent(turn: Turn, event: PendingSent) -> None:
    """The message for the payee has left. Who repeats it is the LSP, if it has a copy."""
    payment = turn.payments.get(event.payment_hash)
    if payment is not None and progress.advance(turn, payment, Trigger.PENDING_SENT) and _lsp_has_copy(payment):
        turn.state.pending_at.pop(payment.key, None)


def send_afresh(turn: Turn, payment: OutgoingPayment) -> None:
    """The connection is a new one: now it may get through."""
    if payment.stage is Stage.HELD or (payment.stage is Stage.HANDED_OVER and not _lsp_has_copy(payment)):
        turn.state.pending_at[payment.key] = turn.now
        turn.state.pending_repeats.pop(payment.key, None)


def run(turn: Turn, payment: OutgoingPayment) -> None:
    """Send the message for the payee until it has left; then again, ever more rarely, if the LSP will not."""
    if next_at(turn, payment) > turn.now:
        return
    repeats = turn.state.pending_repeats.get(payment.key, 0) + (payment.stage is Stage.HANDED_OVER)
    turn.state.pending_repeats[payment.key] = repeats
    pause = backoff_seconds(turn.policy.request_seconds, turn.policy.request_most_seconds, repeats)
    turn.state.pending_at[payment.key] = turn.now + pause
    turn.do(SendPending(payment.key, payment.lsp, payment.pending))


def next_at(turn: Turn, payment: OutgoingPayment) -> float:
    """When `run` has something to do."""
    held = payment.stage in (Stage.HELD, Stage.HANDED_OVER) and payment.told is BlockState.HELD
    if not held or payment.cancelled or not turn.state.attached or progress.over(turn, payment):
        return math.inf
    return turn.state.pending_at.get(payment.key, math.inf)


def _lsp_has_copy(payment: OutgoingPayment) -> bool:
    request = messages.decode(payment.request)
    assert isinstance(request, BlockRequest)
    return request.courier is not None
