"""The routes of a payment's parts, found by askrene (`getroutes`), and the askrene layer of one payment.

The layer contains the invoice's route hints, and disables channels that must not be used.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

from asyncpay.nodes.base import MAX_ROUTE_BLOCKS, Payment
from asyncpay.nodes.cln import channels
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc

Json = Mapping[str, Any]


@asynccontextmanager
async def of_payment(rpc: Rpc, payment: Payment, decoded: Json, own_id: str) -> AsyncIterator[str]:
    """Create the payment's layer, yield its name, and remove it at the end."""
    layer = f"asyncpay-{decoded['payment_hash']}"
    with suppress(ClnRefusedError):  # a layer that an interrupted payment has left
        await rpc.call("askrene-remove-layer", layer=layer)
    await rpc.call("askrene-create-layer", layer=layer)
    try:
        for channel, update in hinted_channels(payment, decoded, own_id):
            await rpc.call("askrene-create-channel", layer=layer, **channel)
            await rpc.call("askrene-update-channel", layer=layer, **update)
        if payment.first_hop is not None:
            for channel in await channels.open_channels(rpc):
                if channel["peer_id"] != payment.first_hop.hex():
                    await _disable(rpc, layer, f"{channels.names_of(channel)[0]}/{channel['direction']}")
        yield layer
    finally:
        await rpc.call("askrene-remove-layer", layer=layer)


async def avoid(rpc: Rpc, layer: str, failure: Json) -> None:
    """Disable the channel to which `waitsendpay` attributes the failure."""
    if "erring_channel" in failure:
        await _disable(rpc, layer, f"{failure['erring_channel']}/{failure['erring_direction']}")


def hinted_channels(payment: Payment, decoded: Json, own_id: str) -> Iterator[tuple[Json, Json]]:
    """Yield the channels of the invoice's hints, as arguments of askrene-create-channel and askrene-update-channel.

    A hint does not state the capacity of its channel: enough for the payment is assumed. The payee wrote the hints, so
    entries that askrene refuses, or that the payee has no authority over, are omitted: a channel from a node to itself,
    a duplicate, and, in a hint through this node, all hops up to this node and its own channel.
    """
    named = set()
    for hint in decoded.get("routes", ()):
        ends = [*(hop["pubkey"] for hop in hint), decoded["payee"]]
        after_us = max((place + 1 for place, hop in enumerate(hint) if hop["pubkey"] == own_id), default=0)
        for hop, (source, destination) in list(zip(hint, pairwise(ends), strict=True))[after_us:]:
            if source == destination or hop["short_channel_id"] in named:
                continue
            named.add(hop["short_channel_id"])
            capacity_msat = 2 * payment.amount_msat + 1_000_000
            yield (
                {
                    "source": source,
                    "destination": destination,
                    "short_channel_id": hop["short_channel_id"],
                    "capacity_msat": capacity_msat,
                },
                {
                    "short_channel_id_dir": f"{hop['short_channel_id']}/{int(source > destination)}",
                    "enabled": True,
                    "htlc_minimum_msat": 0,
                    "htlc_maximum_msat": capacity_msat,
                    "fee_base_msat": hop["fee_base_msat"],
                    "fee_proportional_millionths": hop["fee_proportional_millionths"],
                    "cltv_expiry_delta": hop["cltv_expiry_delta"],
                },
            )


async def _disable(rpc: Rpc, layer: str, channel_end: str) -> None:
    await rpc.call("askrene-update-channel", layer=layer, short_channel_id_dir=channel_end, enabled=False)


Path = Sequence[Json]
"""The hops of one part, as `getroutes` returns and `sendpay` accepts them."""

FINAL_PADDING_BLOCKS = 2
"""Added to the payee's final delta, in addition to the one block of sendpay: three blocks may be found meanwhile."""
BASIC_MPP = 0b11 << 16
"""`basic_mpp` (BOLT 9), required and optional."""


def most_parts(payment: Payment, decoded: Json) -> int:
    """Return the most parts of the payment: one if the payee does not support MPP."""
    takes_parts = int(decoded.get("features") or "0", 16) & BASIC_MPP
    return max(payment.max_parts, 1) if takes_parts else 1


def fewest_parts(payment: Payment) -> int:
    """Return the number of parts needed so that none delivers more than max_part_msat."""
    return 1 if payment.max_part_msat is None else -(-payment.amount_msat // max(payment.max_part_msat, 1))


def request(payment: Payment, decoded: Json, layer: str, own_id: str) -> Json:
    """Return the arguments of `getroutes` for the whole payment, without a limit of the part size."""
    return {
        "source": own_id,
        "destination": decoded["payee"],
        "amount_msat": payment.amount_msat,
        "layers": ["auto.localchans", "auto.sourcefree", layer],
        "maxfee_msat": payment.fee_limit_msat,
        "final_cltv": payment.invoice.min_final_cltv_expiry + payment.slack_blocks + FINAL_PADDING_BLOCKS,
        "maxdelay": min(payment.cltv_limit_blocks, MAX_ROUTE_BLOCKS) - 1,  # sendpay adds one block
        "maxparts": most_parts(payment, decoded),
    }


async def find(rpc: Rpc, order: Json, amounts_msat: Sequence[int]) -> list[Path]:
    """Return routes for these amounts, together within the order's limits. ClnRefusedError if there are none.

    askrene has no limit for the size of a part, so it is asked for one amount after the other, and the liquidity that
    the earlier parts use is reserved during the search for the later ones.
    """
    paths: list[Path] = []
    fee_left_msat = order["maxfee_msat"]
    set_aside: list[Json] = []
    try:
        for number, amount_msat in enumerate(amounts_msat, start=1):
            parts_left = order["maxparts"] - len(paths) - (len(amounts_msat) - number)
            asked = {**order, "amount_msat": amount_msat, "maxfee_msat": fee_left_msat, "maxparts": parts_left}
            found = [route["path"] for route in (await rpc.call("getroutes", **asked))["routes"]]
            paths += found
            fee_left_msat -= sum(path[0]["amount_in_msat"] - path[-1]["amount_out_msat"] for path in found)
            if number < len(amounts_msat):
                hops = [_taken(hop, order["layers"][-1]) for path in found for hop in path]
                await rpc.call("askrene-reserve", path=hops)
                set_aside += hops
    finally:
        if set_aside:
            await rpc.call("askrene-unreserve", path=set_aside)
    return paths


def even(amount_msat: int, parts: int) -> list[int]:
    """Split an amount into `parts` parts that differ by at most 1 msat, the larger ones first."""
    least, larger = divmod(amount_msat, parts)
    return [least + 1] * larger + [least] * (parts - larger)


def _taken(hop: Json, layer: str) -> Json:
    """Return the amount that a part uses in a channel, as an entry of `askrene-reserve`."""
    return {
        "short_channel_id_dir": hop["short_channel_id_dir"],
        "amount_msat": hop["amount_in_msat"],
        "layer": layer,
    }
