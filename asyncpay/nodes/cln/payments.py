"""Payments through CLN: routes from askrene, each part sent with sendpay, so that slack can be added at the end."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, Payment
from asyncpay.nodes.cln import invoices, routes
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc

Json = Mapping[str, Any]

WAIT_SECONDS = 60
"""The time limit of one waitsendpay, which is repeated until the part is decided."""

_TIMED_OUT = 200
"""waitsendpay's error for a part that is not decided yet."""
_UNKNOWN = PaymentResult(status=PaymentStatus.UNKNOWN)


async def pay(rpc: Rpc, payment: Payment) -> PaymentResult:
    """See Node.pay."""
    known = await track(rpc, payment.invoice.payment_hash)
    if known.status is not PaymentStatus.UNKNOWN:
        return known
    if payment.invoice.has_blinded_paths:
        return _failed(BLINDED_PATHS_REFUSED)
    if payment.latest_expiry is not None:
        return _failed("payments on behalf are not made through CLN")
    try:
        decoded = await invoices.decode(rpc, payment.invoice.text)
        most_parts = routes.most_parts(payment, decoded)
        if routes.fewest_parts(payment) > most_parts:
            return _failed(f"it does not fit into {most_parts} parts of at most {payment.max_part_msat} msat")
        own_id = (await rpc.call("getinfo"))["id"]
        if decoded["payee"] == own_id:
            return _failed("CLN does not pay its own invoices")
        async with routes.of_payment(rpc, payment, decoded, own_id) as layer:
            return await _attempts(rpc, payment, decoded, layer, own_id)
    except ClnRefusedError as error:
        known = await track(rpc, payment.invoice.payment_hash)
        return _failed(error.details) if known.status is PaymentStatus.UNKNOWN else known


async def track(rpc: Rpc, payment_hash: bytes) -> PaymentResult:
    """See Node.track_payment."""
    while True:
        parts = await _parts(rpc, payment_hash)
        found = result(parts)
        if found.status is not PaymentStatus.IN_FLIGHT:
            return found
        await _wait(rpc, next(part for part in parts if part["status"] == "pending"))


async def look_up(rpc: Rpc, payment_hash: bytes) -> PaymentResult:
    """See Node.look_up_payment."""
    return result(await _parts(rpc, payment_hash))


def result(parts: Sequence[Json], failure: str = "every part of it failed") -> PaymentResult:
    """Return a payment's progress from its parts in `listsendpays`. One preimage suffices: the payee has been paid."""
    if not parts:
        return _UNKNOWN
    alive = [part for part in parts if part["status"] != "failed"]
    pending = [part for part in alive if part["status"] == "pending"]
    in_flight = {"parts_in_flight": len(pending), "in_flight_msat": sum(part["amount_msat"] for part in pending)}
    preimage = next((part["payment_preimage"] for part in alive if part["status"] == "complete"), None)
    if preimage is not None:
        return PaymentResult(
            status=PaymentStatus.SUCCEEDED,
            preimage=bytes.fromhex(preimage),
            fee_msat=sum(part["amount_sent_msat"] - part["amount_msat"] for part in alive),
            **in_flight,
        )
    if pending:
        return PaymentResult(status=PaymentStatus.IN_FLIGHT, **in_flight)
    return _failed(failure)


async def _attempts(rpc: Rpc, payment: Payment, decoded: Json, layer: str, own_id: str) -> PaymentResult:
    """Try until the payment succeeds, fails for good, or times out, but always until an attempt's parts are decided."""
    order = routes.request(payment, decoded, layer, own_id)
    amounts_msat = routes.even(payment.amount_msat, routes.fewest_parts(payment))
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + payment.timeout_seconds
    failure, groupid = "", 0
    while True:
        try:
            paths = await routes.find(rpc, order, amounts_msat)
        except ClnRefusedError as error:
            return _failed(failure or error.details)
        groupid += 1
        failures = await _attempt(rpc, payment, decoded, groupid, paths)
        decided = await track(rpc, payment.invoice.payment_hash)
        if decided.status is PaymentStatus.SUCCEEDED or not failures:
            return decided
        failure = failures[0].details
        final = any(each.data.get("erring_node") in (None, decoded["payee"]) for each in failures)
        if final or loop.time() >= give_up_at:
            return _failed(failure)
        for each in failures:
            await routes.avoid(rpc, layer, each.data)


async def _attempt(
    rpc: Rpc, payment: Payment, decoded: Json, groupid: int, paths: Sequence[Sequence[Json]]
) -> list[ClnRefusedError]:
    """Send one part along each path, wait for all sent parts, and return the failures."""
    failures: list[ClnRefusedError] = []
    sent: list[Json] = []
    for partid, path in enumerate(paths, start=1):
        try:
            await rpc.call(
                "sendpay",
                route=path,
                payment_hash=decoded["payment_hash"],
                amount_msat=payment.amount_msat,
                payment_secret=decoded.get("payment_secret"),
                payment_metadata=decoded.get("payment_metadata"),
                bolt11=payment.invoice.text,
                groupid=groupid,
                partid=partid,
            )
        except ClnRefusedError as error:
            failures.append(error)
            break
        sent.append({"payment_hash": decoded["payment_hash"], "groupid": groupid, "partid": partid})
    outcomes = await asyncio.gather(*(_decided(rpc, part) for part in sent))
    return failures + [outcome for outcome in outcomes if outcome is not None]


async def _decided(rpc: Rpc, part: Json) -> ClnRefusedError | None:
    """Wait until a part is decided; return its failure, or None."""
    while True:
        refusal = await _wait(rpc, part)
        if refusal is None or refusal.code != _TIMED_OUT:
            return refusal


async def _wait(rpc: Rpc, part: Json) -> ClnRefusedError | None:
    """Wait for a part, for a limited time; return CLN's error, or None if the part is complete."""
    try:
        await rpc.call(
            "waitsendpay",
            WAIT_SECONDS + 30,
            payment_hash=part["payment_hash"],
            timeout=WAIT_SECONDS,
            partid=part.get("partid"),
            groupid=part["groupid"],
        )
    except ClnRefusedError as error:
        return error
    return None


async def _parts(rpc: Rpc, payment_hash: bytes) -> list[Json]:
    parts: list[Json] = (await rpc.call("listsendpays", payment_hash=payment_hash.hex()))["payments"]
    return parts


def _failed(failure: str) -> PaymentResult:
    return PaymentResult(status=PaymentStatus.FAILED, failure=failure)
