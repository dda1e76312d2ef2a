"""HTLCs that this node forwards: which ones pass, which ones are held, and their outcomes.

Every HTLC gets a record before it is resolved, also one that merely passes. Nodes offer an HTLC again after it was
forwarded (lnd#5115, lnd#8172); by then a block or an offline client might require that it is held, and failing it later
would cost the LSP the amount. The resolution of an HTLC never changes.

An offline client has few slots in which HTLCs wait for it, of a limited value. Any node may send it HTLCs, and the
LSP's node does not know the sender, only the peer that forwarded them. So the slots are shared by peer, and within
one peer the HTLCs that cost their sender the least are displaced: of too many HTLCs the smallest, of too much value the
largest.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.lsp import blocks, conditions, notifications, release
from asyncpay.engine.lsp.interface import ResolutionUndelivered
from asyncpay.engine.lsp.records import Block, Htlc, Method, Outcome
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import PROPERTIES, State, Trigger
from asyncpay.lightning import HeldHtlc, HtlcKey, NodeId, Resolution
from asyncpay.log_events import LogEvent
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled


def intercepted(ctx: Context, event: HtlcOffered) -> None:
    """Handle an HTLC for which the node wants a resolution, for the first time or again."""
    ctx.state.intercepted.add(event.htlc.key)
    known = ctx.records.htlcs.get(event.htlc.key)
    if known is None:
        _first_intercepted(ctx, event.htlc)
        return
    if known.gone and conditions.can_be_claimed(ctx, known.htlc):
        known = replace(known, gone=False)
        ctx.put(known)
    blocks.send_resolution(ctx, known)
    if known.block is None:
        reconsider_waiting(ctx, [event.htlc.key])
    else:
        release.review(ctx, known.block)


def fail_late_part(ctx: Context, event: HtlcOffered) -> None:
    """Fail a new HTLC whose hash is that of a finished block that cannot be read. It was never forwarded."""
    ctx.state.intercepted.add(event.htlc.key)
    htlc = Htlc(htlc=_carried(event.htlc), block=None, offered_at=ctx.now, resolution=None)
    ctx.state.changed_since_snapshot.add(htlc.key)
    _resolve_immediately(ctx, htlc, Resolution.FAIL)


def settled(ctx: Context, event: HtlcSettled) -> None:
    """Record that the payee has claimed an HTLC."""
    known = _concerned(ctx, event.key)
    if known is None or known.outcome is not None:
        return
    if sha256(event.preimage).digest() != known.htlc.payment_hash:
        ctx.log(LogEvent.SETTLEMENT_IGNORED, because=f"wrong preimage for HTLC {event.key}")
        return
    ctx.put(replace(known, outcome=Outcome.SETTLED, preimage=event.preimage))
    _conclude(ctx, event.key)


def failed(ctx: Context, event: HtlcFailed) -> None:
    """Handle the failure of a resumed HTLC, at this node or a later one. It is final, for the HTLC's siblings too."""
    known = _concerned(ctx, event.key)
    if known is None or known.outcome is not None or known.resolution in (Resolution.FAIL, Resolution.SETTLE):
        return
    if known.resolution is None:  # the node failed it by itself
        gone(ctx, HtlcGone(event.key))
        return
    ctx.put(replace(known, outcome=Outcome.FAILED))
    if known.block is not None:
        _recall_unsent(ctx, ctx.records.blocks[known.block])
    _conclude(ctx, event.key)


def gone(ctx: Context, event: HtlcGone) -> None:
    """Record that an HTLC cannot be resolved by a message any more."""
    known = ctx.records.htlcs.get(event.key)
    ctx.state.forget_htlc(event.key)
    if known is None:
        return
    if known.block is None:
        ctx.drop(known)
    else:
        lose_part(ctx, known, known.block)


def undelivered(ctx: Context, event: ResolutionUndelivered) -> None:
    """Record that a resolution was not sent: the HTLC is not forwarded until the node offers it again."""
    if event.key in ctx.state.sent_once:
        ctx.state.sent_once.discard(event.key)
        ctx.state.unsent.add(event.key)


def reconsider_waiting(ctx: Context, keys: Iterable[HtlcKey]) -> None:
    """Forward the HTLCs that waited for a client that is connected now, and fail those that have waited too long."""
    for key in keys:
        held = ctx.records.htlcs[key]
        if held.resolution is not None or held.block is not None:
            continue
        if conditions.waited_enough(ctx, held):
            blocks.resolve_htlc(ctx, held, Resolution.FAIL)
        elif held.key in ctx.state.intercepted and conditions.can_forward(ctx, held.htlc):
            blocks.resolve_htlc(ctx, held, Resolution.RESUME)


def lose_part(ctx: Context, part: Htlc, block: bytes) -> None:
    """Handle the loss of a part: it can no longer be forwarded or returned."""
    if part.gone:
        return
    ctx.put(replace(part, gone=True))
    if part.resolution is None:
        blocks.advance(ctx, block, Trigger.PART_LOST)


def _first_intercepted(ctx: Context, offered_htlc: HeldHtlc) -> None:
    htlc = _carried(offered_htlc)
    ctx.state.changed_since_snapshot.add(htlc.key)
    block = ctx.records.block_for(htlc.peer, htlc.payment_hash)
    if block is not None:
        _join_block(ctx, htlc, block)
        return
    held = Htlc(htlc=htlc, block=None, offered_at=ctx.now, resolution=None)
    client = conditions.next_peer(ctx, htlc)
    if client is not None and admit_waiting(ctx, held, client):
        ctx.put(held)
        notifications.notify(ctx, client, Method.PAYMENT_INCOMING)
    else:
        _resolve_immediately(ctx, held, Resolution.RESUME)


def _carried(offered: HeldHtlc) -> HeldHtlc:
    """Return the HTLC with an outgoing amount of at most the incoming one, whatever its onion says."""
    return replace(offered, outgoing_amount_msat=min(offered.outgoing_amount_msat, offered.incoming_amount_msat))


def _join_block(ctx: Context, htlc: HeldHtlc, block: Block) -> None:
    late_part = PROPERTIES[block.state].late_part
    if late_part is not None:
        held = Htlc(htlc=htlc, block=None, offered_at=ctx.now, resolution=None)
        _resolve_immediately(ctx, held, late_part)
        return
    ctx.put(Htlc(htlc=htlc, block=block.key, offered_at=ctx.now, resolution=None))
    if block.first_part_at is None:
        ctx.put(replace(block, first_part_at=ctx.now))
    ctx.log(LogEvent.PART, block, because=str(htlc.key))
    if _over_limit(ctx, block.client):
        blocks.advance(ctx, block.key, Trigger.OVER_LIMIT)
    elif not blocks.end_if_over(ctx, block.key):
        _complete_if_covered(ctx, block.key)


def _complete_if_covered(ctx: Context, unblock_hash: bytes) -> None:
    """Check whether the set is complete. A complete set stays complete; the payer is told of each further part."""
    block = ctx.records.blocks[unblock_hash]
    parts = ctx.records.parts(block)
    covered = {part.htlc.payment_hash for part in parts} == set(block.payment_hashes)
    if covered and sum(part.htlc.outgoing_amount_msat for part in parts) >= block.amount_msat:
        if not blocks.advance(ctx, unblock_hash, Trigger.COMPLETE):
            blocks.send_update(ctx, unblock_hash)
        release.review(ctx, unblock_hash)


def _over_limit(ctx: Context, client: NodeId) -> bool:
    held, value_msat = ctx.records.held(client)
    return held > ctx.policy.max_holds or value_msat > ctx.policy.max_held_msat


def _resolve_immediately(ctx: Context, held: Htlc, resolution: Resolution) -> None:
    ctx.put(replace(held, resolution=resolution))
    blocks.send_resolution(ctx, ctx.records.htlcs[held.key])


def _recall_unsent(ctx: Context, block: Block) -> None:
    """Fail the parts whose RESUME was not sent, in a set that has lost a part: the set can only fail."""
    for part in ctx.records.parts(block):
        if part.key in ctx.state.unsent and part.resolution is Resolution.RESUME:
            ctx.put(replace(part, resolution=Resolution.FAIL, outcome=Outcome.FAILED))
            blocks.send_resolution(ctx, ctx.records.htlcs[part.key])


def _concerned(ctx: Context, key: HtlcKey) -> Htlc | None:
    """Return the HTLC if its block depends on its outcome, or a client that may have to connect for it; else None."""
    known = ctx.records.htlcs.get(key)
    if known is None or (known.block is None and not ctx.records.is_client(known.htlc.peer)):
        return None
    return known


def _conclude(ctx: Context, key: HtlcKey) -> None:
    """Conclude from an HTLC's outcome: that of its block may be known too, and its payer has to connect for it."""
    known = ctx.records.htlcs[key]
    notifications.notify(ctx, known.htlc.peer, Method.SETTLEMENT_PENDING)
    if known.block is None:
        return
    block = ctx.records.blocks[known.block]
    outcomes = [part.outcome for part in ctx.records.parts(block)]
    if block.state is not State.RELEASED or None in outcomes:
        return
    taken = Outcome.SETTLED in outcomes
    blocks.advance(ctx, block.key, Trigger.SETTLED_BY_PAYEE if taken else Trigger.RETURNED_BY_NETWORK)


# --- waiting for an offline client ---


def admit_waiting(ctx: Context, new: Htlc, client: NodeId) -> bool:
    """Return whether a new HTLC may wait for its client. HTLCs that it displaces are failed back."""
    if not ctx.records.is_client(client) or conditions.outgoing_usable(ctx, new.htlc):
        return False
    if conditions.near_expiry(ctx, new.htlc):
        return False
    waiting = [each for each in ctx.records.outgoing(ctx.targets(client)) if each.block is None]
    waiting.sort(key=lambda each: each.offered_at)
    displaced = _displaced(ctx, [*waiting, new])
    if new in displaced:
        return False
    for each in displaced:
        ctx.log(LogEvent.WAITING_HTLC_DISPLACED, because=f"{each.key} is displaced by {new.key}")
        blocks.resolve_htlc(ctx, each, Resolution.FAIL)
    return True


def _displaced(ctx: Context, candidates: list[Htlc]) -> list[Htlc]:
    """Return the HTLCs, among those of one client in the order of their offers, that do not fit into its slots."""
    displaced: list[Htlc] = []
    while True:
        if len(candidates) > ctx.policy.max_waiting:
            share = Counter(each.htlc.peer for each in candidates)
            first = min
        elif sum(map(_value_msat, candidates)) > ctx.policy.max_waiting_msat:
            share = Counter()
            for each in candidates:
                share[each.htlc.peer] += _value_msat(each)
            first = max
        else:
            return displaced
        greediest = max(share.values())
        # Among equals the latest is displaced: `min` and `max` return the first that they find.
        theirs = [each for each in reversed(candidates) if share[each.htlc.peer] == greediest]
        displaced.append(first(theirs, key=_value_msat))
        candidates.remove(displaced[-1])


def _value_msat(waiting: Htlc) -> int:
    return waiting.htlc.outgoing_amount_msat
