"""Orders to pay as LND takes them, and its results."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.lightning import Invoice, PaymentResult, PaymentStatus
from asyncpay.nodes.base import Payment
from asyncpay.nodes.lnd import invoices, payments
from asyncpay.nodes.proto import lightning_pb2 as ln

INVOICE = Invoice(
    text="lnbcrt1...",
    payment_hash=bytes(32),
    payee=bytes(33),
    amount_msat=1_000,
    network="regtest",
    expires_at=0,
    min_final_cltv_expiry=80,
)


def order(invoice: Invoice = INVOICE, **changes: Any) -> Payment:
    values = {"amount_msat": 1_000, "fee_limit_msat": 7, "cltv_limit_blocks": 500}
    return Payment(invoice=invoice, **(values | changes))


def test_slack_is_added_to_the_final_hop() -> None:
    hint = ln.RouteHint(hop_hints=[ln.HopHint(chan_id=3)])
    decoded = ln.PayReq(payment_addr=b"\1" * 32, route_hints=[hint], features={9: ln.Feature(), 14: ln.Feature()})
    request = payments.from_fields(order(replace(INVOICE, payment_secret=b"\1" * 32), slack_blocks=432), decoded)
    assert (request.final_cltv_delta, request.payment_request) == (512, "")
    assert (request.dest, request.payment_hash, request.payment_addr) == (bytes(33), bytes(32), b"\1" * 32)
    assert (request.amt_msat, list(request.dest_features), list(request.route_hints)) == (1_000, [9, 14], [hint])


@pytest.mark.parametrize(("payment_addr", "secret"), [(b"", None), (bytes(32), None), (b"\1" * 32, b"\1" * 32)])
def test_lnds_word_for_no_payment_secret(payment_addr: bytes, secret: bytes | None) -> None:
    decoded = ln.PayReq(destination=bytes(33).hex(), payment_hash=bytes(32).hex(), payment_addr=payment_addr)
    read = payments.invoice("lnbcrt1...", decoded)
    assert read.payment_secret == secret
    assert payments.from_fields(order(read), decoded).payment_addr == (secret or b"")
    assert invoices.own_invoice(ln.Invoice(payment_addr=payment_addr)).payment_secret == secret


def test_no_limit_becomes_lnds_word_for_none() -> None:
    """Zero parts, or no time, would mean LND's default."""
    request = payments.from_invoice(order(max_parts=0, timeout_seconds=0))
    assert (request.max_parts, request.timeout_seconds) == (1, 1)
    assert (request.fee_limit_msat, request.cltv_limit, request.amt_msat) == (7, 500, 0)


@pytest.mark.parametrize(("max_part_msat", "as_lnd_says"), [(None, 0), (0, 1), (400, 400)])
def test_parts_may_be_limited_in_size(max_part_msat: int | None, as_lnd_says: int) -> None:
    request = payments.from_invoice(order(max_part_msat=max_part_msat))
    assert request.max_shard_size_msat == as_lnd_says


def test_a_longer_route_than_lnd_allows_is_not_asked_for() -> None:
    assert payments.from_invoice(order(cltv_limit_blocks=5_000)).cltv_limit == 2016


@pytest.mark.parametrize(
    ("prefix", "network"),
    [("lnbcrt", "regtest"), ("lnbc", "bitcoin"), ("lntbs", "signet"), ("lntb", "testnet"), ("LNBCRT", "regtest")],
)
def test_the_network_is_in_the_prefix(prefix: str, network: str) -> None:
    decoded = ln.PayReq(destination=bytes(33).hex(), payment_hash=bytes(32).hex(), timestamp=100, expiry=50)
    invoice = payments.invoice(f"{prefix}10u1...", decoded)
    assert (invoice.network, invoice.amount_msat, invoice.expires_at) == (network, None, 150)


def test_blinded_paths_are_seen() -> None:
    decoded = ln.PayReq(destination=bytes(33).hex(), payment_hash=bytes(32).hex())
    assert not payments.invoice("lnbcrt1", decoded).has_blinded_paths
    decoded.blinded_paths.add()
    assert payments.invoice("lnbcrt1", decoded).has_blinded_paths


@pytest.mark.parametrize(("bit", "needed"), [(14, False), (49, False), (48, True)])
def test_payment_metadata_that_the_payee_demands(bit: int, needed: bool) -> None:
    decoded = ln.PayReq(destination=bytes(33).hex(), payment_hash=bytes(32).hex(), features={bit: ln.Feature()})
    assert payments.invoice("lnbcrt1...", decoded).needs_metadata == needed


LSP, ME = "03" * 33, "02" * 33


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize(("alias", "named"), [(0, 77), (5, 5)])
def test_a_hint_has_the_policy_and_the_name_of_the_channels_other_end(own_first: bool, alias: int, named: int) -> None:
    theirs = ln.RoutingPolicy(time_lock_delta=40, fee_base_msat=1, fee_rate_milli_msat=2)
    mine = ln.RoutingPolicy(time_lock_delta=99, fee_base_msat=9, fee_rate_milli_msat=9)
    ends = [(ME, mine), (LSP, theirs)] if own_first else [(LSP, theirs), (ME, mine)]
    (node1, policy1), (node2, policy2) = ends
    edge = ln.ChannelEdge(node1_pub=node1, node2_pub=node2, node1_policy=policy1, node2_policy=policy2)
    hint = invoices.hop_hint(ln.Channel(remote_pubkey=LSP, chan_id=77, peer_scid_alias=alias), edge)
    hop = ln.HopHint(node_id=LSP, chan_id=named, fee_base_msat=1, fee_proportional_millionths=2, cltv_expiry_delta=40)
    assert hint == ln.RouteHint(hop_hints=[hop])


def test_no_hint_before_the_other_end_has_said_what_it_asks_for() -> None:
    edge = ln.ChannelEdge(node1_pub=ME, node2_pub=LSP, node1_policy=ln.RoutingPolicy(time_lock_delta=40))
    assert invoices.hop_hint(ln.Channel(remote_pubkey=LSP, chan_id=77), edge) is None


def test_one_settled_part_is_enough_while_another_hangs() -> None:
    """Its preimage claims what is held for this payment, and the other part may hang for as long as its time lock."""
    route = ln.Route(total_amt_msat=502, total_fees_msat=2)
    settled = ln.HTLCAttempt(status=ln.HTLCAttempt.SUCCEEDED, route=route, preimage=b"\xab" * 32)
    hanging = ln.HTLCAttempt(status=ln.HTLCAttempt.IN_FLIGHT, route=route)
    found = payments.result(ln.Payment(status=ln.Payment.IN_FLIGHT, htlcs=[hanging, settled]))
    assert found == PaymentResult(
        status=PaymentStatus.SUCCEEDED, preimage=b"\xab" * 32, parts_in_flight=1, in_flight_msat=500
    )
    assert payments.result(ln.Payment(status=ln.Payment.IN_FLIGHT, htlcs=[hanging])).preimage is None


def test_results() -> None:
    succeeded = ln.Payment(status=ln.Payment.SUCCEEDED, payment_preimage="ab" * 32, fee_msat=3)
    assert payments.result(succeeded) == PaymentResult(
        status=PaymentStatus.SUCCEEDED, preimage=b"\xab" * 32, fee_msat=3
    )
    no_route = ln.Payment(
        status=ln.Payment.FAILED, payment_preimage="00" * 32, failure_reason=ln.FAILURE_REASON_NO_ROUTE
    )
    assert payments.result(no_route) == PaymentResult(status=PaymentStatus.FAILED, failure="no route")
