"""The payer's engine: events in, changes and effects out.

Theory of operation
===================

`Payer.handle(now, event)` is the only input, and its `Transition` the only output, under the same contract as
`asyncpay.engine.lsp.engine`: the shell (`asyncpay.engine.core.drive`) stores the changes in one transaction, then
performs the effects in order, calls `handle(now, Tick())` at `next_deadline`, and discards the engine if it
cannot store. Then a crash at any point is harmless, because of four rules:

- A state is stored before the step that it names. A payment that has not reached PAYING was never paid.
- The node pays a hash once, and only its report ends a payment that it may have begun. After every `Attached` it
  is asked again; if it does not know a payment in PAYING, that order was lost, and is given again. A report that
  nothing was paid counts only once no order can be in transit any more (payments.py).
- A sent message is never assumed to have arrived. Requests, cancels and the message for the payee are repeated byte
  for byte until there is an answer, and immediately when the LSP has reconnected.
- Reports of the LSP move a payment forward and never back, and nothing is paid twice because of them.

A payment passes through these files in this order; each can be read alone:

    planning      checks before a payment begins        states    the life of a payment, as a table
    lsp_requests  the LSP is to hold, or return, it     records   the stored records, and their indexes
    payments      the node pays                         state     the state, and the handling of one event
    handover      the payee is informed, and answers    interface events and effects
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick, Transition, WholeInMemory
from asyncpay.engine.payer import handover, lsp_requests, payments
from asyncpay.engine.payer.interface import (
    CancelOrdered,
    Effect,
    Ordered,
    PayerEvent,
    PaymentReported,
    PaymentSeen,
    PendingSent,
    RefusalSeen,
    ReleaseSeen,
    Replied,
    Updated,
)
from asyncpay.engine.payer.records import OutgoingPayment, PaymentRecords
from asyncpay.engine.payer.state import Context, PayerState
from asyncpay.engine.policy import PayerPolicy
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    LinkChanged,
    LinkClosed,
    PeerConnected,
    PeerDisconnected,
)


class Payer(WholeInMemory):
    """All decisions of one payer. `records`: the content of the store, in any order."""

    def __init__(self, policy: PayerPolicy, records: Iterable[OutgoingPayment] = ()) -> None:
        self._policy = policy
        self.state = PayerState(PaymentRecords(records))
        self.next_deadline = -math.inf
        ctx = Context(self.state, policy)
        for payment in self.state.payments.live():
            _reschedule(ctx, payment)

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that the records prove to have passed; None if there are none."""
        times = []
        for payment in self.state.payments:
            times.append(payment.created_at if payment.ended_at is None else payment.ended_at)
            if payment.request_next_at is not None:
                times.append(payment.request_next_at - self._policy.request_most_seconds)
            if payment.cancel_next_at is not None:
                times.append(payment.cancel_next_at - self._policy.cancel_most_seconds)
            if payment.unsure_until is not None:
                times.append(payment.unsure_until - self._policy.quiet_seconds)
        return max(times, default=None)

    def handle(self, now: float, event: PayerEvent) -> Transition[OutgoingPayment, Effect]:
        """Handle one event at `now`, and everything that has become due by then.

        now: seconds, on a clock that never goes back. ClockRead gives the difference to Unix time.
        """
        ctx = Context(self.state, self._policy)
        self.state.unix.advance(now, event)
        if self.state.node.fold(event):
            _HANDLERS[type(event)](ctx, event)
        on_tick(ctx)
        self.next_deadline = _next_deadline(ctx)
        return ctx.transition()


# --- the node, and the clock ---


def _attached(ctx: Context, _: Attached) -> None:
    payments.ask_about_all(ctx)
    for payment in ctx.payments.live():
        lsp_requests.resend_all(ctx, payment)
        ctx.touch([payment.key])


def _connected(ctx: Context, event: PeerConnected) -> None:
    for payment in ctx.payments.live_of(event.peer):
        lsp_requests.resend_all(ctx, payment)


def _link_changed(ctx: Context, event: LinkChanged) -> None:
    ctx.touch(ctx.payments.blocked_of(event.link.peer))


def _look_at_overdue(ctx: Context, _: BlockConnected | ClockRead) -> None:
    """Check overdue payments again: by a lower height or another reading of the clock they may not be overdue."""
    ctx.touch(ctx.state.schedule.overdue)


def _nothing_else(_: Context, event: PayerEvent) -> None:
    """Do nothing more: the view of the node is already updated, and due work is done after every event."""


_HANDLERS: dict[type[PayerEvent], Callable[[Context, Any], None]] = {
    Attached: _attached,
    Detached: _nothing_else,
    BlockConnected: _look_at_overdue,
    PeerConnected: _connected,
    PeerDisconnected: _nothing_else,
    LinkChanged: _link_changed,
    LinkClosed: _nothing_else,
    Tick: _nothing_else,
    ClockRead: _look_at_overdue,
    Ordered: lsp_requests.ordered,
    Replied: lsp_requests.replied,
    Updated: lsp_requests.updated,
    CancelOrdered: lsp_requests.cancel_ordered,
    RefusalSeen: lsp_requests.refusal_seen,
    PaymentReported: payments.reported,
    PaymentSeen: handover.payment_seen,
    PendingSent: handover.pending_sent,
    ReleaseSeen: handover.release_seen,
}


# --- time ---

_DUTIES: tuple[Callable[[Context, OutgoingPayment], None], ...] = (
    lsp_requests.request_block,
    payments.pay_or_ask,
    handover.send_pending,
    lsp_requests.cancel,  # last, because the others may make a cancel due
)


def on_tick(ctx: Context) -> None:
    """Do everything that is due, for payments that the event has touched or whose time or height is reached."""
    schedule, node = ctx.state.schedule, ctx.node
    ctx.touch(schedule.by_hold_until.due(ctx.state.unix.last_past_second))
    if node.height is not None:
        ctx.touch(schedule.by_release_height.due(node.height - 1))
    if node.attached:
        ctx.touch(schedule.retry_at.due(ctx.now))
    for key in ctx.payments.live_among(ctx.touched):
        lsp_requests.end_if_overdue(ctx, ctx.payments[key])
        if node.attached:
            for duty in _DUTIES:
                duty(ctx, ctx.payments[key])
    for key in ctx.touched:
        _reschedule(ctx, ctx.payments[key])


def _reschedule(ctx: Context, payment: OutgoingPayment) -> None:
    """Bring the schedule up to date for one payment."""
    schedule, key = ctx.state.schedule, payment.key
    if not ctx.payments.is_live(key):
        schedule.remove(key)
        return
    retry_at = min(
        lsp_requests.request_at(ctx, payment),
        payments.ask_at(ctx, payment),
        handover.pending_at(ctx, payment),
        lsp_requests.cancel_at(payment),
    )
    schedule.retry_at.set(key, retry_at)
    if ctx.block_overdue(payment):
        schedule.by_hold_until.discard(key)
        schedule.by_release_height.discard(key)
        schedule.overdue[key] = None
    else:
        schedule.by_hold_until.set(key, payment.hold_until)
        schedule.by_release_height.set(key, payment.release_by_height)
        schedule.overdue.pop(key, None)


def _next_deadline(ctx: Context) -> float:
    """Return the time at which something is due, if no event comes before; infinity for never."""
    block_ends = ctx.state.unix.past_at(ctx.payments.unpaid_until.first)
    return min(block_ends, ctx.state.schedule.retry_at.first) if ctx.node.attached else block_ends
