"""The payee's engine: events in, changes and effects out.

Theory of operation
===================

`Payee.handle(now, event)` is the only way in, and its `Transition` the only way out, on the same terms as
`asyncpay.engine.lsp.engine`: the shell (`asyncpay.engine.core.drive`) stores the changes in one transaction, then
carries out the effects in their order, calls `handle(now, Tick())` at `next_deadline`, and throws the engine away if it
cannot store. Then a crash anywhere is harmless: what was not sent is sent again, and a release may be repeated at will.

The payee can lose nothing but time, and room for records. So everything it does is bounded: few claims for an invoice,
few releases of a claim, and one refusal, of what it was never owed. Whether it was paid it hears from its own node
and from no other source.

    claims    announced, released, settled     records                   what is stored, and how it is found
    states    the life of a claim, as a table  state                     what is known, and the handling of one event
                                               interface                 events and effects
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
    """All decisions of one payee. `records`: what the store holds, in any order."""

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
        """Decide on one event at `now`, and on everything that has become due by then.

        now: seconds; a clock that never goes back. How Unix time differs from it, ClockRead tells.
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
    """The view of the node has taken it in; what is due by it is done before and after every event."""


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
