"""What an event costs the LSP does not grow with what it holds and remembers. Work is counted, not time.

Attached and HtlcSnapshot bring a list as long as what the node has: the engine goes through it in slices, and what is
counted is a slice. Only what the node must be told again, its channels, is taken in as a whole.
"""

from typing import Any

import pytest

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    Delivery,
    DeliveryReported,
    ForceCloseReported,
    NotificationReported,
    PaymentReported,
    RefusalSeen,
    ReleaseSeen,
    ResolutionUndelivered,
    ResolveHtlc,
    TermsReported,
    UpdateSent,
    WebhookRemoved,
    WebhookSet,
)
from asyncpay.engine.lsp.records import Method
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.node_events import (
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
from asyncpay.wire.messages import BlockState, CancelRequest, unblock_hash
from asyncpay.wire.onion import OnionMessage
from tests.support.held_payments import (
    HEIGHT,
    ROUTER,
    START,
    LoadedLsp,
    attached,
    block,
    client,
    htlc,
    link,
    payment_hash,
    pid,
    preimage,
    router_link,
)

from .factories import lnd, request
from .test_cost_of_events import FEW, MANY, MOST, CountedRecords, counted_lines

TABLES = ("blocks", "htlcs", "attempts", "messages", "delivered", "push_attempts", "webhooks")
NEW = b"n" * 32
REQUEST = request(NEW, payment_hashes=(NEW,), release_by_height=HEIGHT + 400, hold_until=int(START) + 100_000)
MESSAGE = OnionMessage(b"\x02" + bytes(32), bytes(1366))
NOT_PAID = PaymentResult(status=PaymentStatus.FAILED)

EVENTS = [
    Tick(),
    ClockRead(5, 6),
    BlockConnected(HEIGHT + 1),
    PeerConnected(client(1)),
    LinkChanged(link(1, usable=True)),
    LinkChanged(router_link(usable=False)),
    LinkChanged(router_link()),
    PeerDisconnected(client(1)),
    HtlcOffered(htlc(2, htlc_id=7)),
    HtlcOffered(htlc(2)),
    HtlcSettled(htlc(2).key, preimage(2)),
    HtlcFailed(htlc(3, htlc_id=1).key),
    HtlcGone(htlc(3, htlc_id=1).key),
    OnionInTransit(source=ROUTER, message=MESSAGE, next_node_id=client(4), undelivered=True),
    OnionInTransit(source=ROUTER, message=MESSAGE, next_node_id=ROUTER, payment_unblock=pid(5), undelivered=False),
    BlockRequested(
        client(6), request(NEW, payment_hashes=(NEW,), release_by_height=HEIGHT + 400, hold_until=1_700_100_000)
    ),
    CancelRequested(client(7), CancelRequest(unblock_hash=block(7).key, signature=bytes(65))),
    ReleaseSeen(pid(8)),
    RefusalSeen(pid(9)),
    ResolutionUndelivered(htlc(9).key),
    TermsReported(block(8).key, None),
    PaymentReported(payment_hash(8), NOT_PAID, of_order=True),
    ForceCloseReported(link(8).channel_id),
    DeliveryReported(client(10), bytes(32), Delivery.NOT_CONNECTED),
    UpdateSent(unblock_hash(pid(7)), BlockState.FAILED_BACK),
    NotificationReported(client(11), Method.ONION_MESSAGE, False),
    WebhookSet(client(12), "another", "https://push.example/2"),
    WebhookRemoved(client(12), "another"),
    LinkClosed(link(13).channel_id),
    Detached(),
]


def counted(count: int) -> LoadedLsp:
    loaded = LoadedLsp(count, lnd())
    records = loaded.lsp.state.records
    for name in TABLES:
        setattr(records, name, CountedRecords(getattr(records, name)))
    return loaded


def work(loaded: LoadedLsp, event: Any) -> int:
    """The lines of Python that the event runs, and the records that it touches."""
    tables = [getattr(loaded.lsp.state.records, name) for name in TABLES]
    for table in tables:
        table.touched = 0
    with counted_lines() as lines:
        loaded.handle(event)
    touched: int = sum(table.touched for table in tables)
    return lines() + touched


@pytest.fixture(scope="module")
def lsps() -> list[LoadedLsp]:
    return [counted(FEW), counted(MANY)]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_of_an_lsp(lsps: list[LoadedLsp], event: Any) -> None:
    few, many = (work(loaded, event) for loaded in lsps)
    assert many <= MOST * few


def most_lines_of_a_slice(count: int) -> int:
    """After a restart: of the events in which clients are reminded and the node's HTLCs are gone through."""
    loaded = LoadedLsp(count, lnd(), attach=False)
    loaded.handle(attached(count))
    most, events = 0, [loaded.snapshot()]
    while events or loaded.lsp.next_deadline < loaded.now + 0.5:
        event = events.pop() if events else Tick()
        loaded.now = max(loaded.now, loaded.lsp.next_deadline)
        with counted_lines() as lines:
            loaded.handle(event)
        most = max(most, lines())
    assert len(loaded.reminded) == count, "all of them have a message"
    return most


def test_after_a_restart_no_event_is_longer_with_more_to_review() -> None:
    assert most_lines_of_a_slice(5000) <= MOST * most_lines_of_a_slice(1000)


def test_new_events_are_served_before_everything_is_reviewed() -> None:
    loaded = LoadedLsp(2000, lnd(), attach=False)
    loaded.handle(attached(2000))
    assert 0 < len(loaded.lsp.state.records.push_attempts) < 2000
    effects = loaded.lsp.handle(loaded.now, HtlcOffered(htlc(1999, htlc_id=7))).effects
    assert [effect.key for effect in effects if isinstance(effect, ResolveHtlc)] == [htlc(1999, htlc_id=7).key]
