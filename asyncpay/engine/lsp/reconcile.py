"""Compare what is stored with the HTLCs that the node has: events may have been missed.

The node lists all HTLCs on its open channels. What it lacks is gone; what it still has although nothing of it is on the
way any more has a result that waits for its payer.
"""

from dataclasses import replace

from asyncpay.engine.lsp import conditions, htlcs
from asyncpay.engine.lsp.effects import RequestHtlcSnapshot
from asyncpay.engine.lsp.events import HtlcSnapshot
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.state import Context
from asyncpay.lightning import HeldHtlc, HtlcKey, Resolution
from asyncpay.node_events import HtlcGone


def request_htlc_snapshot(ctx: Context) -> None:
    """Ask the node for all its HTLCs, and forget an answer that is under way."""
    ctx.state.snapshot_number += 1
    ctx.state.snapshot_pending = True
    ctx.state.snapshot_wanted = False
    ctx.state.changed_since_snapshot.clear()
    ctx.emit(RequestHtlcSnapshot(ctx.state.snapshot_number))


def request_htlc_snapshot_later(ctx: Context) -> None:
    """The same, but after the one that is under way. Otherwise a peer that connects and disconnects all the time would
    make every snapshot out of date before it arrives, and no client would be notified.
    """
    if ctx.state.snapshot_pending:
        ctx.state.snapshot_wanted = True
    else:
        request_htlc_snapshot(ctx)


def reconcile(ctx: Context, event: HtlcSnapshot) -> bool:
    """The node lists every HTLC that it has. What it lacks is gone. False for a list that a later one has overtaken."""
    if event.number != ctx.state.snapshot_number:
        return False
    ctx.state.snapshot_pending = False
    if ctx.state.first_start:
        ctx.state.first_start = False
        _adopt(ctx, event)
    present = {each.key for each in event.pending if each.incoming}
    for key in list(ctx.records.htlcs):
        if key not in present and key not in ctx.state.changed_since_snapshot:
            _missing(ctx, ctx.records.htlcs[key])
    _find_results(ctx, event, present)
    soonest = ctx.state.soonest_expiry
    soonest.clear()
    for each in event.pending:
        soonest[each.peer] = min(each.expiry, soonest.get(each.peer, each.expiry))
    return True


def request_wanted_snapshot(ctx: Context) -> None:
    """Request the snapshot that was to follow the one that has just been dealt with."""
    if ctx.state.snapshot_wanted:
        request_htlc_snapshot(ctx)


def rename_htlcs(ctx: Context) -> None:
    """Earlier releases kept an HTLC by a name of its channel, which may change: give those their channel's id."""
    for key, known in list(ctx.records.htlcs.items()):
        name = key.channel_id.name
        link = None if name is None else ctx.node.channels.named(name)
        if link is None or link.channel_id == key.channel_id:
            continue
        ctx.drop(known)
        ctx.put(replace(known, htlc=replace(known.htlc, key=HtlcKey(link.channel_id, key.htlc_id))))


def _missing(ctx: Context, missing: Htlc) -> None:
    """An HTLC is on no open channel. If it went on chain with its channel, a preimage still claims it there."""
    on_chain = missing.key in ctx.state.intercepted and not conditions.can_be_claimed(ctx, missing.htlc)
    if on_chain and missing.block is not None:
        htlcs.lose_part(ctx, missing, missing.block)
    else:
        htlcs.gone(ctx, HtlcGone(missing.key))


def _find_results(ctx: Context, event: HtlcSnapshot, present: set[HtlcKey]) -> None:
    """An HTLC that is no longer on its way, and not yet back, has a result that waits for its payer.

    Mostly an event has said so before; but not if it came while this process was away.
    """
    on_the_way = {each.payment_hash for each in event.pending if not each.incoming}
    ctx.state.resolved_ahead = {
        known.key
        for known in ctx.records.htlcs.values()
        if known.resolution is Resolution.RESUME
        and known.htlc.payment_hash not in on_the_way
        and known.key in present
        and known.key not in ctx.state.intercepted
        and known.key not in ctx.state.changed_since_snapshot
    }


def _adopt(ctx: Context, event: HtlcSnapshot) -> None:
    """At its very first start the LSP finds HTLCs that the node let pass without it: that resolution stands."""
    for each in event.pending:
        blocked = ctx.records.block_for(each.peer, each.payment_hash) is not None
        if not each.incoming or blocked or each.key in ctx.records.htlcs:
            continue
        htlc = HeldHtlc(
            key=each.key,
            payment_hash=each.payment_hash,
            peer=each.peer,
            incoming_amount_msat=each.amount_msat,
            outgoing_amount_msat=each.amount_msat,
            incoming_expiry=each.expiry,
            outgoing_expiry=each.expiry,
        )
        ctx.put(Htlc(htlc=htlc, block=None, offered_at=ctx.now, resolution=Resolution.RESUME))
