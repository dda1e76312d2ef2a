"""Paying the payee in the payer's place, for nodes that cannot forward while the payer is away.

The LSP pays the invoice with its own money and then claims the held parts with the preimage. It can lose
nothing as long as three things hold, and each is arranged here:

- It pays no more than it holds: the fee limit is what the parts bring beyond the amount. What the payer
  wrote into its onions counts only where it is less than what the HTLCs really carry.
- It knows the result while it can still claim: its own HTLCs expire before the held ones, with a margin.
- It never pays twice and never forgets that it pays: the attempt is stored first, is one for a hash for
  ever, and until it is decided the parts stay as they are (stage PAYING has no deadline in stages.py).
"""

import math
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.lsp import blocks, deadlines, links
from asyncpay.engine.lsp.effects import PayOnBehalf, TrackPayment
from asyncpay.engine.lsp.events import PaymentReported
from asyncpay.engine.lsp.records import Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.stages import Stage, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import PaymentStatus


def start(turn: Turn, block: Block) -> None:
    """Begin to pay for a block that is due and cannot be released, if the conditions are met."""
    attempt = _terms(turn, block)
    if attempt is not None:
        turn.put(attempt)
        blocks.advance(turn, block.key, Trigger.PAY_ON_BEHALF)
        _pay(turn, block, attempt)


def track_all(turn: Turn) -> None:
    """After a break nobody knows what became of the payments under way: ask."""
    turn.state.track_at.clear()
    for attempt in turn.tables.attempts.values():
        if attempt.state is AttemptState.IN_FLIGHT:
            turn.do(TrackPayment(attempt.payment_hash))


def run(turn: Turn) -> None:
    """Ask again after payments that were lost sight of."""
    for payment_hash, at in list(turn.state.track_at.items()):
        if at <= turn.now:
            del turn.state.track_at[payment_hash]
            turn.do(TrackPayment(payment_hash))


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    return min(turn.state.track_at.values(), default=math.inf)


def reported(turn: Turn, event: PaymentReported) -> None:
    """The node says where a payment stands."""
    attempt = turn.tables.attempts.get(event.payment_hash)
    if attempt is None or attempt.state is not AttemptState.IN_FLIGHT:
        return
    block = turn.tables.blocks[attempt.block]
    result = event.result
    match result.status:
        case PaymentStatus.IN_FLIGHT:
            turn.state.track_at[event.payment_hash] = turn.now + turn.policy.track_again_seconds
        case PaymentStatus.SUCCEEDED:
            _paid(turn, block, attempt, result.preimage)
        case PaymentStatus.FAILED:
            _not_paid(turn, block, attempt, result.failure)
        case PaymentStatus.UNKNOWN if _may_still_pay(turn, block, attempt):
            _pay(turn, block, attempt)  # stored, then stopped before the node heard of it
        case PaymentStatus.UNKNOWN:
            _not_paid(turn, block, attempt, "never started, and now it is too late")


def _terms(turn: Turn, block: Block) -> Attempt | None:
    node, height = turn.capabilities, turn.state.height
    if node.forwards_with_payer_offline or not node.pays_on_behalf or height is None:
        return None
    if block.invoice is None or block.payment_hashes[0] in turn.tables.attempts:
        return None
    parts = turn.tables.parts(block)
    if any(part.key not in turn.state.on_offer for part in parts):
        return None
    if all(links.payer_present(turn, part.htlc) for part in parts):
        return None
    if any(_payee_awaited(turn, part) for part in parts):
        return None
    brought = sum(min(part.htlc.outgoing_amount_msat, part.htlc.incoming_amount_msat) for part in parts)
    claimable_until = min(part.htlc.incoming_expiry for part in parts) - turn.policy.on_behalf_margin_blocks
    attempt = Attempt(
        payment_hash=block.payment_hashes[0],
        block=block.key,
        fee_limit_msat=brought - block.amount_msat,
        latest_expiry=min(claimable_until, *(part.htlc.outgoing_expiry for part in parts)),
    )
    return attempt if _may_still_pay(turn, block, attempt) else None


def _payee_awaited(turn: Turn, part: Htlc) -> bool:
    """The payee is a client of this LSP too, and away: no other way leads to it."""
    peer = links.next_peer(turn, part.htlc)
    return peer is not None and turn.tables.is_client(peer) and not links.way_on(turn, part.htlc)


def _may_still_pay(turn: Turn, block: Block, attempt: Attempt) -> bool:
    return (
        turn.state.height is not None
        and turn.state.height < attempt.latest_expiry
        and block.invoice_expires_at is not None
        and not turn.state.unix.surely_past(block.invoice_expires_at - 1)
        and deadlines.over(turn, block) is None
        and all(not part.gone and links.can_be_claimed(turn, part.htlc) for part in turn.tables.parts(block))
    )


def _pay(turn: Turn, block: Block, attempt: Attempt) -> None:
    assert block.invoice is not None
    assert turn.state.height is not None
    turn.do(
        PayOnBehalf(
            payment_hash=attempt.payment_hash,
            invoice=block.invoice,
            amount_msat=block.amount_msat,
            fee_limit_msat=attempt.fee_limit_msat,
            cltv_limit_blocks=attempt.latest_expiry - turn.state.height,
            timeout_seconds=turn.policy.on_behalf_timeout_seconds,
        )
    )


def _paid(turn: Turn, block: Block, attempt: Attempt, preimage: bytes | None) -> None:
    if preimage is None or sha256(preimage).digest() != attempt.payment_hash:
        turn.log("payment on behalf", block, because="the node reports success without the right preimage")
        return
    turn.put(replace(attempt, state=AttemptState.PAID))
    for part in turn.tables.parts(block):
        turn.put(replace(part, preimage=preimage))
    blocks.advance(turn, block.key, Trigger.PAID)


def _not_paid(turn: Turn, block: Block, attempt: Attempt, failure: str) -> None:
    turn.put(replace(attempt, state=AttemptState.FAILED))
    turn.log("payment on behalf failed", block, because=failure)
    if block.stage is Stage.PAYING:
        blocks.advance(turn, block.key, Trigger.NOT_PAID)
