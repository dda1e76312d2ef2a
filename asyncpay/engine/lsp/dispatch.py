"""Which file each event goes to. What is known of the node itself is taken in here."""

from collections.abc import Callable
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.lsp import (
    answers,
    blocks,
    clock,
    holding,
    mailbox,
    on_behalf,
    release,
    requests,
    waking,
    webhooks,
)
from asyncpay.engine.lsp.events import (
    AnswerUndelivered,
    BlockRequested,
    CancelRequested,
    Census,
    DeliveryReported,
    ForceCloseReported,
    LspEvent,
    NotificationReported,
    PaymentReported,
    RefusalSeen,
    ReleaseSeen,
    TermsReported,
    UpdateSent,
    WebhookRemoved,
    WebhookSet,
)
from asyncpay.engine.lsp.records import Method
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import NodeId
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


def handle(turn: Turn, event: LspEvent) -> None:
    """Let the right file deal with the event."""
    _HANDLERS[type(event)](turn, event)


def _attached(turn: Turn, event: Attached) -> None:
    state = turn.state
    state.attached = True
    state.network = event.network
    state.height = event.height
    state.channels.replace(event.links)
    holding.rename(turn)
    state.on_offer.clear()
    state.online.clear()
    state.visits.clear()
    for peer in event.online:
        _connected(turn, PeerConnected(peer))
    holding.take_census(turn)
    on_behalf.track_all(turn)
    webhooks.review(turn)
    clock.run(turn)
    for client in turn.tables.clients():
        _remind_absent(turn, client)


def _detached(turn: Turn, _: Detached) -> None:
    turn.state.attached = False
    turn.state.on_offer.clear()
    turn.state.online.clear()
    turn.state.visits.clear()
    on_behalf.detached(turn)


def _block(turn: Turn, event: BlockConnected) -> None:
    turn.state.height = event.height
    clock.run(turn)
    holding.take_census(turn)
    webhooks.review(turn)


def _connected(turn: Turn, event: PeerConnected) -> None:
    if event.peer in turn.state.online:
        return
    turn.state.online.add(event.peer)
    waking.end(turn, event.peer)
    mailbox.visit(turn, event.peer)


def _disconnected(turn: Turn, event: PeerDisconnected) -> None:
    turn.state.online.discard(event.peer)
    turn.state.visits.pop(event.peer, None)
    if turn.tables.is_client(event.peer):
        _remind_absent(turn, event.peer)
        holding.take_census_in_time(turn)


def _remind_absent(turn: Turn, client: NodeId) -> None:
    """What has just been answered may still be on its channel: whether a result waits, a census will tell."""
    for method in Method:
        if method is not Method.SETTLEMENT_PENDING:
            waking.remind_if_waiting(turn, client, method)


def _census(turn: Turn, event: Census) -> None:
    if holding.census(turn, event):
        on_behalf.claim_on_chain(turn)
        holding.take_wanted_census(turn)
    for client in turn.tables.clients():
        waking.remind_if_waiting(turn, client, Method.SETTLEMENT_PENDING)
        waking.remind_if_waiting(turn, client, Method.EXPIRY_SOON)


def _link_changed(turn: Turn, event: LinkChanged) -> None:
    turn.state.channels.set(event.link)
    if event.link.closing:
        for block in list(turn.tables.blocks_of(event.link.peer)):
            blocks.end_if_over(turn, block.key)
    _channels_changed(turn)


def _link_closed(turn: Turn, event: LinkClosed) -> None:
    turn.state.channels.remove(event.channel_id)
    holding.take_census(turn)
    _channels_changed(turn)


def _channels_changed(turn: Turn) -> None:
    holding.reconsider_waiting(turn)
    release.review_all(turn)
    answers.give_all(turn)


def _onion(turn: Turn, event: OnionInTransit) -> None:
    """What releases a block is used up by that."""
    pid = event.payment_unblock
    if pid is None or not release.seen(turn, ReleaseSeen(pid)):
        mailbox.receive(turn, event)


def _payment_reported(turn: Turn, event: PaymentReported) -> None:
    on_behalf.reported(turn, event)
    release.review_all(turn)


def _release_seen(turn: Turn, event: ReleaseSeen) -> None:
    release.seen(turn, event)


def _clock_read(turn: Turn, _: ClockRead) -> None:
    """It was taken in before anything was due by it."""


def _tick(turn: Turn, _: Tick) -> None:
    """Whatever is due was done before, and is looked for again after."""


_HANDLERS: dict[type[LspEvent], Callable[[Turn, Any], None]] = {
    Attached: _attached,
    Detached: _detached,
    BlockConnected: _block,
    PeerConnected: _connected,
    PeerDisconnected: _disconnected,
    LinkChanged: _link_changed,
    LinkClosed: _link_closed,
    HtlcOffered: holding.offered,
    HtlcSettled: holding.settled,
    HtlcFailed: holding.failed,
    HtlcGone: holding.gone,
    OnionInTransit: _onion,
    Tick: _tick,
    ClockRead: _clock_read,
    Census: _census,
    BlockRequested: requests.block,
    CancelRequested: requests.cancel,
    ReleaseSeen: _release_seen,
    RefusalSeen: release.refused,
    AnswerUndelivered: holding.undelivered,
    TermsReported: on_behalf.terms_reported,
    PaymentReported: _payment_reported,
    ForceCloseReported: on_behalf.force_close_reported,
    DeliveryReported: mailbox.reported,
    UpdateSent: blocks.sent,
    NotificationReported: waking.reported,
    WebhookSet: webhooks.registered,
    WebhookRemoved: webhooks.removed,
}
