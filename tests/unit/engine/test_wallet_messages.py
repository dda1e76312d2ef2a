"""What a wallet makes of the onion messages that end at its node."""

from typing import Any

import pytest

from asyncpay.engine.payee import interface as payee_io
from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.payer.records import PaymentRecords
from asyncpay.engine.wallet import read_message
from asyncpay.node_events import OnionReceived
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    BlockReply,
    BlockState,
    BlockStatus,
    BlockUpdate,
    Message,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
    release_path_id,
)

from .payer.factories import order

PID, OTHER_PID, HASH = b"p" * 32, b"q" * 32, b"h" * 32
NONE = PaymentRecords()
REPLY = BlockReply(unblock_hash=HASH, status=BlockStatus.ACCEPTED)
UPDATE = BlockUpdate(unblock_hash=HASH, state=BlockState.HELD, parts=2)
PENDING = PaymentPending(pid=PID, payment_hashes=(HASH,), amount_msat=5, release_by_height=9, hold_until=7)
ANSWER = ReleaseReply(unblock_hash=HASH, status=ReleaseStatus.RELEASED)


def received(message: Message, path_id: bytes | None = None) -> OnionReceived:
    return OnionReceived(path_id=path_id, async_payment=message.encode())


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (REPLY, payer_io.Replied(REPLY)),
        (UPDATE, payer_io.Updated(UPDATE)),
        (PaymentRelease(pid=PID), payer_io.ReleaseSeen(PID)),
        (PaymentRefused(pid=PID, reason="no"), payer_io.RefusalSeen(PID, "no")),
        (PENDING, payee_io.Announced(PENDING, None, ())),
        (ANSWER, payee_io.ReleaseAnswered(ANSWER)),
    ],
)
def test_each_goes_where_it_belongs(message: Message, event: object) -> None:
    assert read_message(received(message), NONE) == event


def test_a_release_on_the_payer_s_own_path() -> None:
    on_its_path = received(PaymentRelease(pid=PID), release_path_id(PID))
    assert read_message(on_its_path, NONE) == payer_io.ReleaseSeen(PID)


def test_a_release_on_another_payment_s_path_is_dropped() -> None:
    with pytest.raises(WireError, match="differs from the pid of its path"):
        read_message(received(PaymentRelease(pid=PID), release_path_id(HASH)), NONE)


def test_a_release_that_says_nothing_is_known_by_its_path() -> None:
    silent = OnionReceived(path_id=release_path_id(PID))
    other = order(pid=OTHER_PID, payment_hash=b"i" * 32)
    assert read_message(silent, PaymentRecords([other, order(pid=PID)])) == payer_io.ReleaseSeen(PID)
    assert read_message(silent, PaymentRecords([other])) is None
    assert read_message(OnionReceived(), PaymentRecords([order(pid=PID)])) is None


def test_a_payment_that_was_ordered_again_is_not_known_by_its_first_path() -> None:
    payments = PaymentRecords([order(pid=OTHER_PID)])
    payments.put(order(pid=PID))
    assert read_message(OnionReceived(path_id=release_path_id(OTHER_PID)), payments) is None
    assert read_message(OnionReceived(path_id=release_path_id(PID)), payments) == payer_io.ReleaseSeen(PID)


@pytest.mark.parametrize("field", ["amount_msat", "hold_until"])
def test_numbers_that_no_store_takes_are_dropped(field: str) -> None:
    values: dict[str, Any] = {"amount_msat": 5, "hold_until": 7} | {field: 2**63}
    message = PaymentPending(pid=PID, payment_hashes=(HASH,), release_by_height=9, **values)
    with pytest.raises(WireError, match="is out of range"):
        read_message(received(message), NONE)
