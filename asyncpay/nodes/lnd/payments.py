"""Payments with LND, never twice: LND's own record of a payment hash decides the result."""

from collections.abc import AsyncIterable

import grpc

from asyncpay.lightning import Invoice, PaymentResult, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, MAX_ROUTE_BLOCKS, NodeUnreachableError, Payment
from asyncpay.nodes.lnd import channels, invoices
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.numbers import FINAL_CLTV_BLOCKS, UNIX_TIME, optional_amount
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router

METADATA_REQUIRED = 48
"""`option_payment_metadata` (BOLT 9), required."""

_NETWORKS = {"lnbcrt": "regtest", "lntbs": "signet", "lntb": "testnet", "lnbc": "bitcoin"}  # the longer prefix first
_STATUS = {
    ln.Payment.INITIATED: PaymentStatus.IN_FLIGHT,
    ln.Payment.IN_FLIGHT: PaymentStatus.IN_FLIGHT,
    ln.Payment.SUCCEEDED: PaymentStatus.SUCCEEDED,
    ln.Payment.FAILED: PaymentStatus.FAILED,
}
_UNKNOWN = PaymentResult(status=PaymentStatus.UNKNOWN)


async def pay(lnd: Connection, payment: Payment) -> PaymentResult:
    """See Node.pay, for a payment without `latest_expiry`."""
    known = await track(lnd, payment.invoice.payment_hash)  # LND itself would try a failed payment again
    if known.status is not PaymentStatus.UNKNOWN:
        return known
    if payment.invoice.has_blinded_paths:
        return failed(BLINDED_PATHS_REFUSED)
    if payment.cltv_limit_blocks < 1:
        return failed("no blocks are left for the route")
    try:
        if _matches_invoice(payment):
            request = from_invoice(payment)
        elif payment.invoice.needs_metadata:
            return failed("the invoice requires payment metadata, which LND cannot send in a payment with slack")
        else:
            request = from_fields(payment, await decode(lnd, payment.invoice.text))
        if payment.first_hop is not None:
            request.outgoing_chan_ids.extend(await channels.channels_with(lnd, payment.first_hop))
            if not request.outgoing_chan_ids:
                return failed(f"there is no channel with {payment.first_hop.hex()}, which must be the first hop")
        if payment.slack_blocks:
            await reset_mission_control(lnd)
        with lnd.calling(f"pay {payment.invoice.payment_hash.hex()}"):
            return await _decided(lnd, lnd.router.SendPaymentV2(request))
    except LndRefusedError as error:
        known = await track(lnd, payment.invoice.payment_hash)
        return failed(error.details) if known.status is PaymentStatus.UNKNOWN else known


async def track(lnd: Connection, payment_hash: bytes) -> PaymentResult:
    """See Node.track_payment."""
    request = router.TrackPaymentRequest(payment_hash=payment_hash, no_inflight_updates=False)
    call = lnd.router.TrackPaymentV2(request)
    try:
        with lnd.calling(f"track payment {payment_hash.hex()}"):
            return await _decided(lnd, call)
    except LndRefusedError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return _UNKNOWN
        raise
    finally:
        call.cancel()


async def look_up(lnd: Connection, payment_hash: bytes) -> PaymentResult:
    """See Node.look_up_payment. The first update of TrackPaymentV2 is the current state of the payment."""
    request = router.TrackPaymentRequest(payment_hash=payment_hash, no_inflight_updates=False)
    call = lnd.router.TrackPaymentV2(request)
    try:
        with lnd.calling(f"look up payment {payment_hash.hex()}"):
            async for payment in call:
                return result(payment)
    except LndRefusedError as error:
        if error.code is not grpc.StatusCode.NOT_FOUND:
            raise
    finally:
        call.cancel()
    return _UNKNOWN


async def reset_mission_control(lnd: Connection) -> None:
    """Reset LND's mission control. LND takes a held HTLC that was failed back for a failure of the LSP's channel, and
    for an hour no other payment would find a route. A payment with slack is meant to be held, so it starts afresh.
    """
    with lnd.calling("reset its mission control"):
        await lnd.router.ResetMissionControl(router.ResetMissionControlRequest(), timeout=CALL_SECONDS)


async def decode(lnd: Connection, text: str) -> ln.PayReq:
    """Return LND's decoding of a BOLT 11 invoice."""
    with lnd.calling("decode an invoice"):
        return await lnd.lightning.DecodePayReq(ln.PayReqString(pay_req=text), timeout=CALL_SECONDS)


def invoice(text: str, decoded: ln.PayReq) -> Invoice:
    """Return the invoice from LND's decoding. The network is in the prefix of its text. Raises numbers.UNREADABLE."""
    network = next((name for prefix, name in _NETWORKS.items() if text.lower().startswith(prefix)), "unknown")
    return Invoice(
        text=text,
        payment_hash=bytes.fromhex(decoded.payment_hash),
        payee=bytes.fromhex(decoded.destination),
        amount_msat=optional_amount(decoded.num_msat),
        network=network,
        expires_at=UNIX_TIME(decoded.timestamp + decoded.expiry),
        min_final_cltv_expiry=FINAL_CLTV_BLOCKS(decoded.cltv_expiry),
        description=decoded.description,
        route_hints=tuple(
            tuple(bytes.fromhex(hop.node_id) for hop in hint.hop_hints)
            for hint in decoded.route_hints
            if hint.hop_hints
        ),
        has_blinded_paths=bool(decoded.blinded_paths),
        payment_secret=invoices.payment_secret(decoded.payment_addr),
        needs_metadata=METADATA_REQUIRED in decoded.features,
    )


def result(payment: ln.Payment) -> PaymentResult:
    """Return a payment's progress from LND's record. One preimage suffices: the payee has been paid, even if LND still
    waits for other parts.
    """
    reason = ln.PaymentFailureReason.Name(payment.failure_reason).removeprefix("FAILURE_REASON_")
    settled = [htlc.preimage for htlc in payment.htlcs if htlc.status == ln.HTLCAttempt.SUCCEEDED]
    status = PaymentStatus.SUCCEEDED if settled else _STATUS[payment.status]
    preimage = settled[0] if settled else bytes.fromhex(payment.payment_preimage)
    in_flight = [htlc.route for htlc in payment.htlcs if htlc.status == ln.HTLCAttempt.IN_FLIGHT]
    return PaymentResult(
        status=status,
        preimage=preimage if status is PaymentStatus.SUCCEEDED else None,
        fee_msat=payment.fee_msat,
        failure=reason.replace("_", " ").lower() if status is PaymentStatus.FAILED else "",
        parts_in_flight=len(in_flight),
        in_flight_msat=sum(route.total_amt_msat - route.total_fees_msat for route in in_flight),
    )


def from_invoice(payment: Payment) -> router.SendPaymentRequest:
    """Return the request to pay an invoice unchanged; LND decodes it."""
    request = _limits(payment)
    request.payment_request = payment.invoice.text
    if payment.invoice.amount_msat is None:
        request.amt_msat = payment.amount_msat
    return request


def from_fields(payment: Payment, decoded: ln.PayReq) -> router.SendPaymentRequest:
    """Return the request to pay with slack or another amount, which LND refuses together with a payment_request.

    Payment metadata (BOLT 11, `m`) is lost: LND neither shows nor accepts it. The payee can do without it, unless the
    invoice requires it.
    """
    request = _limits(payment)
    request.dest = payment.invoice.payee
    request.payment_hash = payment.invoice.payment_hash
    request.payment_addr = payment.invoice.payment_secret or b""
    request.amt_msat = payment.amount_msat
    request.final_cltv_delta = payment.invoice.min_final_cltv_expiry + payment.slack_blocks
    request.dest_features.extend(sorted(decoded.features))
    request.route_hints.extend(decoded.route_hints)
    return request


def _limits(payment: Payment) -> router.SendPaymentRequest:
    """Return a request with the payment's limits. A limit is never zero, because LND takes zero for "not set"."""
    return router.SendPaymentRequest(
        fee_limit_msat=payment.fee_limit_msat,
        cltv_limit=min(payment.cltv_limit_blocks, MAX_ROUTE_BLOCKS),
        max_parts=max(payment.max_parts, 1),
        max_shard_size_msat=0 if payment.max_part_msat is None else max(payment.max_part_msat, 1),
        timeout_seconds=max(payment.timeout_seconds, 1),
        no_inflight_updates=True,
    )


def _matches_invoice(payment: Payment) -> bool:
    return payment.slack_blocks == 0 and payment.invoice.amount_msat in (None, payment.amount_msat)


def failed(failure: str) -> PaymentResult:
    """Return the result of a payment that was not made."""
    return PaymentResult(status=PaymentStatus.FAILED, failure=failure)


async def _decided(lnd: Connection, updates: AsyncIterable[ln.Payment]) -> PaymentResult:
    """Return the final state of a payment that LND follows. NodeUnreachableError if the updates end before."""
    async for update in updates:
        found = result(update)
        if found.status is not PaymentStatus.IN_FLIGHT:
            return found
    raise NodeUnreachableError(f"LND at {lnd.address} stopped its updates of a payment before it was decided")
