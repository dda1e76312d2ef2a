"""Which file each event goes to. What is known of the node itself is taken in here."""

from collections.abc import Callable
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.payer import asking, calling_off, handing_over, paying, releasing, updates
from asyncpay.engine.payer.events import (
    CancelOrdered,
    Ordered,
    PayerEvent,
    PaymentReported,
    PaymentSeen,
    PendingSent,
    RefusalSeen,
    ReleaseSeen,
    Replied,
    Updated,
)
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.turn import Turn
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    LinkChanged,
    LinkClosed,
    PeerConnected,
    PeerDisconnected,
)


def handle(turn: Turn, event: PayerEvent) -> None:
    """Let the right file deal with the event."""
    _HANDLERS[type(event)](turn, event)


def _attached(turn: Turn, event: Attached) -> None:
    state = turn.state
    state.attached = True
    state.height = event.height
    state.channels.replace(event.links)
    state.online = set(event.online)
    paying.ask_all(turn)
    for payment in turn.payments.live():
        _begin_afresh(turn, payment)


def _detached(turn: Turn, _: Detached) -> None:
    turn.state.attached = False
    turn.state.online.clear()


def _block(turn: Turn, event: BlockConnected) -> None:
    turn.state.height = event.height


def _connected(turn: Turn, event: PeerConnected) -> None:
    if event.peer in turn.state.online:
        return
    turn.state.online.add(event.peer)
    for payment in turn.payments.live():
        if payment.lsp == event.peer:
            _begin_afresh(turn, payment)


def _disconnected(turn: Turn, event: PeerDisconnected) -> None:
    turn.state.online.discard(event.peer)


def _begin_afresh(turn: Turn, payment: OutgoingPayment) -> None:
    """All that waits for an answer of the LSP is due at once."""
    asking.ask_afresh(turn, payment)
    handing_over.send_afresh(turn, payment)
    calling_off.ask_afresh(turn, turn.payments[payment.key])


def _link_changed(turn: Turn, event: LinkChanged) -> None:
    turn.state.channels.set(event.link)


def _link_closed(turn: Turn, event: LinkClosed) -> None:
    turn.state.channels.remove(event.channel_id)


def _clock_read(turn: Turn, _: ClockRead) -> None:
    """It was taken in before anything was due by it."""


def _tick(turn: Turn, _: Tick) -> None:
    """Whatever is due is done after every event."""


_HANDLERS: dict[type[PayerEvent], Callable[[Turn, Any], None]] = {
    Attached: _attached,
    Detached: _detached,
    BlockConnected: _block,
    PeerConnected: _connected,
    PeerDisconnected: _disconnected,
    LinkChanged: _link_changed,
    LinkClosed: _link_closed,
    Tick: _tick,
    ClockRead: _clock_read,
    Ordered: asking.ordered,
    Replied: asking.replied,
    Updated: updates.updated,
    PaymentReported: paying.reported,
    PaymentSeen: handing_over.seen,
    PendingSent: handing_over.pending_sent,
    CancelOrdered: calling_off.ordered,
    RefusalSeen: calling_off.refused,
    ReleaseSeen: releasing.seen,
}
