"""Payments through LDK, and their results. ldkd stores a record of every payment, because LDK itself forgets them."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, Payment
from asyncpay.nodes.ldk.rpc import LdkRefusedError, Rpc
from asyncpay.nodes.numbers import AMOUNT_MSAT

Json = Mapping[str, Any]

WAIT_SECONDS = 30
"""The time limit of one `waitpayment`, which is repeated until the payment is decided."""

_STATUS = {
    "in_flight": PaymentStatus.IN_FLIGHT,
    "succeeded": PaymentStatus.SUCCEEDED,
    "failed": PaymentStatus.FAILED,
}


async def pay(rpc: Rpc, payment: Payment) -> PaymentResult:
    """See Node.pay."""
    known = await track(rpc, payment.invoice.payment_hash)
    if known.status is not PaymentStatus.UNKNOWN:
        return known
    if payment.invoice.has_blinded_paths:
        return _failed(BLINDED_PATHS_REFUSED)
    if payment.latest_expiry is not None:
        return _failed("payments on behalf are not made through LDK")
    try:
        await rpc.call(
            "pay",
            invoice=payment.invoice.text,
            amount_msat=payment.amount_msat,
            fee_limit_msat=payment.fee_limit_msat,
            cltv_limit_blocks=payment.cltv_limit_blocks,
            slack_blocks=payment.slack_blocks,
            max_parts=payment.max_parts,
            max_part_msat=payment.max_part_msat,
            timeout_seconds=payment.timeout_seconds,
            first_hop=None if payment.first_hop is None else payment.first_hop.hex(),
        )
    except LdkRefusedError as error:
        return _failed(error.details)
    return await track(rpc, payment.invoice.payment_hash)


async def track(rpc: Rpc, payment_hash: bytes) -> PaymentResult:
    """See Node.track_payment."""
    while True:
        found = result(
            await rpc.call("waitpayment", WAIT_SECONDS + 30, payment_hash=payment_hash.hex(), wait_seconds=WAIT_SECONDS)
        )
        if found.status is not PaymentStatus.IN_FLIGHT:
            return found


async def look_up(rpc: Rpc, payment_hash: bytes) -> PaymentResult:
    """See Node.look_up_payment."""
    return result(await rpc.call("lookuppayment", payment_hash=payment_hash.hex()))


def result(record: Json | None) -> PaymentResult:
    """Return a payment's progress from ldkd's record of it. Raises numbers.UNREADABLE."""
    if record is None:
        return PaymentResult(status=PaymentStatus.UNKNOWN)
    return PaymentResult(
        status=_STATUS[record["status"]],
        preimage=None if record["preimage"] is None else bytes.fromhex(record["preimage"]),
        fee_msat=AMOUNT_MSAT(record["fee_msat"]),
        failure=record["failure"],
        parts_in_flight=record["parts_in_flight"],
        in_flight_msat=AMOUNT_MSAT(record["in_flight_msat"]),
    )


def _failed(failure: str) -> PaymentResult:
    return PaymentResult(status=PaymentStatus.FAILED, failure=failure)
