"""The payee's engine: events in, changes and effects out.

Theory of operation
===================

`Payee.handle(now, event)` is the only input, and its `Transition` the only output, under the same contract as
`asyncpay.engine.lsp.engine`: the shell (`asyncpay.engine.core.drive`) stores the changes in one transaction, then
performs the effects in order, calls `handle(now, Tick())` at `next_deadline`, and discards the engine if it
cannot store. Then a crash at any point is harmless: unsent messages are sent again, and a release may be repeated.

The payee can lose only time, and space for records. So all its actions are bounded: few claims for an invoice,
few releases of a claim, and one refusal of a payment that it was never owed. Only its own node reports whether it was
paid.

    claims    announced, released, settled     records    the stored records, and their indexes
    states    the life of a claim, as a table  state      the state, and the handling of one event
                                               interface  events and effects
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick, Transition, WholeInMemory
from asyncpay.engine.payee import claims
from asyncpay.engine.payee.interface import (
    Announced,
    Effect,
    InvoicesSeen,
    PayeeEvent,
    ReleaseAnswered,
    ReleaseHeldBack,
)
from asyncpay.engine.payee.records import Claim, ClaimRecords
from asyncpay.engine.payee.state import Context, PayeeState
from asyncpay.engine.policy import PayeePolicy
from asyncpay.node_events import Attached, BlockConnected, InvoicePaid, LinkChanged, LinkClosed


class Payee(WholeInMemory):
    """All decisions of one payee. `records`: the content of the store, in any order."""

    def __init__(self, policy: PayeePolicy, records: Iterable[Claim] = ()) -> None:
        self._policy = policy
        self.state = PayeeState(ClaimRecords(records))
        self.next_deadline = -math.inf
        ctx = Context(self.state, policy)
        for claim in self.state.claims.live():
            ctx.reschedule(claim)

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that the records prove to have passed; None if there are none."""
        times = []
        for claim in self.state.claims:
            times.append(claim.announced_at)
            if claim.next_at is not None:
                times.append(claim.next_at - self._policy.release_most_seconds)
        return max(times, default=None)

    def handle(self, now: float, event: PayeeEvent) -> Transition[Claim, Effect]:
        """Handle one event at `now`, and everything that has become due by then.

        now: seconds, on a clock that never goes back. ClockRead gives the difference to Unix time.
        """
        ctx = Context(self.state, self._policy)
        self.state.unix.advance(now, event)
        if isinstance(event, ClockRead):
            ctx.reschedule_resting()
        claims.release_due(ctx)
        if self.state.node.fold(event):
            _HANDLERS[type(event)](ctx, event)
        claims.release_due(ctx)
        self.next_deadline = claims.next_deadline(ctx)
        return ctx.transition()


def _attached(ctx: Context, _: Attached) -> None:
    claims.look_up_and_release(ctx)


def _block(ctx: Context, _: BlockConnected) -> None:
    claims.try_held_back(ctx)


def _nothing_else(_: Context, event: PayeeEvent) -> None:
    """Do nothing more: the view of the node is already updated, and due work is done before and after every event."""


_HANDLERS: dict[type[PayeeEvent], Callable[[Context, Any], None]] = {
    Attached: _attached,
    Detached: _nothing_else,
    BlockConnected: _block,
    LinkChanged: _nothing_else,
    LinkClosed: _nothing_else,
    Tick: _nothing_else,
    ClockRead: _nothing_else,
    Announced: claims.announced,
    ReleaseAnswered: claims.release_answered,
    ReleaseHeldBack: claims.held_back,
    InvoicePaid: claims.invoice_paid,
    InvoicesSeen: claims.invoices_seen,
}
