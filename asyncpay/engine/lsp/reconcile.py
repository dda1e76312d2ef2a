"""Compare the stored HTLCs with those of the node: events may have been missed.

The node lists all HTLCs on its open channels. A stored HTLC that is not listed is gone; one that is listed although its
outgoing HTLC is not has a result that waits for its payer.

Both lists may be long, so they are processed in slices, between which other events are handled. A snapshot is
requested only when something may have been missed: after a new stream, a block, a closed channel, or the disconnection
of a client one of whose HTLCs is resolved.
"""

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace

from asyncpay.engine.lsp import blocks, conditions, htlcs, notifications, on_behalf
from asyncpay.engine.lsp.interface import HtlcSnapshot, RequestHtlcSnapshot
from asyncpay.engine.lsp.records import Htlc, Method
from asyncpay.engine.lsp.schedule import slices
from asyncpay.engine.lsp.state import Context, Work
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId, PendingHtlc, Resolution, ShortChannelId
from asyncpay.node_events import HtlcGone

SNAPSHOT_PACE_SECONDS = 1.0
"""Between two snapshots that are requested because clients disconnect: each lists every HTLC of the node."""


def request_htlc_snapshot(ctx: Context) -> None:
    """Ask the node for all its HTLCs. An answer in transit will be ignored; one that has arrived is processed first."""
    state = ctx.state
    if state.reconciliation is not None:
        state.snapshot_wanted = True
        return
    state.snapshot_number += 1
    state.snapshot_pending = True
    state.snapshot_wanted = False
    state.snapshot_at = math.inf
    state.changed_since_snapshot.clear()
    ctx.emit(RequestHtlcSnapshot(state.snapshot_number))


def request_htlc_snapshot_later(ctx: Context) -> None:
    """Request a snapshot after the one under way, and not too often. Otherwise a peer that connects and disconnects
    continually would make every snapshot out of date before it arrives, and no client would be notified.
    """
    if ctx.state.snapshot_pending or ctx.state.reconciliation is not None:
        ctx.state.snapshot_wanted = True
    elif ctx.now < ctx.state.snapshot_requested_at + SNAPSHOT_PACE_SECONDS:
        ctx.state.snapshot_at = ctx.state.snapshot_requested_at + SNAPSHOT_PACE_SECONDS
    else:
        ctx.state.snapshot_requested_at = ctx.now
        request_htlc_snapshot(ctx)


def client_disconnected(ctx: Context, client: NodeId) -> None:
    """Request a snapshot: an HTLC that was just resolved may still be on the client's channel, as a waiting result.

    A client without a resolved HTLC, for whose channels nothing waits, has no reason to connect again.
    """
    stuck = any(ctx.records.htlcs[key].htlc.peer == client for key in ctx.state.stuck.that_need([client]))
    if ctx.records.has_decided(client) or ctx.records.due_of(client) or stuck:
        request_htlc_snapshot_later(ctx)


def run(ctx: Context) -> None:
    """Request a postponed snapshot, and do the next slice of the reconciliation that is under way."""
    if ctx.now >= ctx.state.snapshot_at:
        ctx.state.snapshot_at = math.inf
        request_htlc_snapshot_later(ctx)
    if ctx.state.reconciliation is not None:
        _go_on(ctx, ctx.state.reconciliation)


def reconcile(ctx: Context, event: HtlcSnapshot) -> None:
    """Process the list of all HTLCs of the node, in slices. A list that is not the latest one requested is ignored."""
    if event.number != ctx.state.snapshot_number or not ctx.state.snapshot_pending:
        return
    ctx.state.snapshot_pending = False
    if ctx.state.first_start:
        # Not in slices: after a crash between two of them the store would not be new any more.
        ctx.state.first_start = False
        for htlc in event.pending:
            _adopt(ctx, htlc)
    ctx.state.reconciliation = _reconcile(event)
    next(ctx.state.reconciliation)
    _go_on(ctx, ctx.state.reconciliation)


def _go_on(ctx: Context, work: Work) -> None:
    try:
        work.send(ctx)
    except StopIteration:
        ctx.state.reconciliation = None
        if ctx.state.snapshot_wanted:
            request_htlc_snapshot(ctx)


@dataclass
class _Listed:
    """The content of the node's list. soonest: by peer, the first expiry of all HTLCs on its channels, both ways."""

    present: set[HtlcKey] = field(default_factory=set)
    on_the_way: set[bytes] = field(default_factory=set)
    soonest: dict[NodeId, int] = field(default_factory=dict)

    def add(self, htlc: PendingHtlc) -> None:
        self.soonest[htlc.peer] = min(htlc.expiry, self.soonest.get(htlc.peer, htlc.expiry))
        if htlc.incoming:
            self.present.add(htlc.key)
        else:
            self.on_the_way.add(htlc.payment_hash)


def _reconcile(event: HtlcSnapshot) -> Work:
    ctx = yield
    listed = _Listed()
    ctx = yield from _read(ctx, event, listed)
    ctx = yield from _compare(ctx, listed)
    on_behalf.claim_on_chain(ctx)
    for done, clients in enumerate(slices(_clients_to_remind(ctx), ctx.slice_size)):
        if done:
            ctx = yield
        for client in clients:
            notifications.remind_if_waiting(ctx, client, Method.SETTLEMENT_PENDING)
            notifications.remind_if_waiting(ctx, client, Method.EXPIRY_SOON)


def _read(ctx: Context, event: HtlcSnapshot, listed: _Listed) -> Generator[None, Context, Context]:
    for done, pending in enumerate(slices(event.pending, ctx.slice_size)):
        if done:
            ctx = yield
        for htlc in pending:
            listed.add(htlc)
    return ctx


def _compare(ctx: Context, listed: _Listed) -> Generator[None, Context, Context]:
    """Handle HTLCs that the node does not list. Those that change between two slices are in changed_since_snapshot."""
    resolved_ahead: dict[NodeId, set[HtlcKey]] = {}
    for done, keys in enumerate(slices(list(ctx.records.htlcs), ctx.slice_size)):
        if done:
            ctx = yield
        for known in _comparable(ctx, keys):
            if known.key not in listed.present:
                _missing(ctx, known)
            elif _is_resolved_ahead(ctx, known, listed):
                resolved_ahead.setdefault(known.htlc.peer, set()).add(known.key)
    ctx.state.resolved_ahead, ctx.state.soonest_expiry = resolved_ahead, listed.soonest
    return ctx


def _comparable(ctx: Context, keys: Iterable[HtlcKey]) -> Iterator[Htlc]:
    """Yield the HTLCs among these that are still stored, and have not changed since the snapshot was requested."""
    for key in keys:
        known = ctx.records.htlcs.get(key)
        if known is not None and key not in ctx.state.changed_since_snapshot:
            yield known


def _clients_to_remind(ctx: Context) -> list[NodeId]:
    """Return the clients for which a result may wait, whose channel may be needed, or whose HTLCs may expire soon."""
    results = [*ctx.state.resolved_ahead, *ctx.records.peers_with_results()]
    needed = [*ctx.records.clients_with_due_blocks(), *ctx.state.stuck.peers()]
    return list(dict.fromkeys([*needed, *ctx.state.soonest_expiry, *results]))


def rename_htlcs(ctx: Context, links: Iterable[Link]) -> None:
    """Replace channel names in stored HTLCs by channel ids. Earlier releases stored the name, which may change."""
    for link in links:
        for former in map(ChannelId.from_name, link.names):
            if former == link.channel_id or ctx.node.channels.named(ShortChannelId.from_bytes(former, "big")) != link:
                continue
            for known in ctx.records.on_channel(former):
                ctx.drop(known)
                ctx.put(replace(known, htlc=replace(known.htlc, key=HtlcKey(link.channel_id, known.key.htlc_id))))


def _missing(ctx: Context, missing: Htlc) -> None:
    """Handle an HTLC that is on no open channel. If it is on chain with its channel, a preimage still claims it."""
    on_chain = missing.key in ctx.state.intercepted and not conditions.can_be_claimed(ctx, missing.htlc)
    if on_chain and missing.block is not None:
        htlcs.lose_part(ctx, missing, missing.block)
        blocks.send_resolution(ctx, ctx.records.htlcs[missing.key])
    else:
        htlcs.gone(ctx, HtlcGone(missing.key))


def _is_resolved_ahead(ctx: Context, known: Htlc, listed: _Listed) -> bool:
    """Return whether an HTLC has a result that waits for its payer: it has no outgoing HTLC, but is still incoming.

    Usually an event has reported that before, but not if it came while this process was not running.
    """
    return (
        known.resolution is Resolution.RESUME
        and known.htlc.payment_hash not in listed.on_the_way
        and known.key not in ctx.state.intercepted
    )


def _adopt(ctx: Context, each: PendingHtlc) -> None:
    """Record an HTLC that the node forwarded before the LSP's first start, with that resolution."""
    blocked = ctx.records.block_for(each.peer, each.payment_hash) is not None
    if not each.incoming or blocked or each.key in ctx.records.htlcs:
        return
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
