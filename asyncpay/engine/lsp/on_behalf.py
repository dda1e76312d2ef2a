"""Paying the payee in the payer's place, for nodes that cannot forward while the payer is away.

The LSP pays the invoice with its own money and then claims the held parts with the preimage. It can lose
nothing as long as five things hold, and each is arranged here:

- It pays no more than it holds, less what forwarding would have earned it (exposure.py).
- It knows the result while it can still claim: its own HTLCs expire before the held ones, with a margin. The node's
  own routes are checked against that height before anything is sent (asyncpay.nodes.base.Payment.latest_expiry).
- It never pays twice and never forgets that it pays: the attempt is stored first, is one for a hash for
  ever, and until it is decided the parts stay as they are (stage PAYING has no deadline in stages.py).
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

from asyncpay.engine.lsp import blocks, deadlines, exposure, links
from asyncpay.engine.lsp.effects import ForceClose, PayOnBehalf, QueryTerms, TrackPayment
from asyncpay.engine.lsp.events import ForceCloseReported, PaymentReported, TermsReported
from asyncpay.engine.lsp.records import Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.stages import Stage, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import PaymentStatus


def start(turn: Turn, block: Block) -> None:
    """Ask for the terms of a payment for a block that is due and cannot be released, if one is called for."""
    asked_at = turn.state.own.queried_at.get(block.key, -math.inf)
    if turn.now < asked_at + turn.policy.query_terms_seconds or not _called_for(turn, block):
        return
    if exposure.full(turn, block) is not None:
        turn.state.own.query_again_at[block.key] = turn.now + turn.policy.query_terms_seconds
        return
    turn.state.own.queried_at[block.key] = turn.now
    next_peers = {links.next_peer(turn, part.htlc) for part in turn.tables.parts(block)}
    peers = frozenset(peer for peer in next_peers if peer is not None) | {block.client}
    turn.do(QueryTerms(block=block.key, payment_hash=block.payment_hashes[0], peers=peers))


def terms_reported(turn: Turn, event: TermsReported) -> None:
    """The terms are known: begin to pay if they allow it, and if it is still called for."""
    block = turn.tables.blocks.get(event.block)
    if block is None or block.stage is not Stage.DUE or not _called_for(turn, block):
        return
    if event.channels is None:
        turn.state.own.query_again_at[block.key] = turn.now + turn.policy.query_terms_seconds
        return
    refusal = exposure.full(turn, block)
    if event.known is not PaymentStatus.UNKNOWN:
        refusal = "the node knows a payment of this hash, which was not made for this block"
    try:
        limits = exposure.limits(turn, block, event.channels)
    except exposure.NotCoveredError as error:
        refusal = refusal or str(error)
    if exposure.full(turn, block) is not None:
        turn.state.own.query_again_at[block.key] = turn.now + turn.policy.query_terms_seconds
    if refusal is not None:
        turn.log("not paid on behalf", block, because=refusal)
        return
    attempt = Attempt(
        payment_hash=block.payment_hashes[0],
        block=block.key,
        fee_limit_msat=limits.fee_limit_msat,
        latest_expiry=limits.latest_expiry,
    )
    if _may_still_pay(turn, block, attempt):
        turn.put(attempt)
        blocks.advance(turn, block.key, Trigger.PAY_ON_BEHALF)
        _pay(turn, block, attempt)


def track_all(turn: Turn) -> None:
    """The node is there (again): ask about payments that nobody waits for. Their orders may still be on their way."""
    own = turn.state.own
    own.track_at.clear()
    for attempt in turn.tables.in_flight():
        if attempt.payment_hash not in own.ordered:
            own.unsure_until[attempt.payment_hash] = turn.now + turn.policy.on_behalf_quiet_seconds
            turn.do(TrackPayment(attempt.payment_hash))


def detached(turn: Turn) -> None:
    """The node is away, and will not answer what it was asked."""
    turn.state.own.track_at.clear()
    turn.state.own.queried_at.clear()
    turn.state.own.query_again_at.clear()
    turn.state.own.force_closing.clear()


def run(turn: Turn) -> None:
    """Ask again about payments that were lost sight of, and for terms that the node did not tell."""
    own = turn.state.own
    for payment_hash in [each for each, at in own.track_at.items() if at <= turn.now]:
        del own.track_at[payment_hash]
        turn.do(TrackPayment(payment_hash))
    for unblock_hash in [each for each, at in own.query_again_at.items() if at <= turn.now]:
        del own.query_again_at[unblock_hash]
        block = turn.tables.blocks.get(unblock_hash)
        if block is not None and block.stage is Stage.DUE:
            start(turn, block)


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    own = turn.state.own
    return min((*own.track_at.values(), *own.query_again_at.values()), default=math.inf)


def forget(turn: Turn, block: Block) -> None:
    """A block is being forgotten. Its attempt is not needed: the node remembers that it paid (`terms_reported`)."""
    turn.state.own.queried_at.pop(block.key, None)
    for payment_hash in block.payment_hashes:
        attempt = turn.tables.attempts.get(payment_hash)
        if attempt is not None and attempt.block == block.key:
            turn.drop(attempt)


def reported(turn: Turn, event: PaymentReported) -> None:
    """The node says where a payment stands."""
    attempt = turn.tables.attempts.get(event.payment_hash)
    if attempt is None or attempt.state is not AttemptState.IN_FLIGHT:
        return
    own = turn.state.own
    if event.of_order:
        own.ordered.discard(event.payment_hash)
    block = turn.tables.blocks[attempt.block]
    result = event.result
    match result.status:
        case PaymentStatus.IN_FLIGHT:
            own.unsure_until[event.payment_hash] = turn.now + turn.policy.on_behalf_quiet_seconds
            own.repeated.discard(event.payment_hash)
            _track_again(turn, attempt)
        case PaymentStatus.SUCCEEDED:
            _paid(turn, block, attempt, result.preimage)
        case _ if event.payment_hash in own.ordered:
            pass  # the order may begin another attempt yet, and reports in the end
        case PaymentStatus.UNKNOWN if _may_order_again(turn, block, attempt):
            _pay(turn, block, attempt)  # stored, then stopped before the node heard of it
        case _ if _may_still_arrive(turn, attempt):
            _track_again(turn, attempt)
        case PaymentStatus.FAILED:
            _not_paid(turn, block, attempt, result.failure)
        case PaymentStatus.UNKNOWN:
            _not_paid(turn, block, attempt, "never started, and now it is too late")


def claim_on_chain(turn: Turn) -> None:
    """Force-close the channels of claimed parts that the payer's node has not taken, and that are about to expire.

    Called when a census has just said what is on the channels. A part that was offered or answered since it began is on
    its way off them, as far as is known; the census of the next block tells. Nothing of this is stored: what has been
    asked for and not been done shows in the same way again, and a node asked twice closes once.
    """
    height, own = turn.state.height, turn.state.own
    if turn.capabilities.keeps_settlements or height is None:
        return
    for part in turn.tables.claimed_until(height + turn.policy.settle_force_close_blocks):
        channel_id = part.key.channel_id
        if part.key in turn.state.moved or channel_id in own.force_closing:
            continue
        if not links.can_be_claimed(turn, part.htlc):
            continue  # it is on chain already
        own.force_closing.add(channel_id)
        left_blocks = part.htlc.incoming_expiry - height
        block = None if part.block is None else turn.tables.blocks.get(part.block)
        turn.log("force-close", block, because=f"HTLC {part.key} is claimed and expires in {left_blocks} blocks")
        turn.do(ForceClose(channel_id))


def force_close_reported(turn: Turn, event: ForceCloseReported) -> None:
    """The node has done it, or has failed to: then it is asked again with the next block."""
    turn.state.own.force_closing.discard(event.channel_id)


def _called_for(turn: Turn, block: Block) -> bool:
    """Whether the payer is away and needed, the payee is not the one that is awaited, and the invoice is at hand."""
    node = turn.capabilities
    if node.forwards_with_payer_offline or not node.pays_on_behalf or turn.state.height is None:
        return False
    if block.invoice is None or block.payment_hashes[0] in turn.tables.attempts:
        return False
    parts = turn.tables.parts(block)
    if any(part.key not in turn.state.on_offer for part in parts):
        return False
    if all(links.payer_present(turn, part.htlc) for part in parts):
        return False
    return not any(_payee_awaited(turn, part) for part in parts)


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


def _may_order_again(turn: Turn, block: Block, attempt: Attempt) -> bool:
    """Once after each break: what the node does not know then was never begun, or arrives yet."""
    return attempt.payment_hash not in turn.state.own.repeated and _may_still_pay(turn, block, attempt)


def _may_still_arrive(turn: Turn, attempt: Attempt) -> bool:
    """Whether an order that the node does not know of, or not any more, could still make it pay."""
    height = turn.state.height
    if height is not None and height >= attempt.latest_expiry:
        return False  # its HTLCs would have expired: no node sends them
    return turn.now < turn.state.own.unsure_until.get(attempt.payment_hash, -math.inf)


def _track_again(turn: Turn, attempt: Attempt) -> None:
    turn.state.own.track_at[attempt.payment_hash] = turn.now + turn.policy.track_again_seconds


def _pay(turn: Turn, block: Block, attempt: Attempt) -> None:
    assert block.invoice is not None
    own = turn.state.own
    own.ordered.add(attempt.payment_hash)
    if attempt.payment_hash in own.unsure_until:
        own.repeated.add(attempt.payment_hash)
    held = [part.htlc for part in turn.tables.parts(block) if part.verdict is None]
    turn.do(
        PayOnBehalf(
            payment_hash=attempt.payment_hash,
            invoice=block.invoice,
            amount_msat=block.amount_msat,
            fee_limit_msat=attempt.fee_limit_msat,
            latest_expiry=attempt.latest_expiry,
            incoming_msat=sum(htlc.incoming_amount_msat for htlc in held),
            incoming_expiry=min(htlc.incoming_expiry for htlc in held),
            timeout_seconds=turn.policy.on_behalf_timeout_seconds,
        )
    )


def _paid(turn: Turn, block: Block, attempt: Attempt, preimage: bytes | None) -> None:
    if preimage is None or sha256(preimage).digest() != attempt.payment_hash:
        turn.log("payment on behalf", block, because="the node reports success without the right preimage")
        return
    turn.state.own.decided(attempt.payment_hash)
    turn.put(replace(attempt, state=AttemptState.PAID))
    for part in turn.tables.parts(block):
        turn.put(replace(part, preimage=preimage))
    blocks.advance(turn, block.key, Trigger.PAID)


def _not_paid(turn: Turn, block: Block, attempt: Attempt, failure: str) -> None:
    turn.state.own.decided(attempt.payment_hash)
    turn.put(replace(attempt, state=AttemptState.FAILED))
    turn.log("payment on behalf failed", block, because=failure)
    if block.stage is Stage.PAYING:
        blocks.advance(turn, block.key, Trigger.NOT_PAID)
