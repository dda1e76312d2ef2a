"""The handling of a claim, from the announcement of a held payment until the payment is received.

Announcement: is it owed? Every node on the route of an HTLC knows its payment hash and could announce it. Only an
announcement that proves that it comes from a holder of the invoices (PaymentPending.invoice_proof) is answered and
counted. All others get no answer, so that a stranger does not learn which invoices this node has, which of them are
paid, or that it is online. A payee may accept unproven announcements (PayeePolicy.accept_unproven). They have separate
limits, and no refusal is sent for them. A holder of an invoice may announce it falsely too. A claim costs a record and
a few messages, so there may be only a few claims for an invoice at a time.

Release: ask the payer's LSP repeatedly to release the parts, while the node could accept them. The clock alone ends
no claim: after hold_until the LSP is asked as often as before, and answers if it is too late. A claim whose time is
over ends once all its releases are used up without such an answer.

Settlement: the node reports each paid invoice; after an interruption it is asked for invoices paid in the meantime.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payee.interface import (
    Announced,
    InvoicesSeen,
    LookUpInvoices,
    ReleaseAnswered,
    ReleaseHeldBack,
    SendRefusal,
    SendRelease,
)
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.state import Context
from asyncpay.engine.payee.states import UNPAID, State, Trigger
from asyncpay.lightning import OwnInvoice
from asyncpay.log_events import LogEvent
from asyncpay.node_events import InvoicePaid
from asyncpay.wire.messages import ReleaseStatus

_LEAST_PAUSE_SECONDS = 1.0
"""Between two releases of one claim, no matter how often it is announced."""
_NOT_OWED = "these invoices are not owed like this"

# --- announcement ---


def announced(ctx: Context, event: Announced) -> None:
    """Handle an announcement of a pid. A repeated one means that the payment is still held."""
    pid, payment_hashes = event.message.pid, event.message.payment_hashes
    known = ctx.claims.get(pid)
    proven = event.message.is_proven_by([None if each is None else each.payment_secret for each in event.invoices])
    if not proven and not ctx.policy.accept_unproven and (known is None or known.proven):
        ctx.log(
            LogEvent.ANNOUNCEMENT_DROPPED,
            pid,
            payment_hashes,
            because="it does not prove that its sender has the invoice",
        )
        return
    if known is not None:
        if known.is_live:
            _release_again(ctx, known)
        return
    claim = _claim(ctx, event, proven)
    if claim.release_path is None and (claim.payer_lsp is None or claim.payer is None):
        ctx.log(LogEvent.ANNOUNCEMENT_DROPPED, pid, payment_hashes, because="it has no path to the payer's LSP")
    elif ctx.node.height is None:
        ctx.log(
            LogEvent.ANNOUNCEMENT_DROPPED, pid, payment_hashes, because="the node is not attached; it will be repeated"
        )
    elif (objection := next(_objections(ctx, claim, event.invoices), None) or _make_room(ctx, claim)) is not None:
        if proven:
            _refuse(ctx, claim, objection)
        else:
            ctx.log(LogEvent.ANNOUNCEMENT_DROPPED, pid, payment_hashes, because=f"unproven, and {objection}")
    else:
        ctx.put(claim)
        ctx.log(LogEvent(claim.state.value), pid, payment_hashes, because=f"{claim.amount_msat} msat are held for it")


def _claim(ctx: Context, event: Announced, proven: bool) -> Claim:
    message, path = event.message, event.reply_path
    return Claim(
        pid=message.pid,
        payment_hashes=message.payment_hashes,
        amount_msat=message.amount_msat,
        release_by_height=message.release_by_height,
        hold_until=min([message.hold_until, *(each.expires_at for each in event.invoices if each is not None)]),
        release_path=None if path is None else path.encode(),
        payer_lsp=message.payer_lsp_node_id if path is None else None,
        payer=message.payer_node_id if path is None else None,
        proven=proven,
        announced_at=ctx.now,
        next_at=ctx.now,
    )


def _objections(ctx: Context, claim: Claim, invoices: Sequence[OwnInvoice | None]) -> Iterator[str]:
    """Yield the reasons not to release the claim, most important first; nothing if it is to be released.

    A refusal is final, so the clock does not matter: the node decides whether an invoice can be paid, and the payer's
    LSP whether the parts are still held.
    """
    if len(set(claim.payment_hashes)) != len(claim.payment_hashes):
        yield "duplicate payment_hash"
    for payment_hash, invoice in zip(claim.payment_hashes, invoices, strict=True):
        yield from _objections_to_invoice(payment_hash, invoice)
    asked = sum(invoice.amount_msat or 0 for invoice in invoices if invoice is not None)
    if asked > claim.amount_msat:
        yield f"{claim.amount_msat} msat are held, the invoices ask for {asked}"
    if ctx.node.is_above(claim.release_by_height):
        yield f"it was to be released by height {claim.release_by_height}, the chain is at {ctx.node.height}"


def _objections_to_invoice(payment_hash: bytes, invoice: OwnInvoice | None) -> Iterator[str]:
    if invoice is None:
        yield f"there is no invoice with the payment hash {payment_hash.hex()}"
    elif invoice.paid:
        yield f"the invoice {payment_hash.hex()} is paid already"
    elif not invoice.payable:
        yield f"the invoice {payment_hash.hex()} has expired or was cancelled"


def _make_room(ctx: Context, claim: Claim) -> str | None:
    """Return the reason if too many other claims wait for one of its invoices. A claim past hold_until makes room.

    Proven and unproven claims are counted separately. The total of unproven ones is limited too.
    """
    policy, unix = ctx.policy, ctx.state.unix
    if not claim.proven and ctx.claims.live_unproven() >= policy.max_unproven:
        return f"{ctx.claims.live_unproven()} other unproven payments are being released"
    most = policy.max_claims if claim.proven else policy.max_unproven_claims
    for payment_hash in claim.payment_hashes:
        live = ctx.claims.live_for(payment_hash, proven=claim.proven)
        past = [each for each in live if unix.surely_past(each.hold_until)]
        if len(live) >= most:
            if not past or unix.surely_past(claim.hold_until):
                return f"{most} other payments wait for the invoice {payment_hash.hex()}"
            ctx.advance(past[0], Trigger.DEADLINE)
    return None


def _refuse(ctx: Context, claim: Claim, objection: str) -> None:
    """Refuse the payment. With several invoices the refusal does not reveal which one is wrong, or why."""
    refused = replace(claim, state=State.REFUSED, failure=objection, next_at=None)
    ctx.put(refused)
    ctx.log(LogEvent(refused.state.value), claim.pid, claim.payment_hashes, because=objection)
    ctx.emit(SendRefusal(refused, objection if len(claim.payment_hashes) == 1 else _NOT_OWED))
    ctx.forget_oldest()


# --- release ---


def release_due(ctx: Context) -> None:
    """Send due releases, and end claims that are over. Both need the node: it may know that a claim is paid."""
    schedule, node = ctx.state.schedule, ctx.node
    if not node.attached or node.height is None:
        return
    too_high = schedule.by_release_height.due(node.height - 1)
    ended = schedule.ends_at.due(ctx.now)
    due = schedule.release_at.due(ctx.now) if node.channels.any_usable else []
    for claim in ctx.claims.live_among((*too_high, *ended, *due)):
        if node.is_above(claim.release_by_height) or claim.next_at is None:
            ctx.advance(claim, Trigger.DEADLINE)
        else:
            _release(ctx, claim)


def next_deadline(ctx: Context) -> float:
    """Return the time at which `release_due` has work to do, if no block and no channel comes before."""
    schedule, node = ctx.state.schedule, ctx.node
    release_at = schedule.release_at.first if node.channels.any_usable else float("inf")
    return min(schedule.ends_at.first, release_at) if node.attached else float("inf")


def _release(ctx: Context, claim: Claim) -> None:
    tries = claim.tries + 1
    pause = backoff_seconds(ctx.policy.release_seconds, ctx.policy.release_most_seconds, claim.tries)
    released = replace(claim, tries=tries, next_at=ctx.now + pause if tries < ctx.policy.max_releases else None)
    ctx.state.released_at[claim.pid] = ctx.now
    ctx.put(released)
    ctx.emit(SendRelease(released))


def _release_again(ctx: Context, claim: Claim) -> None:
    last = ctx.state.released_at.get(claim.pid)
    soonest = ctx.now if last is None else max(ctx.now, last + _LEAST_PAUSE_SECONDS)
    ctx.put(replace(claim, tries=0, next_at=soonest))


def held_back(ctx: Context, event: ReleaseHeldBack) -> None:
    """Schedule a held-back release again. It does not count as a try; it is repeated until the node is synced."""
    claim = ctx.claims.get(event.pid)
    if claim is not None and claim.state is State.RELEASING:
        ctx.state.held_back[claim.pid] = None
        again = ctx.now + ctx.policy.unsynced_seconds
        ctx.put(replace(claim, tries=max(0, claim.tries - 1), next_at=again))


def try_held_back(ctx: Context) -> None:
    """Send the releases that were held back: after a new block the node may be synced."""
    for pid in ctx.state.held_back:
        ctx.put(replace(ctx.claims[pid], next_at=ctx.now))
    ctx.state.held_back.clear()


def release_answered(ctx: Context, event: ReleaseAnswered) -> None:
    """Handle the answer to a release. Only the node knows whether the payment has arrived."""
    reply = event.message
    claim = ctx.claims.by_pid_hash(reply.unblock_hash)
    if claim is None:
        return
    ctx.log(LogEvent.RELEASE_ANSWERED, claim.pid, claim.payment_hashes, because=reply.status.name)
    if reply.status is ReleaseStatus.TOO_LATE:
        ctx.advance(claim, Trigger.TOO_LATE)


# --- settlement ---


def look_up_and_release(ctx: Context) -> None:
    """Look up all unpaid invoices of claims, and release again: both may have been missed during an interruption."""
    for claim in ctx.claims.live():
        ctx.emit(LookUpInvoices(claim.pid, claim.payment_hashes))
        if claim.next_at is not None:
            ctx.put(replace(claim, next_at=ctx.now))


def invoice_paid(ctx: Context, event: InvoicePaid) -> None:
    """Handle the node's report that one of its invoices is paid."""
    for claim in ctx.claims.unpaid_for(event.payment_hash):
        _add_paid(ctx, claim, {event.payment_hash})


def invoices_seen(ctx: Context, event: InvoicesSeen) -> None:
    """Handle the node's report of the state of a claim's invoices."""
    claim = ctx.claims.get(event.pid)
    if claim is not None and claim.state in UNPAID:
        paid = {invoice.payment_hash for invoice in event.invoices if invoice is not None and invoice.paid}
        _add_paid(ctx, claim, paid)


def _add_paid(ctx: Context, claim: Claim, paid: Iterable[bytes]) -> None:
    """Record these invoices as paid. A claim is paid when all of its invoices are, in any order."""
    all_paid = {*claim.paid, *paid}
    if all_paid == set(claim.paid):
        return
    in_order = tuple(payment_hash for payment_hash in claim.payment_hashes if payment_hash in all_paid)
    ctx.put(replace(claim, paid=in_order))
    if in_order == claim.payment_hashes:
        ctx.advance(ctx.claims[claim.pid], Trigger.PAID)
