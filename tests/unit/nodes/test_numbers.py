"""Every number that a node reports: in its range, or refused as an error that callers know."""

from typing import Any

import pytest
from google.protobuf.message import Message

from asyncpay.amounts import MAX_MSAT
from asyncpay.lightning import ChannelId, HeldHtlc, Invoice
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.cln import channels as cln_htlcs
from asyncpay.nodes.cln import invoices as cln_invoices
from asyncpay.nodes.lnd import htlcs as lnd_htlcs
from asyncpay.nodes.lnd import payments as lnd_payments
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, UNIX_TIME, OutOfRangeError, reading, text
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router

NUMBERS = [-(2**63), -1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
PEER, HASH, CHANNEL = b"\x02" * 33, b"\xab" * 32, ChannelId(bytes(32))


@pytest.mark.parametrize(
    "value",
    [*NUMBERS, pytest.param(10**5000, id="5001 digits"), True, None, 1.5, "1", float("inf"), float("nan"), [], {}],
)
@pytest.mark.parametrize("numbers", [AMOUNT_MSAT, HEIGHT, UNIX_TIME])
def test_a_number_is_within_its_range_or_an_error_that_can_be_shown(numbers: Any, value: Any) -> None:
    if type(value) is int and numbers.least <= value <= numbers.most:
        assert numbers(value) == value
    else:
        with pytest.raises(OutOfRangeError) as caught:
            numbers(value)
        assert len(str(caught.value)) < 200


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert text("tea \ud800 caf\N{LATIN SMALL LETTER E WITH ACUTE}") == "tea ? caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def cln_offer(field: str, value: Any) -> HeldHtlc:
    onion = {"short_channel_id": "104x1x1", "forward_msat": 1_000, "outgoing_cltv_value": 400}
    htlc = {"short_channel_id": "103x1x0", "id": 7, "amount_msat": 1_001, "cltv_expiry": 440, "payment_hash": "ab" * 32}
    place = onion if field in onion else htlc
    place[field] = value
    return cln_htlcs.held_htlc({"peer_id": PEER.hex(), "onion": onion, "htlc": htlc}, CHANNEL)


def carried(message: type[Message], field: str) -> list[int]:
    """The numbers that gRPC carries in this field: the others cannot arrive from LND."""

    def fits(value: int) -> bool:
        try:
            message(**{field: value})
        except ValueError:
            return False
        return True

    return [value for value in NUMBERS if fits(value)]


def lnd_offer(field: str, value: Any) -> HeldHtlc:
    offer = router.ForwardHtlcInterceptRequest(incoming_circuit_key=router.CircuitKey(chan_id=1, htlc_id=2))
    setattr(offer, field, value)
    return lnd_htlcs.held_htlc(offer, PEER)


CLN_OFFER = ("id", "amount_msat", "cltv_expiry", "forward_msat", "outgoing_cltv_value")
LND_OFFER = ("incoming_amount_msat", "outgoing_amount_msat", "incoming_expiry", "outgoing_expiry")
OFFERS = [
    *((cln_offer, field, value) for field in CLN_OFFER for value in NUMBERS),
    *((lnd_offer, field, value) for field in LND_OFFER for value in carried(router.ForwardHtlcInterceptRequest, field)),
]


@pytest.mark.parametrize(("offer", "field", "value"), OFFERS)
def test_an_offer(offer: Any, field: str, value: int) -> None:
    try:
        held = offer(field, value)
    except OutOfRangeError:
        return
    assert 0 <= held.key.htlc_id < 2**64
    assert min(held.incoming_amount_msat, held.outgoing_amount_msat) >= 0
    assert max(held.incoming_amount_msat, held.outgoing_amount_msat) <= MAX_MSAT
    assert max(held.incoming_expiry, held.outgoing_expiry) < 2**32


USUAL = [1, 2**31 - 1]


@pytest.mark.parametrize("value", USUAL)
@pytest.mark.parametrize(("offer", "field"), dict.fromkeys((offer, field) for offer, field, _ in OFFERS))
def test_an_offer_with_usual_numbers_is_taken(offer: Any, field: str, value: int) -> None:
    """So that refusing everything does not pass here."""
    offer(field, value)


def cln_invoice(field: str, value: Any) -> Invoice:
    decoded = {
        "payment_hash": "ab" * 32,
        "payee": PEER.hex(),
        "amount_msat": 1_000,
        "currency": "bcrt",
        "created_at": 1,
        "expiry": 60,
        "min_final_cltv_expiry": 18,
    }
    return cln_invoices.invoice("lnbcrt1", decoded | {field: value})


LND_INVOICE = {
    "amount_msat": "num_msat",
    "created_at": "timestamp",
    "expiry": "expiry",
    "min_final_cltv_expiry": "cltv_expiry",
}
"""Core Lightning's name of a field: LND's."""


def lnd_invoice(field: str, value: Any) -> Invoice:
    decoded = ln.PayReq(payment_hash="ab" * 32, destination=PEER.hex(), num_msat=1, timestamp=1, expiry=60)
    setattr(decoded, LND_INVOICE[field], value)
    return lnd_payments.invoice("lnbcrt1", decoded)


INVOICES = [
    *((cln_invoice, field, value) for field in LND_INVOICE for value in NUMBERS),
    *((lnd_invoice, field, value) for field, name in LND_INVOICE.items() for value in carried(ln.PayReq, name)),
]


@pytest.mark.parametrize(("read", "field", "value"), INVOICES)
def test_an_invoice(read: Any, field: str, value: int) -> None:
    """An expiry of 2^63 seconds once ended an LSP: it read it, and could not store it."""
    try:
        with reading("the invoice"):
            invoice = read(field, value)
    except NodeError:
        return
    assert invoice.amount_msat is None or 0 < invoice.amount_msat <= MAX_MSAT
    assert 0 <= invoice.expires_at < 2**53
    assert 0 <= invoice.min_final_cltv_expiry <= 2016


@pytest.mark.parametrize(("read", "field"), dict.fromkeys((read, field) for read, field, _ in INVOICES))
def test_an_invoice_with_usual_numbers_is_taken(read: Any, field: str) -> None:
    read(field, 2016)


@pytest.mark.parametrize("decoded", [{}, {"payment_hash": 1}, {"payment_hash": "xy"}, {"payment_hash": None}])
def test_an_answer_that_is_not_as_it_should_be(decoded: Any) -> None:
    with pytest.raises(NodeError, match="the invoice cannot be read"), reading("the invoice"):
        cln_invoices.invoice("lnbcrt1", decoded)
