"""From an onion message's content to an event, or to nothing."""

from dataclasses import replace
from typing import TypeVar

import pytest

from asyncpay.engine.lsp.interface import BlockRequested, CancelRequested, RefusalSeen, ReleaseSeen
from asyncpay.engine.lsp.requests import parse_onion
from asyncpay.node_events import OnionReceived
from asyncpay.wire.blinding import BlindedHop, BlindedPath
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    BlockRequest,
    BlockState,
    BlockUpdate,
    CancelRequest,
    PaymentRefused,
    PaymentRelease,
    release_path_id,
)
from tests.support.keys import key_of, node_id, signmessage

from .factories import PID, B, request

LSP = node_id("LSP")
PAYER = key_of("payer")
PATH = BlindedPath(B, B, (BlindedHop(B, b""),))
OTHER = b"o" * 32
Signed = TypeVar("Signed", BlockRequest, CancelRequest)


def signed(message: Signed, lsp: bytes = LSP) -> Signed:
    return replace(message, signature=signmessage(message.signed_text(lsp), PAYER))


def received(message: object = None, **changes: object) -> OnionReceived:
    data = None if message is None else message.encode()  # type: ignore[attr-defined]
    return OnionReceived(async_payment=data, **changes)  # type: ignore[arg-type]


def test_requests_come_from_whoever_signed_them() -> None:
    payer = PAYER.public_key.format()
    block = signed(request())
    cancel = signed(CancelRequest(unblock_hash=OTHER, signature=bytes(65)))
    assert parse_onion(received(block), LSP) == BlockRequested(payer, block)
    assert parse_onion(received(cancel), LSP) == CancelRequested(payer, cancel)


def test_a_request_to_another_lsp_is_not_the_payers() -> None:
    found = parse_onion(received(signed(request(), lsp=node_id("another"))), LSP)
    assert isinstance(found, BlockRequested)
    assert found.client != PAYER.public_key.format()


def test_an_unreadable_signature_drops_the_message() -> None:
    with pytest.raises(WireError):
        parse_onion(received(request()), LSP)


@pytest.mark.parametrize(
    "onion",
    [
        received(PaymentRelease(pid=PID)),
        received(PaymentRelease(pid=PID), path_id=PID, payment_unblock=PID),
        received(PaymentRelease(pid=PID), path_id=b"a cookie of the sender's own"),
        received(path_id=PID),
        received(payment_unblock=PID),
        received(path_id=PID, payment_unblock=PID),
    ],
)
def test_every_form_of_the_release(onion: OnionReceived) -> None:
    assert parse_onion(onion, LSP) == ReleaseSeen(PID)


@pytest.mark.parametrize(
    "onion",
    [
        received(PaymentRelease(pid=PID), payment_unblock=OTHER),
        received(PaymentRelease(pid=PID), path_id=OTHER),
        received(PaymentRefused(pid=PID), path_id=OTHER),
        received(path_id=PID, payment_unblock=OTHER),
    ],
)
def test_copies_of_the_pid_must_agree(onion: OnionReceived) -> None:
    with pytest.raises(WireError, match="copies"):
        parse_onion(onion, LSP)


def test_a_refusal_on_the_release_path_is_a_refusal() -> None:
    onion = received(PaymentRefused(pid=PID, reason="no"), path_id=PID, payment_unblock=PID, reply_path=PATH)
    assert parse_onion(onion, LSP) == RefusalSeen(PID, "no", PATH)


def test_the_answer_goes_where_the_message_says() -> None:
    assert parse_onion(received(PaymentRelease(pid=PID), reply_path=PATH), LSP) == ReleaseSeen(PID, PATH)


def test_nobody_is_answered_who_did_not_ask() -> None:
    assert parse_onion(received(path_id=PID, reply_path=PATH), LSP) == ReleaseSeen(PID)


@pytest.mark.parametrize(
    "onion",
    [
        received(),
        received(path_id=b"short"),
        received(BlockUpdate(unblock_hash=OTHER, state=BlockState.HELD, parts=1)),
        received(BlockUpdate(unblock_hash=OTHER, state=BlockState.HELD, parts=1), path_id=release_path_id(PID)),
    ],
)
def test_what_is_none_of_the_lsps_business(onion: OnionReceived) -> None:
    assert parse_onion(onion, LSP) is None


def test_malformed_messages_are_the_wires_to_refuse() -> None:
    with pytest.raises(WireError):
        parse_onion(OnionReceived(async_payment=b"\x63"), LSP)
