"""What an event costs a wallet does not grow with what the wallet remembers. Work is counted, not time.

Counted are the lines of Python that an event runs and the records that it touches. Two events are left out, because
what they cause is itself a message or a question for each payment under way: Attached, and the LSP's PeerConnected.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from asyncpay.engine.core import ClockRead, Tick
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import Announced, InvoicesSeen, ReleaseAnswered, ReleaseHeldBack
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.states import State as ClaimState
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import (
    CancelOrdered,
    Ordered,
    PaymentReported,
    PaymentSeen,
    PendingSent,
    RefusalSeen,
    ReleaseSeen,
    Replied,
    Updated,
)
from asyncpay.engine.payer.states import State as PaymentState
from asyncpay.engine.policy import PayeePolicy, PayerPolicy
from asyncpay.engine.wallet import read_message
from asyncpay.lightning import OwnInvoice, PaymentResult, PaymentStatus
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    InvoicePaid,
    LinkChanged,
    LinkClosed,
    OnionReceived,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.wire.messages import (
    BlockReply,
    BlockState,
    BlockStatus,
    BlockUpdate,
    ReleaseReply,
    ReleaseStatus,
    unblock_hash,
)

from .factories import link
from .payee.harness import SECRETS, pending
from .payer.factories import CHANNEL, HEIGHT, LSP, OTHER_LSP, PATH, PAYER, START, order

FEW, MANY = 100, 10_000
MOST = 1.5
"""How much more work an event may be for a wallet that remembers a hundred times as much: the logarithm."""


class CountedRecords(dict[bytes, Any]):
    """Records that count how often one of them is touched."""

    touched = 0

    def __getitem__(self, key: bytes) -> Any:
        self.touched += 1
        return super().__getitem__(key)

    def get(self, key: bytes, default: Any = None) -> Any:
        self.touched += 1
        return super().get(key, default)

    def __iter__(self) -> Iterator[bytes]:
        self.touched += len(self)
        return super().__iter__()

    def values(self) -> Any:
        self.touched += len(self)
        return super().values()

    def items(self) -> Any:
        self.touched += len(self)
        return super().items()


@contextmanager
def counted_lines() -> Iterator[Callable[[], int]]:
    """Count the lines of Python that run meanwhile."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: lines
    finally:
        sys.settrace(before)


def work(engine: Any, records: CountedRecords, now: float, event: Any) -> int:
    """What the event costs this engine."""
    records.touched = 0
    with counted_lines() as lines:
        engine.handle(now, event)
    return lines() + records.touched


def key(kind: int, number: int) -> bytes:
    return bytes([kind]) + number.to_bytes(31, "big")


def attached() -> Attached:
    links, online = (link(CHANNEL, LSP),), frozenset({LSP})
    return Attached(node_id=PAYER, network="regtest", height=HEIGHT, links=links, online=online)


def payer(count: int) -> tuple[Payer, CountedRecords]:
    """`count` payments that wait for their payees, as many that the node pays, and as many that are over."""
    states = (PaymentState.HANDED_OVER, PaymentState.PAYING, PaymentState.SETTLED)
    template = order(release_by_height=HEIGHT + 1000)
    payments = [
        replace(
            template,
            payment_hash=key(kind, number),
            pid=key(kind + 100, number),
            state=state,
            told=BlockState.HELD,
            told_parts=1,
            hold_until=int(START) + 100_000 + number,
            request_next_at=START + 100 + number,
            begun=True,
        )
        for kind, state in enumerate(states)
        for number in range(count)
    ]
    engine = Payer(PayerPolicy(), payments)
    engine.handle(START, attached())
    records = CountedRecords(engine.state.payments._by_hash)
    engine.state.payments._by_hash = records
    return engine, records


NOT_PAID = PaymentResult(status=PaymentStatus.FAILED)
HELD, PAYING, SETTLED, NEW = 0, 1, 2, 3
PAYER_EVENTS = [
    Tick(),
    ClockRead(5, 6),
    BlockConnected(HEIGHT + 1),
    PeerConnected(OTHER_LSP),
    PeerDisconnected(OTHER_LSP),
    LinkChanged(link(CHANNEL, LSP)),
    LinkClosed(link(CHANNEL, LSP).channel_id),
    Ordered(order(payment_hash=key(NEW, 0), pid=key(NEW + 100, 0))),
    CancelOrdered(key(HELD, 7)),
    Replied(BlockReply(unblock_hash=unblock_hash(key(PAYING + 100, 7)), status=BlockStatus.ACCEPTED)),
    Updated(BlockUpdate(unblock_hash=unblock_hash(key(HELD + 100, 7)), state=BlockState.SETTLED, parts=1)),
    ReleaseSeen(key(HELD + 100, 7), PATH),
    RefusalSeen(key(HELD + 100, 7)),
    PaymentReported(key(HELD, 7), NOT_PAID),
    PaymentSeen(key(PAYING, 7), PaymentResult(status=PaymentStatus.IN_FLIGHT, parts_in_flight=1, in_flight_msat=1000)),
    PendingSent(key(HELD, 7)),
]


@pytest.fixture(scope="module")
def payers() -> list[tuple[Payer, CountedRecords]]:
    return [payer(FEW), payer(MANY)]


@pytest.mark.parametrize("event", PAYER_EVENTS, ids=lambda event: type(event).__name__)
def test_of_a_payer(payers: list[tuple[Payer, CountedRecords]], event: Any) -> None:
    few, many = (work(engine, records, START + 1, event) for engine, records in payers)
    assert many <= MOST * few


def test_of_a_message_that_may_be_a_release(payers: list[tuple[Payer, CountedRecords]]) -> None:
    """Anyone can send it: a message without content, along a path of which only its maker knows the path_id."""
    costs = []
    for engine, records in payers:
        records.touched = 0
        with counted_lines() as lines:
            assert read_message(OnionReceived(path_id=bytes(32)), engine.state.payments) is None
        costs.append(lines() + records.touched)
    assert costs[0] == costs[1]


def payee(count: int) -> tuple[Payee, CountedRecords]:
    """`count` claims that are being released, as many that have rested, and as many that are over."""
    claims = [
        Claim(
            pid=key(kind + 100, number),
            payment_hashes=(key(kind, number),),
            amount_msat=1000,
            release_by_height=HEIGHT + 1000,
            hold_until=int(START) + 100_000 + number,
            release_path=PATH.encode(),
            announced_at=START + number / 1000,
            state=state,
            tries=3,
            next_at=next_at,
        )
        for kind, (state, next_at) in enumerate(
            [(ClaimState.RELEASING, START + 50), (ClaimState.RELEASING, None), (ClaimState.TOO_LATE, None)]
        )
        for number in range(count)
    ]
    engine = Payee(PayeePolicy(max_remembered=10 * MANY, release_seconds=1000), claims)
    engine.handle(START, attached())
    records = CountedRecords(engine.state.claims._by_pid)
    engine.state.claims._by_pid = records
    return engine, records


def own(payment_hash: bytes, *, paid: bool = False) -> OwnInvoice:
    return OwnInvoice(
        payment_hash=payment_hash,
        amount_msat=1000,
        expires_at=int(START) + 100_000,
        payable=not paid,
        paid=paid,
        payment_secret=next(iter(SECRETS.values())),
    )


RELEASING, RESTING, TOO_LATE = 0, 1, 2
NEW_HASH = next(iter(SECRETS))
PAYEE_EVENTS = [
    Tick(),
    BlockConnected(HEIGHT + 1),
    LinkChanged(link(CHANNEL, LSP)),
    Announced(pending(key(NEW + 100, 0), payment_hashes=(NEW_HASH,)), PATH, (own(NEW_HASH),)),
    Announced(pending(key(NEW + 100, 1), payment_hashes=(NEW_HASH,)), PATH, (own(NEW_HASH, paid=True),)),
    ReleaseHeldBack(key(RELEASING + 100, 6)),
    BlockConnected(HEIGHT + 2),
    ReleaseAnswered(
        ReleaseReply(unblock_hash=unblock_hash(key(RELEASING + 100, 7)), status=ReleaseStatus.TOO_LATE),
    ),
    InvoicePaid(key(RELEASING, 8), 1000),
    InvoicesSeen(key(RESTING + 100, 8), (own(key(RESTING, 8), paid=True),)),
    LinkClosed(link(CHANNEL, LSP).channel_id),
]


@pytest.fixture(scope="module")
def payees() -> list[tuple[Payee, CountedRecords]]:
    return [payee(FEW), payee(MANY)]


@pytest.mark.parametrize("event", PAYEE_EVENTS, ids=lambda event: type(event).__name__)
def test_of_a_payee(payees: list[tuple[Payee, CountedRecords]], event: Any) -> None:
    few, many = (work(engine, records, START + 1, event) for engine, records in payees)
    assert many <= MOST * few
