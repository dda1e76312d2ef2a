"""Paying the payee on behalf of the payer, for nodes that cannot forward while the payer is offline.

The LSP pays the invoice with its own money and then claims the held parts with the preimage. It cannot lose money
as long as five conditions hold, which are ensured here:

- It pays no more than it holds, less the fees that forwarding would have earned (exposure.py).
- It knows the result while it can still claim: its own HTLCs expire before the held ones, with a margin. The node's
  own routes are checked against that height before anything is sent (asyncpay.nodes.base.Payment.latest_expiry).
- It never pays twice and always knows that it pays: the attempt is stored first, there is only ever one for a payment
  hash, and until it is decided the parts stay held (state PAYING has no deadline in states.py).
- It claims only for its own payments: if the node already knew a payment of the hash, it does not pay on behalf.
- Its claims succeed. A node that may lose a SETTLE (capabilities) is made to claim on chain in time.

When is it decided that nothing was paid? The node reports FAILED or UNKNOWN. But an order may have been in transit when
a connection broke, or this process ended; LND would execute it even if it arrives late, and also after a failed payment
of the same hash. So in that case the node's report counts only after it has been the same for
`on_behalf_quiet_seconds`, or when the height that such an order names has passed. A second order in the meantime is
safe: LND never lets the amounts in flight and settled exceed the payment amount (payments/db, verifyAttempt), and each
part has its share of the fee limit.
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
"""The number of waiting blocks that are tried when the end of a payment frees a slot for one of them."""


def start(ctx: Context, block: Block) -> None:
    """Ask for the terms of an own payment for a block that is due and cannot be released, if it needs one."""
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
    """Begin to pay if the reported terms allow it, and the block still needs it."""
    block = ctx.records.blocks.get(event.block)
    if block is None or block.state is not State.DUE or not _called_for(ctx, block):
        return
    if event.channels is None:
        ctx.state.own.query_again_at.set(block.key, ctx.now + ctx.policy.query_terms_seconds)
        return
    refusal = exposure.full(ctx, block)
    if event.known is not PaymentStatus.UNKNOWN:
        refusal = "the node already knows a payment of this hash that was not made for this block"
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
    """Track payments whose result is not awaited, after the node was attached. Their orders may be in transit."""
    own = ctx.state.own
    own.track_at.clear()
    for attempt in ctx.records.in_flight():
        if attempt.payment_hash not in own.ordered:
            own.unsure_until[attempt.payment_hash] = ctx.now + ctx.policy.on_behalf_quiet_seconds
            ctx.emit(TrackPayment(attempt.payment_hash))


def detached(ctx: Context) -> None:
    """Handle the loss of the node: it will not answer open requests."""
    ctx.state.own.track_at.clear()
    ctx.state.own.queried_at.clear()
    ctx.state.own.query_again_at.clear()
    ctx.state.own.slot_wanted.clear()
    ctx.state.own.force_closing.clear()


def run(ctx: Context) -> None:
    """Track payments again that are no longer followed, and ask again for terms that the node did not report."""
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
    """Return the time at which `run` has work to do."""
    own = ctx.state.own
    return min(own.track_at.first, own.query_again_at.first)


def reported(ctx: Context, event: PaymentReported) -> None:
    """Handle the node's report of the progress or the result of a payment."""
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
            pass  # the order may still begin another attempt, and it reports when it ends
        case PaymentStatus.UNKNOWN if _may_order_again(ctx, block, attempt):
            _pay(ctx, block, attempt)  # the attempt was stored, but its order did not reach the node
        case _ if _may_still_arrive(ctx, attempt):
            _track_again(ctx, attempt)
        case PaymentStatus.FAILED:
            _not_paid(ctx, block, attempt, result.failure)
        case PaymentStatus.UNKNOWN:
            _not_paid(ctx, block, attempt, "never started, and now it is too late")


def claim_on_chain(ctx: Context) -> None:
    """Force-close channels with claimed parts that are about to expire and whose SETTLE the payer has not received.

    Called after an HTLC snapshot has shown which HTLCs are on the channels. A part that was offered or resolved since
    the snapshot was requested is assumed to leave its channel; the snapshot of the next block shows whether it did.
    Nothing is stored for this: the next snapshot shows a close that was not done, and a second request changes nothing.
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
    """Handle the end of a force-close. If it failed, the node is asked again with the next block."""
    ctx.state.own.force_closing.discard(event.channel_id)


def _wait_for_slot(ctx: Context, block: Block) -> None:
    """Try again when a payment has ended, and after a pause, because claimed parts leave without such an event."""
    ctx.state.own.slot_wanted[block.key] = None
    ctx.state.own.query_again_at.set(block.key, ctx.now + ctx.policy.query_terms_seconds)


def next_for_slot(ctx: Context) -> list[bytes]:
    """Return the unblock_hashes of the blocks that have waited longest for a slot."""
    return list(islice(ctx.state.own.slot_wanted, MOST_FOR_SLOT))


def _called_for(ctx: Context, block: Block) -> bool:
    """Return whether a payment is needed and possible: the payer is needed but offline, the payee is not offline, and
    the invoice is known.
    """
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
    """Return whether the payee is a client of this LSP too, and offline: there is no other route to it."""
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
    """Return whether to order again: once after each interruption. The first order was lost, or is still in transit."""
    return attempt.payment_hash not in ctx.state.own.repeated and _may_still_pay(ctx, block, attempt)


def _may_still_arrive(ctx: Context, attempt: Attempt) -> bool:
    """Return whether an order in transit could still be paid although the node reports no payment or a failed one."""
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
