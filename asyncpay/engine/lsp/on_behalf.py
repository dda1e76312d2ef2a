"""Paying the payee in the payer's place, for nodes that cannot forward while the payer is away.

The LSP pays the invoice with its own money and then claims the held parts with the preimage. It can lose
nothing as long as five things hold, and each is arranged here:

- It pays no more than it holds, less what forwarding would have earned it (exposure.py).
- It knows the result while it can still claim: its own HTLCs expire before the held ones, with a margin. The node's
  own routes are checked against that height before anything is sent (asyncpay.nodes.base.Payment.latest_expiry).
- It never pays twice and never forgets that it pays: the attempt is stored first, is one for a hash for
  ever, and until it is decided the parts stay as they are (state PAYING has no deadline in states.py).
- It claims only for what it paid itself: a hash of which the node knew a payment before is not paid on behalf.
- What it claims it gets. A node that may forget a SETTLE (capabilities) is made to claim on chain while there is time.

When is it decided that nothing was paid? The node says FAILED or UNKNOWN. But an order may have been on its way when a
connection broke, or this process ended; LND would carry it out also if it comes late, and after a failed payment of the
same hash too. So in that case the word of the node counts only once it has said so for `on_behalf_quiet_seconds`, or
when the height that such an order names has passed. To order once more meanwhile is safe: LND lets what is in flight or
settled never exceed the amount (payments/db, verifyAttempt), and each part has its share of the fee limit.
"""

import math
from dataclasses import replace
from hashlib import sha256
from itertools import islice

from asyncpay.engine.lsp import blocks, conditions, exposure
from asyncpay.engine.lsp.interface import (
    ForceClose,
    ForceCloseReported,
    PaymentReported,
    PayOnBehalf,
    QueryTerms,
    TermsReported,
    TrackPayment,
)
from asyncpay.engine.lsp.records import Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import State, Trigger
from asyncpay.lightning import PaymentStatus
from asyncpay.log_events import LogEvent

MOST_FOR_SLOT = 10
"""How many blocks are tried when a payment has ended and so left a slot to one of them."""


def start(ctx: Context, block: Block) -> None:
    """Ask for the terms of a payment for a block that is due and cannot be released, if one is called for."""
    asked_at = ctx.state.own.queried_at.get(block.key, -math.inf)
    if ctx.now < asked_at + ctx.policy.query_terms_seconds or not _called_for(ctx, block):
        return
    if exposure.full(ctx, block) is not None:
        _wait_for_slot(ctx, block)
        return
    ctx.state.own.forget(block.key)
    ctx.state.own.queried_at[block.key] = ctx.now
    next_peers = {conditions.next_peer(ctx, part.htlc) for part in ctx.records.parts(block)}
    peers = frozenset(peer for peer in next_peers if peer is not None) | {block.client}
    ctx.emit(QueryTerms(block=block.key, payment_hash=block.payment_hashes[0], peers=peers))


def terms_reported(ctx: Context, event: TermsReported) -> None:
    """The terms are known: begin to pay if they allow it, and if it is still called for."""
    block = ctx.records.blocks.get(event.block)
    if block is None or block.state is not State.DUE or not _called_for(ctx, block):
        return
    if event.channels is None:
        ctx.state.own.query_again_at.set(block.key, ctx.now + ctx.policy.query_terms_seconds)
        return
    refusal = exposure.full(ctx, block)
    if event.known is not PaymentStatus.UNKNOWN:
        refusal = "the node knows a payment of this hash, which was not made for this block"
    try:
        limits = exposure.limits(ctx, block, event.channels)
    except exposure.NotCoveredError as error:
        refusal = refusal or str(error)
    if exposure.full(ctx, block) is not None:
        _wait_for_slot(ctx, block)
    if refusal is not None:
        ctx.log(LogEvent.NOT_PAID_ON_BEHALF, block, because=refusal)
        return
    attempt = Attempt(
        payment_hash=block.payment_hashes[0],
        block=block.key,
        fee_limit_msat=limits.fee_limit_msat,
        latest_expiry=limits.latest_expiry,
    )
    if _may_still_pay(ctx, block, attempt):
        ctx.put(attempt)
        blocks.advance(ctx, block.key, Trigger.PAY_ON_BEHALF)
        _pay(ctx, block, attempt)


def track_all(ctx: Context) -> None:
    """The node is there (again): ask about payments whose result is not awaited. Their orders may be under way."""
    own = ctx.state.own
    own.track_at.clear()
    for attempt in ctx.records.in_flight():
        if attempt.payment_hash not in own.ordered:
            own.unsure_until[attempt.payment_hash] = ctx.now + ctx.policy.on_behalf_quiet_seconds
            ctx.emit(TrackPayment(attempt.payment_hash))


def detached(ctx: Context) -> None:
    """The node is away, and will not answer what it was asked."""
    ctx.state.own.track_at.clear()
    ctx.state.own.queried_at.clear()
    ctx.state.own.query_again_at.clear()
    ctx.state.own.slot_wanted.clear()
    ctx.state.own.force_closing.clear()


def run(ctx: Context) -> None:
    """Ask again about payments that were lost sight of, and for terms that the node did not tell."""
    own = ctx.state.own
    for payment_hash in ctx.due(own.track_at, ctx.now):
        own.track_at.discard(payment_hash)
        ctx.emit(TrackPayment(payment_hash))
    for unblock_hash in ctx.due(own.query_again_at, ctx.now):
        own.query_again_at.discard(unblock_hash)
        block = ctx.records.blocks.get(unblock_hash)
        if block is not None and block.state is State.DUE:
            start(ctx, block)


def next_at(ctx: Context) -> float:
    """When `run` has something to do."""
    own = ctx.state.own
    return min(own.track_at.first, own.query_again_at.first)


def reported(ctx: Context, event: PaymentReported) -> None:
    """The node says where a payment stands."""
    attempt = ctx.records.attempts.get(event.payment_hash)
    if attempt is None or attempt.state is not AttemptState.IN_FLIGHT:
        return
    own = ctx.state.own
    if event.of_order:
        own.ordered.discard(event.payment_hash)
    block = ctx.records.blocks[attempt.block]
    result = event.result
    match result.status:
        case PaymentStatus.IN_FLIGHT:
            own.unsure_until[event.payment_hash] = ctx.now + ctx.policy.on_behalf_quiet_seconds
            own.repeated.discard(event.payment_hash)
            _track_again(ctx, attempt)
        case PaymentStatus.SUCCEEDED:
            _paid(ctx, block, attempt, result.preimage)
        case _ if event.payment_hash in own.ordered:
            pass  # the order may begin another attempt yet, and reports in the end
        case PaymentStatus.UNKNOWN if _may_order_again(ctx, block, attempt):
            _pay(ctx, block, attempt)  # stored, then stopped before the node heard of it
        case _ if _may_still_arrive(ctx, attempt):
            _track_again(ctx, attempt)
        case PaymentStatus.FAILED:
            _not_paid(ctx, block, attempt, result.failure)
        case PaymentStatus.UNKNOWN:
            _not_paid(ctx, block, attempt, "never started, and now it is too late")


def claim_on_chain(ctx: Context) -> None:
    """Force-close the channels of claimed parts that the payer's node has not taken, and that are about to expire.

    Called when an HTLC snapshot has just said what is on the channels. A part that was offered or resolved since it was
    requested is on its way off them, as far as is known; the snapshot of the next block tells. Nothing of this is
    stored: what has been asked for and not been done shows in the same way again, and a node asked twice closes once.
    """
    height, own = ctx.node.height, ctx.state.own
    if ctx.capabilities.keeps_settlements or height is None:
        return
    for key in ctx.state.schedule.claimed.due(height + ctx.policy.settle_force_close_blocks):
        part = ctx.records.htlcs[key]
        channel_id = part.key.channel_id
        if part.key in ctx.state.changed_since_snapshot or channel_id in own.force_closing:
            continue
        own.force_closing.add(channel_id)
        left_blocks = part.htlc.incoming_expiry - height
        block = None if part.block is None else ctx.records.blocks.get(part.block)
        ctx.log(LogEvent.FORCE_CLOSE, block, because=f"HTLC {part.key} is claimed and expires in {left_blocks} blocks")
        ctx.emit(ForceClose(channel_id))


def force_close_reported(ctx: Context, event: ForceCloseReported) -> None:
    """The node has done it, or has failed to: then it is asked again with the next block."""
    ctx.state.own.force_closing.discard(event.channel_id)


def _wait_for_slot(ctx: Context, block: Block) -> None:
    """Try again when a payment has ended; and after a while, because what was claimed ends without such an event."""
    ctx.state.own.slot_wanted[block.key] = None
    ctx.state.own.query_again_at.set(block.key, ctx.now + ctx.policy.query_terms_seconds)


def next_for_slot(ctx: Context) -> list[bytes]:
    """The unblock_hashes of the blocks that have waited longest for a slot."""
    return list(islice(ctx.state.own.slot_wanted, MOST_FOR_SLOT))


def _called_for(ctx: Context, block: Block) -> bool:
    """Whether the payer is away and needed, the payee is not the one that is awaited, and the invoice is at hand."""
    node = ctx.capabilities
    if node.forwards_with_payer_offline or not node.pays_on_behalf or ctx.node.height is None:
        return False
    if block.invoice is None or block.payment_hashes[0] in ctx.records.attempts:
        return False
    parts = ctx.records.parts(block)
    if any(part.key not in ctx.state.intercepted for part in parts):
        return False
    if all(conditions.incoming_usable(ctx, part.htlc) for part in parts):
        return False
    return not any(_payee_awaited(ctx, part) for part in parts)


def _payee_awaited(ctx: Context, part: Htlc) -> bool:
    """The payee is a client of this LSP too, and away: no other way leads to it."""
    peer = conditions.next_peer(ctx, part.htlc)
    return peer is not None and ctx.records.is_client(peer) and not conditions.outgoing_usable(ctx, part.htlc)


def _may_still_pay(ctx: Context, block: Block, attempt: Attempt) -> bool:
    return (
        ctx.node.height is not None
        and ctx.node.height < attempt.latest_expiry
        and block.invoice_expires_at is not None
        and not ctx.state.unix.surely_past(block.invoice_expires_at - 1)
        and conditions.over(ctx, block) is None
        and all(not part.gone and conditions.can_be_claimed(ctx, part.htlc) for part in ctx.records.parts(block))
    )


def _may_order_again(ctx: Context, block: Block, attempt: Attempt) -> bool:
    """Once after each break: what the node does not know then was never begun, or arrives yet."""
    return attempt.payment_hash not in ctx.state.own.repeated and _may_still_pay(ctx, block, attempt)


def _may_still_arrive(ctx: Context, attempt: Attempt) -> bool:
    """Whether an order that the node does not know of, or not any more, could still make it pay."""
    height = ctx.node.height
    if height is not None and height >= attempt.latest_expiry:
        return False  # its HTLCs would have expired: no node sends them
    return ctx.now < ctx.state.own.unsure_until.get(attempt.payment_hash, -math.inf)


def _track_again(ctx: Context, attempt: Attempt) -> None:
    ctx.state.own.track_at.set(attempt.payment_hash, ctx.now + ctx.policy.track_again_seconds)


def _pay(ctx: Context, block: Block, attempt: Attempt) -> None:
    assert block.invoice is not None
    own = ctx.state.own
    own.ordered.add(attempt.payment_hash)
    if attempt.payment_hash in own.unsure_until:
        own.repeated.add(attempt.payment_hash)
    held = [part.htlc for part in ctx.records.parts(block) if part.resolution is None]
    ctx.emit(
        PayOnBehalf(
            payment_hash=attempt.payment_hash,
            invoice=block.invoice,
            amount_msat=block.amount_msat,
            fee_limit_msat=attempt.fee_limit_msat,
            latest_expiry=attempt.latest_expiry,
            incoming_msat=sum(htlc.incoming_amount_msat for htlc in held),
            incoming_expiry=min(htlc.incoming_expiry for htlc in held),
            timeout_seconds=ctx.policy.on_behalf_timeout_seconds,
        )
    )


def _paid(ctx: Context, block: Block, attempt: Attempt, preimage: bytes | None) -> None:
    if preimage is None or sha256(preimage).digest() != attempt.payment_hash:
        ctx.log(LogEvent.ON_BEHALF, block, because="the node reports success without the right preimage")
        return
    ctx.state.own.decided(attempt.payment_hash)
    ctx.put(replace(attempt, state=AttemptState.PAID))
    for part in ctx.records.parts(block):
        ctx.put(replace(part, preimage=preimage))
    blocks.advance(ctx, block.key, Trigger.PAID)


def _not_paid(ctx: Context, block: Block, attempt: Attempt, failure: str) -> None:
    ctx.state.own.decided(attempt.payment_hash)
    ctx.put(replace(attempt, state=AttemptState.FAILED))
    ctx.log(LogEvent.ON_BEHALF_FAILED, block, because=failure)
    if block.state is State.PAYING:
        blocks.advance(ctx, block.key, Trigger.NOT_PAID)
