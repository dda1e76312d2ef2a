"""A held payment is announced: whether it is to be released, refused, or was known before.

Every node on the way of an HTLC knows its payment hash and could announce it. Only an announcement that proves to come
from a holder of the invoices (PaymentPending.invoice_proof) is answered and counted. All others get no answer, so that
a stranger does not learn which invoices this node has, which of them are paid, or that it is online. A payee may accept
unproven announcements (PayeePolicy.accept_unproven). They have limits of their own, and are never refused in words.

A holder of an invoice may announce it falsely too. What is claimed costs a record and a few messages, so there may be
only a few claims for an invoice at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from asyncpay.engine.payee import progress
from asyncpay.engine.payee.effects import SendRefusal
from asyncpay.engine.payee.events import Announced
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import FINISHED, Stage, Trigger
from asyncpay.engine.payee.turn import Turn
from asyncpay.lightning import OwnInvoice

_LEAST_PAUSE_SECONDS = 1.0
"""Between two releases of one claim, however often it is announced."""
_NOT_OWED = "these invoices are not owed like this"


def announced(turn: Turn, event: Announced) -> None:
    """Somebody shows a pid. The same one again means that the payment still waits."""
    pid, payment_hashes = event.message.pid, event.message.payment_hashes
    known = turn.claims.get(pid)
    proven = event.message.is_proven_by([None if each is None else each.payment_secret for each in event.invoices])
    if not proven and not turn.policy.accept_unproven and (known is None or known.proven):
        turn.log(
            "announcement dropped", pid, payment_hashes, because="it does not prove to come from who has the invoice"
        )
        return
    if known is not None:
        if known.stage not in FINISHED:
            _rearm(turn, known)
        return
    claim = _claim(turn, event, proven)
    if claim.release_path is None and (claim.payer_lsp is None or claim.payer is None):
        turn.log("announcement dropped", pid, payment_hashes, because="it does not say how to reach the payer's LSP")
    elif turn.state.height is None:
        turn.log("announcement dropped", pid, payment_hashes, because="the node is not there yet; it will be repeated")
    elif (objection := next(_objections(turn, claim, event.invoices), None) or _no_room(turn, claim)) is not None:
        if proven:
            _refuse(turn, claim, objection)
        else:
            turn.log("announcement dropped", pid, payment_hashes, because=f"unproven, and {objection}")
    else:
        turn.put(claim)
        turn.log(claim.stage.value, pid, payment_hashes, because=f"{claim.amount_msat} msat are held for it")


def _claim(turn: Turn, event: Announced, proven: bool) -> Claim:
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
        announced_at=turn.now,
        next_at=turn.now,
    )


def _no_room(turn: Turn, claim: Claim) -> str | None:
    """Whether too many others wait for one of its invoices. One that is past its hold_until makes room for it.

    Proven claims and unproven ones are counted apart. Unproven ones are limited in all, too.
    """
    policy, others = turn.policy, [each for each in turn.state.live if each.proven == claim.proven]
    if not claim.proven and len(others) >= policy.max_unproven:
        return f"{len(others)} other unproven payments are being released"
    most = policy.max_claims if claim.proven else policy.max_unproven_claims
    for payment_hash in claim.payment_hashes:
        live = [each for each in others if payment_hash in each.payment_hashes]
        past = [each for each in live if turn.state.unix.surely_past(each.hold_until)]
        if len(live) >= most:
            if not past or turn.state.unix.surely_past(claim.hold_until):
                return f"{most} other payments wait for the invoice {payment_hash.hex()}"
            progress.advance(turn, past[0], Trigger.DEADLINE)
    return None


def _rearm(turn: Turn, claim: Claim) -> None:
    last = turn.state.released_at.get(claim.pid)
    soonest = turn.now if last is None else max(turn.now, last + _LEAST_PAUSE_SECONDS)
    turn.put(replace(claim, tries=0, next_at=soonest))


def _refuse(turn: Turn, claim: Claim, objection: str) -> None:
    """Of several invoices a payer is not told which one is wrong, nor how."""
    refused = replace(claim, stage=Stage.REFUSED, failure=objection, next_at=None)
    turn.put(refused)
    turn.log(refused.stage.value, claim.pid, claim.payment_hashes, because=objection)
    turn.do(SendRefusal(refused, objection if len(claim.payment_hashes) == 1 else _NOT_OWED))
    progress.forget_oldest(turn)


def _objections(turn: Turn, claim: Claim, invoices: Sequence[OwnInvoice | None]) -> Iterator[str]:
    """Why this is not to be released, most telling first; none if it is.

    A refusal cannot be taken back, so the clock has no part in it: whether an invoice can be paid, the node says,
    and whether the parts are still held, the payer's LSP.
    """
    if len(set(claim.payment_hashes)) != len(claim.payment_hashes):
        yield "a payment hash is there twice"
    for payment_hash, invoice in zip(claim.payment_hashes, invoices, strict=True):
        yield from _objections_to_invoice(turn, payment_hash, invoice)
    asked = sum(invoice.amount_msat or 0 for invoice in invoices if invoice is not None)
    if asked > claim.amount_msat:
        yield f"{claim.amount_msat} msat are held, the invoices ask for {asked}"
    if progress.past_its_height(turn, claim.release_by_height):
        yield f"it was to be released by height {claim.release_by_height}, the chain is at {turn.state.height}"


def _objections_to_invoice(turn: Turn, payment_hash: bytes, invoice: OwnInvoice | None) -> Iterator[str]:
    if invoice is None:
        yield f"there is no invoice with the payment hash {payment_hash.hex()}"
    elif invoice.paid:
        yield f"the invoice {payment_hash.hex()} is paid already"
    elif not invoice.payable:
        yield f"the invoice {payment_hash.hex()} has expired or was cancelled"
