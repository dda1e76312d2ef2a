"""Which file each event goes to. What is known of the node itself is taken in here."""

from collections.abc import Callable
from typing import Any

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.payee import announcing, arriving, releasing
from asyncpay.engine.payee.events import Announced, InvoicesSeen, PayeeEvent, ReleaseAnswered, ReleaseHeldBack
from asyncpay.engine.payee.turn import Turn
from asyncpay.node_events import Attached, BlockConnected, InvoicePaid, LinkChanged, LinkClosed


def handle(turn: Turn, event: PayeeEvent) -> None:
    """Let the right file deal with the event."""
    _HANDLERS[type(event)](turn, event)


def _attached(turn: Turn, event: Attached) -> None:
    turn.state.attached = True
    turn.state.height = event.height
    turn.state.channels.replace(event.links)
    arriving.look_and_release(turn)


def _detached(turn: Turn, _: Detached) -> None:
    turn.state.attached = False


def _block(turn: Turn, event: BlockConnected) -> None:
    turn.state.height = event.height
    releasing.try_held_back(turn)


def _link_changed(turn: Turn, event: LinkChanged) -> None:
    turn.state.channels.set(event.link)


def _link_closed(turn: Turn, event: LinkClosed) -> None:
    turn.state.channels.remove(event.channel_id)


def _clock_read(turn: Turn, _: ClockRead) -> None:
    """It was taken in before anything was due by it."""


def _tick(turn: Turn, _: Tick) -> None:
    """Whatever is due is done before and after every event."""


_HANDLERS: dict[type[PayeeEvent], Callable[[Turn, Any], None]] = {
    Attached: _attached,
    Detached: _detached,
    BlockConnected: _block,
    LinkChanged: _link_changed,
    LinkClosed: _link_closed,
    Tick: _tick,
    ClockRead: _clock_read,
    InvoicePaid: arriving.invoice_paid,
    Announced: announcing.announced,
    InvoicesSeen: arriving.invoices_seen,
    ReleaseAnswered: releasing.answered,
    ReleaseHeldBack: releasing.held_back,
}
