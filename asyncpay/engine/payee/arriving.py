"""The money comes: the node says so as it happens, and is asked for what may have come unseen."""

from collections.abc import Iterable
from dataclasses import replace

from asyncpay.engine.payee import progress
from asyncpay.engine.payee.effects import LookUpInvoices
from asyncpay.engine.payee.events import InvoicesSeen
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import UNPAID, Trigger
from asyncpay.engine.payee.turn import Turn
from asyncpay.node_events import InvoicePaid


def look_and_release(turn: Turn) -> None:
    """After a break: payments may have come, and releases may have gone nowhere."""
    for claim in turn.state.live:
        turn.do(LookUpInvoices(claim.pid, claim.payment_hashes))
        if claim.next_at is not None:
            turn.put(replace(claim, next_at=turn.now))


def invoice_paid(turn: Turn, event: InvoicePaid) -> None:
    """One invoice of this node is paid."""
    for claim in list(turn.claims.values()):
        if claim.stage in UNPAID and event.payment_hash in claim.payment_hashes:
            _take(turn, claim, {event.payment_hash})


def invoices_seen(turn: Turn, event: InvoicesSeen) -> None:
    """What the node knows of a claim's invoices."""
    claim = turn.claims.get(event.pid)
    if claim is not None and claim.stage in UNPAID:
        _take(turn, claim, {invoice.payment_hash for invoice in event.invoices if invoice is not None and invoice.paid})


def _take(turn: Turn, claim: Claim, paid: Iterable[bytes]) -> None:
    """A claim is paid when all of its invoices are, in whatever order."""
    all_paid = {*claim.paid, *paid}
    if all_paid == set(claim.paid):
        return
    in_order = tuple(payment_hash for payment_hash in claim.payment_hashes if payment_hash in all_paid)
    turn.put(replace(claim, paid=in_order))
    if in_order == claim.payment_hashes:
        progress.advance(turn, turn.claims[claim.pid], Trigger.PAID)
