"""Hand a held payment over to the payee, and pass on the payee's answer. After the handover the payer may go offline.

Two sources together prove that every part is held. The LSP reports the number of parts that it holds; the node reports
the number of parts in flight, and that they add up to the amount. If the numbers agree, the LSP holds all parts.

Messages can be lost unnoticed, and the payee answers this one only with its release. An LSP with a courier repeats it;
otherwise the wallet does, as long as it is online itself.
"""

import math

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payer.interface import (
    LookUp,
    PaymentSeen,
    PendingSent,
    ReleaseSeen,
    SendAlong,
    SendPending,
    SendToLsp,
)
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.state import Context
from asyncpay.engine.payer.states import UNPAID, State, Trigger
from asyncpay.log_events import LogEvent
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockRequest, BlockState, PaymentRelease, ReleaseReply, ReleaseStatus


def compare_with_node(ctx: Context, payment: OutgoingPayment) -> None:
    """Look up the parts that the node has in flight, after the LSP has reported that it holds the parts."""
    if payment.state is State.PAYING and not payment.cancelled:
        ctx.emit(LookUp(payment.key))


def payment_seen(ctx: Context, event: PaymentSeen) -> None:
    """Handle the node's report of the parts in flight. If the LSP holds others, its next update leads to a new look."""
    payment, seen = ctx.payments.get(event.payment_hash), event.result
    if payment is None or payment.cancelled or payment.told is not BlockState.HELD:
        return
    all_held = seen.parts_in_flight == payment.told_parts and seen.in_flight_msat >= payment.amount_msat
    if all_held and ctx.advance(payment, Trigger.ALL_HELD):
        ctx.send_pending_at(payment, ctx.now)


def send_pending(ctx: Context, payment: OutgoingPayment) -> None:
    """Send the message for the payee until it has left for the LSP; then repeat it with growing pauses, unless the LSP
    does.
    """
    if pending_at(ctx, payment) > ctx.now:
        return
    repeats = ctx.state.pending_repeats.get(payment.key, 0) + (payment.state is State.HANDED_OVER)
    ctx.state.pending_repeats[payment.key] = repeats
    pause = backoff_seconds(ctx.policy.request_seconds, ctx.policy.request_most_seconds, repeats)
    ctx.send_pending_at(payment, ctx.now + pause)
    ctx.emit(SendPending(payment.key, payment.lsp, payment.pending))


def pending_at(ctx: Context, payment: OutgoingPayment) -> float:
    """Return the time at which `send_pending` has work to do."""
    held = payment.state in (State.HELD, State.HANDED_OVER) and payment.told is BlockState.HELD
    if not held or payment.cancelled or ctx.block_overdue(payment):
        return math.inf
    return ctx.state.send_pending_at.get(payment.key, math.inf)


def pending_sent(ctx: Context, event: PendingSent) -> None:
    """Record that the message for the payee has left. An LSP that has a copy repeats it."""
    payment = ctx.payments.get(event.payment_hash)
    if payment is not None and ctx.advance(payment, Trigger.PENDING_SENT) and _lsp_has_copy(payment):
        ctx.state.send_pending_at.pop(payment.key, None)


def resend(ctx: Context, payment: OutgoingPayment) -> None:
    """Send the message for the payee again over the new connection."""
    if payment.state is State.HELD or (payment.state is State.HANDED_OVER and not _lsp_has_copy(payment)):
        ctx.send_pending_at(payment, ctx.now)
        ctx.state.pending_repeats.pop(payment.key, None)


def _lsp_has_copy(payment: OutgoingPayment) -> bool:
    request = messages.decode(payment.request)
    assert isinstance(request, BlockRequest)
    return request.courier is not None


def release_seen(ctx: Context, event: ReleaseSeen) -> None:
    """Pass a pid that reaches the payer itself on to the LSP, and answer the payee with the state of the payment.

    It arrives here because the payer is online, or because its LSP did not see it in transit. The LSP may receive it
    any number of times. While PAYING the wallet has revealed the pid to no other node: only the LSP's courier can have
    been faster, and then the LSP answers.
    """
    name = messages.unblock_hash(event.pid)
    payment = ctx.payments.of_block(name)
    if payment is None or payment.state in UNPAID:
        return
    status = _release_status(payment)
    ctx.log(LogEvent.RELEASE_SEEN, payment.key, because=status.name)
    if status is ReleaseStatus.RELEASED and payment.state is not State.SETTLED:
        ctx.emit(SendToLsp(payment.lsp, PaymentRelease(pid=event.pid)))
    if event.reply_path is not None and payment.state is not State.PAYING:
        ctx.emit(SendAlong(event.reply_path, ReleaseReply(unblock_hash=name, status=status)))


def _release_status(payment: OutgoingPayment) -> ReleaseStatus:
    returned = payment.told is BlockState.FAILED_BACK and payment.state is not State.SETTLED
    ended = payment.state is State.FAILED or payment.cancelled or returned
    return ReleaseStatus.TOO_LATE if ended else ReleaseStatus.RELEASED
