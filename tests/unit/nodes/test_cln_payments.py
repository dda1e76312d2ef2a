"""What CLN's parts amount to, and what is asked of askrene."""

from typing import Any

import pytest

from asyncpay.lightning import Invoice, PaymentResult, PaymentStatus
from asyncpay.nodes.base import Payment
from asyncpay.nodes.cln import graph, invoices, layers, payments

PAYEE = "02" * 33
DECODED: dict[str, Any] = {
    "type": "bolt11 invoice",
    "valid": True,
    "currency": "bcrt",
    "created_at": 1_000,
    "expiry": 60,
    "payee": PAYEE,
    "payment_hash": "ab" * 32,
    "min_final_cltv_expiry": 18,
    "features": "024100",  # basic_mpp
}


def part(status: str, **changes: Any) -> dict[str, Any]:
    return {"status": status, "amount_msat": 1_000, "amount_sent_msat": 1_010} | changes


def order(**changes: Any) -> Payment:
    values: dict[str, Any] = {
        "invoice": invoices.invoice("lnbcrt1", DECODED),
        "amount_msat": 5_000,
        "fee_limit_msat": 10,
        "cltv_limit_blocks": 3_000,
        "slack_blocks": 144,
    }
    return Payment(**(values | changes))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], PaymentResult(status=PaymentStatus.UNKNOWN)),
        ([part("failed")], PaymentResult(status=PaymentStatus.FAILED, failure="every part of it failed")),
        (
            [part("failed"), part("pending"), part("pending")],
            PaymentResult(status=PaymentStatus.IN_FLIGHT, parts_in_flight=2, in_flight_msat=2_000),
        ),
        (
            [part("failed"), part("complete", payment_preimage="cd" * 32), part("pending")],
            PaymentResult(
                status=PaymentStatus.SUCCEEDED,
                preimage=b"\xcd" * 32,
                fee_msat=20,
                parts_in_flight=1,
                in_flight_msat=1_000,
            ),
        ),
    ],
    ids=["none", "failed", "in flight", "one preimage is enough"],
)
def test_where_a_payment_stands(parts: list[dict[str, Any]], said: PaymentResult) -> None:
    assert payments.result(parts) == said


def test_the_slack_is_at_the_end_of_the_route() -> None:
    request = payments.routes_request(order(), DECODED, "layer", "03" * 33)
    assert request["final_cltv"] == 18 + 144 + 2
    assert request["maxdelay"] == 2_016 - 1
    assert request["maxparts"] == 16
    assert request["layers"] == ["auto.localchans", "auto.sourcefree", "layer"]


@pytest.mark.parametrize(("max_parts", "features"), [(1, "024100"), (16, "4100"), (16, "")])
def test_one_part_where_there_must_not_be_more(max_parts: int, features: str) -> None:
    request = payments.routes_request(order(max_parts=max_parts), DECODED | {"features": features}, "layer", "us")
    assert request["maxparts"] == 1
    assert "auto.no_mpp_support" in request["layers"]


def test_hints_are_channels_to_the_payee() -> None:
    hop = {
        "pubkey": "03" * 33,
        "short_channel_id": "1x2x3",
        "fee_base_msat": 1,
        "fee_proportional_millionths": 2,
        "cltv_expiry_delta": 40,
    }
    other = hop | {"pubkey": "01" * 33, "short_channel_id": "4x5x6"}
    made = list(layers.hinted_channels(order(), DECODED | {"routes": [[other, hop]]}))
    assert [(channel["source"], channel["destination"]) for channel, _ in made] == [
        ("01" * 33, "03" * 33),
        ("03" * 33, PAYEE),
    ]
    assert [update["short_channel_id_dir"] for _, update in made] == ["4x5x6/0", "1x2x3/1"]
    assert all(update["htlc_maximum_msat"] >= 5_000 for _, update in made)
    assert made[1][1]["cltv_expiry_delta"] == 40


def test_an_invoice() -> None:
    hint = [{"pubkey": "03" * 33}]
    assert invoices.invoice("lnbcrt1", DECODED | {"routes": [hint], "amount_msat": 7}) == Invoice(
        text="lnbcrt1",
        payment_hash=b"\xab" * 32,
        payee=bytes.fromhex(PAYEE),
        amount_msat=7,
        network="regtest",
        expires_at=1_060,
        min_final_cltv_expiry=18,
        route_hints=((b"\x03" * 33,),),
    )


@pytest.mark.parametrize(
    ("features", "relays"), [("8000000000", True), ("4000000000", True), ("2000000000", False), ("", False)]
)
def test_who_relays_onion_messages(features: str, relays: bool) -> None:
    assert graph.relays(features) == relays
