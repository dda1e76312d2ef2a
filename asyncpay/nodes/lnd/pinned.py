"""Payments whose cost and time lock are known before anything is sent.

LND returns a route (QueryRoutes), the route is checked, and exactly this route is used (SendToRouteV2).

SendPaymentV2 would find routes itself within given limits. But LND 0.21 checks `cltv_limit` only against the
invoice's final delta (routing/payment_session.go), which a blinded path exceeds; and both limits are relative to
the time at which LND executes the order. A route fixes the amounts and the heights, no matter when LND executes it.

Every part has the same form: a share of the amount, the whole amount in its `mpp_record`, a fee within that share of
the limit, and a time lock within the limit. LND adds a part only while the amounts in flight and settled stay within
the whole amount (payments/db/payment.go, verifyAttempt), and none once one has settled or failed. After that, a new
attempt begins only when all parts have failed (InitPayment). So no matter which calls break, and in which order LND
executes them, the parts that can be settled never deliver more than the amount, and never cost more than it and the fee
limit.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import grpc

from asyncpay.lightning import ForwardingPolicy, PaymentResult, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, MAX_ROUTE_BLOCKS, NodeUnreachableError, Payment
from asyncpay.nodes.lnd import channels, payments
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router

FINAL_PADDING_BLOCKS = 3
"""Added to the payee's final delta, as LND's SendPaymentV2 does: blocks may be found while the payment is in flight."""
MOST_ATTEMPTS = 20
BASIC_MPP = frozenset({16, 17})
"""`basic_mpp` (BOLT 9), required and optional."""
NOT_SENT = (
    "attempted value exceeds payment amount",
    "payment has settled htlcs",
    "payment has failure reason",
    "payment is already succeeded",
    "payment has already failed",
    "invoice is already paid",
)
"""LND's errors (payments/db/errors.go) for a part that it does not add to a payment. After any other error of
SendToRouteV2 the part may have been sent, or may still be sent.
"""


async def pay(lnd: Connection, payment: Payment, latest_expiry: int) -> PaymentResult:
    """See Node.pay, for a payment with `latest_expiry`."""
    known = await payments.track(lnd, payment.invoice.payment_hash)
    if known.status is not PaymentStatus.UNKNOWN:
        return known
    decoded = await payments.decode(lnd, payment.invoice.text)
    unfit = _unfit(payment, decoded)
    if unfit:
        return payments.failed(unfit)
    give_up_at = asyncio.get_running_loop().time() + payment.timeout_seconds
    failure = ""
    for _ in range(MOST_ATTEMPTS):
        try:
            routes = await _routes(lnd, payment, decoded, latest_expiry)
        except LndRefusedError as error:
            return payments.failed(failure or error.details)
        if asyncio.get_running_loop().time() >= give_up_at:
            return payments.failed(failure or f"no route was found within {payment.timeout_seconds} s")
        refusals = await _send(lnd, payment, routes)
        result = await payments.track(lnd, payment.invoice.payment_hash)
        if result.status is PaymentStatus.UNKNOWN:
            raise NodeUnreachableError(f"LND at {lnd.address} does not know the payment whose parts it was sent")
        if result.status is not PaymentStatus.FAILED:
            return result
        failure = ", ".join(sorted({why for why, _ in refusals})) or result.failure
        if any(final for _, final in refusals):
            break
    return payments.failed(failure)


def check(route: ln.Route, payment: Payment, share_msat: int, latest_expiry: int) -> str | None:
    """Return why this route must not be used for a part that delivers share_msat to the payee; None if it may."""
    fee_limit_msat = payment.fee_limit_msat * share_msat // payment.amount_msat
    if not route.hops or route.hops[-1].pub_key != payment.invoice.payee.hex():
        return "LND's route does not end at the payee"
    if any(hop.encrypted_data or hop.blinding_point for hop in route.hops):
        return "LND's route has a blinded path"
    if route.hops[-1].amt_to_forward_msat != share_msat:
        return f"LND's route delivers {route.hops[-1].amt_to_forward_msat} msat and not {share_msat}"
    if route.total_amt_msat - share_msat > fee_limit_msat:
        return f"LND's route costs {route.total_amt_msat - share_msat} msat, more than {fee_limit_msat}"
    if route.total_time_lock > latest_expiry:
        return f"LND's route locks until height {route.total_time_lock}, which is after {latest_expiry}"
    return None


def check_kept(route: ln.Route, payment: Payment, share_msat: int, policy: ForwardingPolicy | None) -> str | None:
    """Return why a route leaves this node less than forwarding over its first channel (with this policy), or None."""
    if payment.incoming_msat is None or payment.incoming_expiry is None:
        return None
    if policy is None:
        return "LND knows no forwarding policy of its own for the route's first channel"
    base_msat = policy.fee_base_msat * share_msat // payment.amount_msat
    fee_msat = base_msat + replace(policy, fee_base_msat=0).fee_msat(route.total_amt_msat)
    kept_msat = payment.incoming_msat * share_msat // payment.amount_msat - route.total_amt_msat
    if kept_msat < fee_msat:
        return f"LND's route leaves {kept_msat} msat, forwarding over its first channel would earn {fee_msat}"
    kept_blocks = payment.incoming_expiry - route.total_time_lock
    if kept_blocks < policy.cltv_delta_blocks:
        return f"LND's route leaves {kept_blocks} blocks, forwarding over its first channel {policy.cltv_delta_blocks}"
    return None


def _unfit(payment: Payment, decoded: ln.PayReq) -> str | None:
    if decoded.blinded_paths:
        return BLINDED_PATHS_REFUSED
    if not any(decoded.payment_addr):
        return "the invoice has no payment_secret"
    if payment.invoice.needs_metadata:
        return "the invoice requires payment metadata, which LND does not show"
    if payment.invoice.amount_msat != payment.amount_msat or payment.slack_blocks:
        return "along checked routes only the invoice's own amount can be paid, without slack"
    if payment.fee_limit_msat < 0:
        return "nothing is left for fees"
    return None


async def _routes(lnd: Connection, payment: Payment, decoded: ln.PayReq, latest_expiry: int) -> list[ln.Route]:
    """Return checked routes for as few equal parts as possible. LndRefusedError of the last try if there are none."""
    most = payment.max_parts if BASIC_MPP & decoded.features.keys() else 1
    parts = 1
    while True:
        try:
            return await _equal_parts(lnd, payment, decoded, latest_expiry, parts)
        except LndRefusedError:
            parts *= 2
            if parts > most:
                raise


async def _equal_parts(
    lnd: Connection, payment: Payment, decoded: ln.PayReq, latest_expiry: int, parts: int
) -> list[ln.Route]:
    least_msat, rest_msat = divmod(payment.amount_msat, parts)
    opened = await _opened_here(lnd)
    room_msat = {name: _room_msat(channel) for name, channel in opened.items()}
    routes: list[ln.Route] = []
    for share_msat in [least_msat] * (parts - 1) + [least_msat + rest_msat]:
        first_hops = [name for name, room in room_msat.items() if parts == 1 or room >= share_msat]
        if not first_hops:
            raise _refused(f"no usable channel that this node opened has room for one of {parts} parts")
        route = await _route(lnd, payment, decoded, latest_expiry, share_msat, first_hops)
        channel = opened.get(route.hops[0].chan_id)
        if channel is None:
            raise _refused("LND's route begins with a channel that this node did not open")
        policy = await channels.policy_of(lnd, channel)
        if (why := check_kept(route, payment, share_msat, policy)) is not None:
            raise _refused(why)
        if parts > 1:
            room_msat[route.hops[0].chan_id] -= route.total_amt_msat
        routes.append(route)
    return routes


async def _route(
    lnd: Connection,
    payment: Payment,
    decoded: ln.PayReq,
    latest_expiry: int,
    share_msat: int,
    first_hops: Sequence[int],
) -> ln.Route:
    """Return a checked route for one part."""
    with lnd.calling("find a route"):
        height = (await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)).block_height
        if latest_expiry <= height:
            raise _refused("no blocks are left for the route")
        request = ln.QueryRoutesRequest(
            pub_key=payment.invoice.payee.hex(),
            amt_msat=share_msat,
            final_cltv_delta=payment.invoice.min_final_cltv_expiry + FINAL_PADDING_BLOCKS,
            fee_limit=ln.FeeLimit(fixed_msat=payment.fee_limit_msat * share_msat // payment.amount_msat),
            use_mission_control=True,
            cltv_limit=min(latest_expiry - height, MAX_ROUTE_BLOCKS),
            route_hints=decoded.route_hints,
            dest_features=sorted(decoded.features),
            outgoing_chan_ids=first_hops,
        )
        route = (await lnd.lightning.QueryRoutes(request, timeout=CALL_SECONDS)).routes[0]
    if (why := check(route, payment, share_msat, latest_expiry)) is not None:
        raise _refused(why)
    route.hops[-1].mpp_record.total_amt_msat = payment.amount_msat
    route.hops[-1].mpp_record.payment_addr = decoded.payment_addr
    return route


async def _opened_here(lnd: Connection) -> dict[int, ln.Channel]:
    """Return the usable channels that this node opened, by their chan_id in LND's routes.

    The opener of a channel sets the feerate of its commitment transaction (BOLT 2, update_fee). LND closes a channel
    at an own HTLC's expiry, and pays a minimal fee for its confirmation (contractcourt: an own payment has no
    incoming HTLC to protect). A peer that sets a low feerate could delay it beyond the margin, and then claim the HTLC.
    """
    listed = await channels.open_channels(lnd)
    return {channel.chan_id: channel for channel in listed if channel.active and channel.initiator}


def _room_msat(channel: ln.Channel) -> int:
    """Return the most that the channel can send."""
    return 1_000 * (channel.local_balance - channel.local_constraints.chan_reserve_sat)


async def _send(lnd: Connection, payment: Payment, routes: Sequence[ln.Route]) -> list[tuple[str, bool]]:
    """Send all parts, and wait until each is decided or one has succeeded, which pays the payee no matter how the
    others end. Return the failures of parts, and for each whether the payee failed it.

    NodeUnreachableError if the outcome of a part is unknown: it may or may not have been sent, or may still be sent.
    """
    sending = {asyncio.ensure_future(_send_part(lnd, payment, route)) for route in routes}
    waiting, refusals, broken = set(sending), [], None
    try:
        while waiting:
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for part in ended:
                if (error := part.exception()) is not None:
                    broken = error
                elif (refusal := part.result()) is not None:
                    refusals.append(refusal)
                else:
                    return refusals
    finally:
        await _end(sending)
    if broken is not None:
        raise broken
    return refusals


async def _end(calls: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the calls. LND continues the payments (routing/router.go, sendToRoute)."""
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def _send_part(lnd: Connection, payment: Payment, route: ln.Route) -> tuple[str, bool] | None:
    payment_hash = payment.invoice.payment_hash
    try:
        with lnd.calling(f"send a part of {payment_hash.hex()}"):
            request = router.SendToRouteRequest(payment_hash=payment_hash, route=route)
            attempt = await lnd.router.SendToRouteV2(request)
    except LndRefusedError as error:
        if not any(words in error.details for words in NOT_SENT):
            raise NodeUnreachableError(str(error)) from None
        return error.details, False
    if attempt.status == ln.HTLCAttempt.SUCCEEDED:
        return None
    by_payee = attempt.failure.failure_source_index == len(route.hops)
    return f"failure {attempt.failure.code} of hop {attempt.failure.failure_source_index}", by_payee


def _refused(why: str) -> LndRefusedError:
    return LndRefusedError(why, grpc.StatusCode.FAILED_PRECONDITION, why)
