"""The LSP engine: events in, changes and effects out.

Theory of operation
===================

`Lsp.handle(now, event)` is the only input, and its `Transition` the only output. The shell (see `drive` in
asyncpay.engine.core)

1. stores all changes of the transition in one transaction,
2. then performs the effects in order, and reports their results as new events where an effect requires it,
3. and calls `handle(now, Tick())` when `next_deadline` is reached.

If it cannot store a transition it must discard the engine and start a new one from the store: a failed write is
equivalent to a crash, and a crash is harmless. Reports of the node are never stored. After an interruption, of this
process or of the node, the node repeats them: `Attached` begins a new stream, held HTLCs are offered again, an HTLC
snapshot shows which HTLCs are gone, and payments under way are tracked.

Each file is one subject, and can be read alone:

    requests       requests of payers and payees          states     the life of a block, as a table
    htlcs          pass, hold and count HTLCs             blocks     moving a block, resolving its parts
    release        the pid is seen, or a refusal          records    the stored records; lookups indexes them
    on_behalf      pay in place of the payer              state      the state; the handling of one event
    exposure       limits of cost and time for that       conditions channels and deadlines
    reconcile      compare with the node's HTLCs          interface  events and effects
    mailbox        messages for offline clients
    sessions       messages to a connected client, and their pace
    retransmit     the payer's message to the payee, repeated
    notifications  when and how often an offline client is notified; its webhooks
    archiving      finished blocks that only the store has  archive  the summary of them in memory
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick, Transition, backoff_seconds
from asyncpay.engine.lsp import (
    archiving,
    blocks,
    htlcs,
    mailbox,
    notifications,
    on_behalf,
    reconcile,
    release,
    requests,
    retransmit,
    sessions,
)
from asyncpay.engine.lsp.archive import NOTHING, Found, Lookup, NamedBy, Summary, Unreadable
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    CourierSent,
    DeliveryReported,
    Effect,
    ForceCloseReported,
    HtlcSnapshot,
    LspEvent,
    NotificationReported,
    PaymentReported,
    RefusalSeen,
    ReleaseSeen,
    ResolutionUndelivered,
    TermsReported,
    UpdateSent,
    WebhookRemoved,
    WebhookSet,
)
from asyncpay.engine.lsp.lookups import LspRecords
from asyncpay.engine.lsp.records import Method, Record
from asyncpay.engine.lsp.schedule import PAUSE_SECONDS, SLICE, Schedule
from asyncpay.engine.lsp.state import Context, LspState
from asyncpay.engine.lsp.states import UNDECIDED
from asyncpay.engine.policy import LspPolicy, check_policy
from asyncpay.lightning import Capabilities, Link, NodeId
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    OnionInTransit,
    PeerConnected,
    PeerDisconnected,
)


class Lsp:
    """All decisions of one LSP.

    records: the content of the store, with stored and delivered messages in order, except archived blocks. archived:
        a summary of these.

    slice_size: the most items of one kind that one event processes, when many are due together.

    ValueError, with the values to set, if the policy cannot work with a node of these capabilities.
    """

    def __init__(
        self,
        policy: LspPolicy,
        capabilities: Capabilities,
        records: Iterable[Record] = (),
        archived: Summary = NOTHING,
    ) -> None:
        check_policy(policy, capabilities)
        self._policy = policy
        self._capabilities = capabilities
        known = LspRecords.load(records, archived)
        last_number = max((message.number for message in known.messages.values()), default=-1)
        schedule = Schedule(policy, known)
        self.state = LspState(known, schedule, first_start=known.empty, next_message_number=last_number + 1)
        self.next_deadline = -math.inf
        self.slice_size = SLICE

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that the records prove to have passed; None if there are none."""
        archived = self.state.records.archive.latest_at
        times = chain(_stored_times(self.state.records, self._policy), () if archived is None else (archived,))
        return max(times, default=None)

    def wanted(self, now: float, event: LspEvent) -> Lookup | None:
        """Return a look-up of the archived blocks that the decision on this event may need. See archiving.py."""
        return archiving.wanted(self.state, now, event, self.slice_size, ticks=now >= self.next_deadline)

    def recall(self, found: Found) -> None:
        """Add the archived blocks that the look-up found."""
        archiving.recall(self.state, found)

    def committed(self) -> None:
        """Remove archived blocks from memory, now that all decisions are stored."""
        archiving.committed(self.state)

    def handle(self, now: float, event: LspEvent) -> Transition[Record, Effect]:
        """Handle one event at `now`, and everything that has become due by then.

        now: seconds, on a clock that never goes back. ClockRead gives the difference to Unix time.
        """
        ctx = Context(self.state, self._policy, self._capabilities, self.slice_size)
        self.state.unix.advance(now, event)
        if now >= self.next_deadline:
            on_tick(ctx)
        ctx.former_link = _former_link(ctx, event)
        unreadable = archiving.unreadable(ctx)
        if self.state.node.fold(event):
            handler = _HANDLERS[type(event)] if not unreadable else partial(_refused, unreadable=unreadable)
            handler(ctx, event)
        self.next_deadline = _next_deadline(ctx)
        if now >= self.next_deadline:
            on_tick(ctx)
            self.next_deadline = _next_deadline(ctx)
        archiving.run(ctx)
        return ctx.transition()


def _refused(ctx: Context, event: LspEvent, unreadable: Sequence[Unreadable]) -> None:
    """Handle an event that concerns archived blocks that cannot be read, so that nothing is decided against them.

    Other events are not answered: a release, a cancel, or an HTLC that may have been forwarded.
    """
    match event:
        case BlockRequested():
            requests.refuse_unreadable(ctx, event)
        case HtlcOffered() if all(each.named_by is NamedBy.MESSAGE for each in unreadable):
            htlcs.fail_late_part(ctx, event)


def _former_link(ctx: Context, event: LspEvent) -> Link | None:
    match event:
        case LinkChanged(link):
            return ctx.node.channels.get(link.channel_id)
        case LinkClosed(channel_id):
            return ctx.node.channels.get(channel_id)
    return None


# --- the node ---


def _attached(ctx: Context, event: Attached) -> None:
    reconcile.rename_htlcs(ctx, event.links)
    ctx.state.new_stream()
    for peer in event.online:
        _connected(ctx, PeerConnected(peer))
    reconcile.request_htlc_snapshot(ctx)
    on_behalf.track_all(ctx)
    notifications.review_webhooks(ctx)
    for link in event.links:
        if link.closing:
            _end_blocks(ctx, link.peer)
    on_tick(ctx)
    notifications.review_absent(ctx)


def _detached(ctx: Context, _: Detached) -> None:
    ctx.state.new_stream()
    on_behalf.detached(ctx)


def _block_connected(ctx: Context, _: BlockConnected) -> None:
    on_tick(ctx)
    reconcile.request_htlc_snapshot(ctx)
    notifications.review_webhooks(ctx)


def _connected(ctx: Context, event: PeerConnected) -> None:
    notifications.end(ctx, event.peer)
    sessions.begin(ctx, event.peer)


def _disconnected(ctx: Context, event: PeerDisconnected) -> None:
    sessions.end(ctx, event.peer)
    if ctx.records.is_client(event.peer):
        for method in (Method.ONION_MESSAGE, Method.PAYMENT_INCOMING, Method.EXPIRY_SOON):
            notifications.remind_if_waiting(ctx, event.peer, method)
        reconcile.client_disconnected(ctx, event.peer)


def _link_changed(ctx: Context, event: LinkChanged) -> None:
    notifications.channel_is_back(ctx, event.link.peer)
    if event.link.closing:
        _end_blocks(ctx, event.link.peer)
    _channels_changed(ctx, event.link.peer)


def _link_closed(ctx: Context, _: LinkClosed) -> None:
    reconcile.request_htlc_snapshot(ctx)
    if ctx.former_link is not None:
        _channels_changed(ctx, ctx.former_link.peer)


def _end_blocks(ctx: Context, client: NodeId) -> None:
    """End the blocks with parts on a channel of the client that is about to be closed."""
    for block in list(ctx.records.blocks_of(client)):
        if block.state in UNDECIDED:
            blocks.end_if_over(ctx, block.key)


def _channels_changed(ctx: Context, peer: NodeId) -> None:
    """Process again all HTLCs that wait for channels of this peer, incoming or outgoing."""
    targets = ctx.targets(peer)
    outgoing = ctx.records.outgoing(targets)
    waiting = {htlc.key: htlc for htlc in [*ctx.records.waiting_from(peer), *outgoing] if htlc.block is None}
    htlcs.reconsider_waiting(ctx, sorted(waiting, key=lambda key: waiting[key].offered_at))
    due = [part.block for part in outgoing if part.block is not None]
    release.review_due(ctx, [*(block.key for block in ctx.records.due_of(peer)), *due])
    blocks.send_stuck(ctx, ctx.state.stuck.that_need(targets))


def _onion_in_transit(ctx: Context, event: OnionInTransit) -> None:
    """Handle an onion message in transit. A message that releases a block is consumed by the release."""
    pid = event.payment_unblock
    if pid is None or not release.release_seen(ctx, ReleaseSeen(pid)):
        mailbox.receive(ctx, event)


def _payment_reported(ctx: Context, event: PaymentReported) -> None:
    attempt = ctx.records.attempts.get(event.payment_hash)
    on_behalf.reported(ctx, event)
    if attempt is not None:
        release.review_due(ctx, [attempt.block, *on_behalf.next_for_slot(ctx)])


def _release_seen(ctx: Context, event: ReleaseSeen) -> None:
    release.release_seen(ctx, event)


def _clock_read(ctx: Context, _: ClockRead) -> None:
    """Do nothing more: the reading took effect before deadlines were checked."""


def _tick(ctx: Context, _: Tick) -> None:
    """Do nothing more: due work is done before and after every event."""


_HANDLERS: dict[type[LspEvent], Callable[[Context, Any], None]] = {
    Attached: _attached,
    Detached: _detached,
    BlockConnected: _block_connected,
    PeerConnected: _connected,
    PeerDisconnected: _disconnected,
    LinkChanged: _link_changed,
    LinkClosed: _link_closed,
    HtlcOffered: htlcs.intercepted,
    HtlcSettled: htlcs.settled,
    HtlcFailed: htlcs.failed,
    HtlcGone: htlcs.gone,
    OnionInTransit: _onion_in_transit,
    Tick: _tick,
    ClockRead: _clock_read,
    HtlcSnapshot: reconcile.reconcile,
    BlockRequested: requests.block_requested,
    CancelRequested: requests.cancel_requested,
    ReleaseSeen: _release_seen,
    RefusalSeen: release.refusal_seen,
    ResolutionUndelivered: htlcs.undelivered,
    TermsReported: on_behalf.terms_reported,
    PaymentReported: _payment_reported,
    ForceCloseReported: on_behalf.force_close_reported,
    DeliveryReported: mailbox.delivery_reported,
    CourierSent: retransmit.sent,
    UpdateSent: blocks.update_sent,
    NotificationReported: notifications.reported,
    WebhookSet: notifications.webhook_set,
    WebhookRemoved: notifications.webhook_removed,
}


# --- time ---


def on_tick(ctx: Context) -> None:
    """Do the work that is due at this time and height; if it is much, a slice of it, the most urgent first."""
    _end_blocks_that_are_over(ctx)
    _forget_tombstones(ctx)
    _end_waits(ctx)
    stuck = ctx.state.stuck.due(ctx.node.height, ctx.state.unix.last_past_second, ctx.slice_size)
    blocks.send_stuck(ctx, stuck)
    on_behalf.run(ctx)
    retransmit.run(ctx)
    sessions.run(ctx)
    mailbox.run(ctx)
    notifications.run(ctx)
    notifications.go_on(ctx)
    reconcile.run(ctx)


def _end_blocks_that_are_over(ctx: Context) -> None:
    schedule, height = ctx.state.schedule, ctx.node.height
    over = [] if height is None else ctx.due(schedule.by_height, height)
    over += ctx.due(schedule.by_hold_until, ctx.state.unix.last_past_second)
    over += ctx.due(schedule.complete_by, ctx.now)
    for unblock_hash in dict.fromkeys(over):
        blocks.end_if_over(ctx, unblock_hash)


def _forget_tombstones(ctx: Context) -> None:
    schedule, height = ctx.state.schedule, ctx.node.height
    if height is None:
        return
    over = ctx.due(schedule.forget_after, ctx.state.unix.last_past_second) + ctx.due(schedule.forget_at_height, height)
    for unblock_hash in dict.fromkeys(over):
        blocks.forget_if_over(ctx, unblock_hash)


def _end_waits(ctx: Context) -> None:
    schedule, height = ctx.state.schedule, ctx.node.height
    over = ctx.due(schedule.wait_ends, ctx.now)
    if height is not None:
        over += ctx.due(schedule.wait_height, height)
    htlcs.reconsider_waiting(ctx, dict.fromkeys(over))


def _next_deadline(ctx: Context) -> float:
    """Return the time at which something is due, if no event comes before; infinity for never."""
    state, schedule = ctx.state, ctx.state.schedule
    if ctx.backlog or state.review is not None or state.reconciliation is not None:
        return ctx.now + PAUSE_SECONDS
    return min(
        on_behalf.next_at(ctx),
        retransmit.next_at(ctx),
        mailbox.next_at(ctx),
        state.session_at.first,
        notifications.next_at(ctx),
        state.snapshot_at,
        schedule.complete_by.first,
        schedule.wait_ends.first,
        state.unix.past_at(min(schedule.by_hold_until.first, state.stuck.first_hold_until)),
    )


def _stored_times(records: LspRecords, policy: LspPolicy) -> Iterator[float]:
    """Yield the times of recorded events; for a repetition that is due, the earliest time of its decision."""
    for htlc in records.htlcs.values():
        yield htlc.offered_at
    for block in records.blocks.values():
        if block.first_part_at is not None:
            yield block.first_part_at
        if block.courier_next_at is not None:
            first, most = policy.courier_first_seconds, policy.courier_most_seconds
            yield block.courier_next_at - backoff_seconds(first, most, block.courier_sent)
    for message in records.messages.values():
        yield message.arrived_at
    for delivered in records.delivered.values():
        yield max(delivered.delivered_at, delivered.pushed_at)
    for webhook in records.webhooks.values():
        yield webhook.used_at
    for attempt in records.push_attempts.values():
        if attempt.last_at is not None:
            yield attempt.last_at
