"""The LSP engine: events in, changes and effects out.

Theory of operation
===================

`Lsp.handle(now, event)` is the only way in, and its `Transition` the only way out. The shell around it (see
`asyncpay.engine.driver`)

1. stores all changes of the transition in one transaction,
2. then carries out the effects in their order, and reports what they ask to be reported as new events,
3. and calls `handle(now, Tick())` when `next_deadline` is reached.

If it cannot store a transition it must throw the engine away and start a new one from the store: a failed write is a
crash, and a crash is harmless. What the node said is never stored. After a break, in this process or in the node, it
says it again: `Attached` begins a new stream, held HTLCs are offered anew, an HTLC snapshot tells what is gone, and
payments under way are tracked.

Each file is one subject, and can be read alone:

    requests       what payers and payees ask for         states     the life of a block, as a table
    htlcs          pass, hold, count                      blocks     moving a block, resolving its parts
    release        the pid comes by, or a refusal         records    what is stored; lookups finds it
    on_behalf      pay in the payer's place               state      what is known; the handling of one event
    exposure       what that may cost, and for how long   conditions channels and deadlines: pure questions
    reconcile      compare with the node's HTLCs          events, effects, policy
    mailbox        messages for offline clients
    retransmit     the payer's message, repeated
    notifications  when and how often an offline client is notified; its webhooks
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick, Transition, backoff_seconds
from asyncpay.engine.lsp import (
    blocks,
    conditions,
    htlcs,
    mailbox,
    notifications,
    on_behalf,
    policy,
    reconcile,
    release,
    requests,
    retransmit,
)
from asyncpay.engine.lsp.effects import Effect
from asyncpay.engine.lsp.events import (
    BlockRequested,
    CancelRequested,
    DeliveryReported,
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
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Method, Record
from asyncpay.engine.lsp.state import Context, LspState
from asyncpay.engine.lsp.states import UNDECIDED, State
from asyncpay.lightning import Capabilities, NodeId
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
    """All decisions of one LSP. `records`: what the store holds, messages and memories of them in order.

    ValueError, saying what to set, if the policy cannot work with a node of these capabilities.
    """

    def __init__(self, policy_: LspPolicy, capabilities: Capabilities, records: Iterable[Record] = ()) -> None:
        policy.check(policy_, capabilities)
        self._policy = policy_
        self._capabilities = capabilities
        known = LspRecords.load(records)
        last_number = max((message.number for message in known.messages.values()), default=-1)
        self.state = LspState(known, first_start=known.empty, next_message_number=last_number + 1)
        self.next_deadline = -math.inf

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that the records prove to have passed; None if there are none."""
        return max(_stored_times(self.state.records, self._policy), default=None)

    def handle(self, now: float, event: LspEvent) -> Transition[Record, Effect]:
        """Decide on one event at `now`, and on everything that has become due by then.

        now: seconds; a clock that never goes back. How Unix time differs from it, ClockRead tells.
        """
        ctx = Context(self.state, self._policy, self._capabilities)
        self.state.unix.advance(now, event)
        if now >= self.next_deadline:
            on_tick(ctx)
        if self.state.node.fold(event):
            _HANDLERS[type(event)](ctx, event)
        self.next_deadline = _next_deadline(ctx)
        if now >= self.next_deadline:
            on_tick(ctx)
            self.next_deadline = _next_deadline(ctx)
        return Transition(tuple(ctx.changes), (*ctx.answers, *ctx.effects))


# --- the node ---


def _attached(ctx: Context, event: Attached) -> None:
    state = ctx.state
    reconcile.rename_htlcs(ctx)
    state.intercepted.clear()
    state.sessions.clear()
    for peer in event.online:
        _connected(ctx, PeerConnected(peer))
    reconcile.request_htlc_snapshot(ctx)
    on_behalf.track_all(ctx)
    notifications.review_webhooks(ctx)
    on_tick(ctx)
    for client in ctx.records.clients():
        _remind_absent(ctx, client)


def _detached(ctx: Context, _: Detached) -> None:
    ctx.state.intercepted.clear()
    ctx.state.sessions.clear()
    on_behalf.detached(ctx)


def _block_connected(ctx: Context, _: BlockConnected) -> None:
    on_tick(ctx)
    reconcile.request_htlc_snapshot(ctx)
    notifications.review_webhooks(ctx)


def _connected(ctx: Context, event: PeerConnected) -> None:
    notifications.end(ctx, event.peer)
    mailbox.begin_session(ctx, event.peer)


def _disconnected(ctx: Context, event: PeerDisconnected) -> None:
    ctx.state.sessions.pop(event.peer, None)
    if ctx.records.is_client(event.peer):
        _remind_absent(ctx, event.peer)
        reconcile.request_htlc_snapshot_later(ctx)


def _remind_absent(ctx: Context, client: NodeId) -> None:
    """What has just been answered may still be on its channel: whether a result waits, an HTLC snapshot tells."""
    for method in Method:
        if method is not Method.SETTLEMENT_PENDING:
            notifications.remind_if_waiting(ctx, client, method)


def _htlc_snapshot(ctx: Context, event: HtlcSnapshot) -> None:
    if reconcile.reconcile(ctx, event):
        on_behalf.claim_on_chain(ctx)
        reconcile.request_wanted_snapshot(ctx)
    for client in ctx.records.clients():
        notifications.remind_if_waiting(ctx, client, Method.SETTLEMENT_PENDING)
        notifications.remind_if_waiting(ctx, client, Method.EXPIRY_SOON)


def _link_changed(ctx: Context, event: LinkChanged) -> None:
    if event.link.closing:
        for block in list(ctx.records.blocks_of(event.link.peer)):
            blocks.end_if_over(ctx, block.key)
    _channels_changed(ctx)


def _link_closed(ctx: Context, _: LinkClosed) -> None:
    reconcile.request_htlc_snapshot(ctx)
    _channels_changed(ctx)


def _channels_changed(ctx: Context) -> None:
    htlcs.reconsider_waiting(ctx)
    release.review_all(ctx)
    blocks.send_resolutions(ctx)


def _onion_in_transit(ctx: Context, event: OnionInTransit) -> None:
    """A message that releases a block is consumed by the release."""
    pid = event.payment_unblock
    if pid is None or not release.release_seen(ctx, ReleaseSeen(pid)):
        mailbox.receive(ctx, event)


def _payment_reported(ctx: Context, event: PaymentReported) -> None:
    on_behalf.reported(ctx, event)
    release.review_all(ctx)


def _release_seen(ctx: Context, event: ReleaseSeen) -> None:
    release.release_seen(ctx, event)


def _clock_read(ctx: Context, _: ClockRead) -> None:
    """Nothing else: it was taken in before anything was due by it."""


def _tick(ctx: Context, _: Tick) -> None:
    """Nothing else: what is due is done before and after every event."""


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
    HtlcSnapshot: _htlc_snapshot,
    BlockRequested: requests.block_requested,
    CancelRequested: requests.cancel_requested,
    ReleaseSeen: _release_seen,
    RefusalSeen: release.refusal_seen,
    ResolutionUndelivered: htlcs.undelivered,
    TermsReported: on_behalf.terms_reported,
    PaymentReported: _payment_reported,
    ForceCloseReported: on_behalf.force_close_reported,
    DeliveryReported: mailbox.delivery_reported,
    UpdateSent: blocks.update_sent,
    NotificationReported: notifications.reported,
    WebhookSet: notifications.webhook_set,
    WebhookRemoved: notifications.webhook_removed,
}


# --- time ---


def on_tick(ctx: Context) -> None:
    """Do everything that is due at this time and height."""
    for block in list(ctx.records.blocks.values()):
        if block.state in UNDECIDED:
            blocks.end_if_over(ctx, block.key)
        elif block.state is not State.PAYING and conditions.forgettable(ctx, block):
            _forget(ctx, block.key)
    htlcs.reconsider_waiting(ctx)
    blocks.send_resolutions(ctx)
    on_behalf.run(ctx)
    retransmit.run(ctx)
    mailbox.run(ctx)
    notifications.run(ctx)


def _next_deadline(ctx: Context) -> float:
    """When something is due, if nothing happens before; infinity for never."""
    return min(
        on_behalf.next_at(ctx),
        retransmit.next_at(ctx),
        mailbox.next_at(ctx),
        notifications.next_at(ctx),
        *(conditions.next_of_block(ctx, block) for block in ctx.records.blocks.values()),
        *(conditions.wait_ends(ctx, waiting) for waiting in ctx.records.waiting()),
    )


def _forget(ctx: Context, unblock_hash: bytes) -> None:
    """Delete an expired tombstone."""
    block = ctx.records.blocks[unblock_hash]
    for part in ctx.records.parts(block):
        ctx.drop(part)
        ctx.state.forget_htlc(part.key)
    on_behalf.forget(ctx, block)
    ctx.drop(block)


def _stored_times(records: LspRecords, policy: LspPolicy) -> Iterator[float]:
    """When something happened; of what is due again, the earliest time at which that can have been decided."""
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
