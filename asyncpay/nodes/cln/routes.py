"""The routes of a payment's parts, found by askrene (`getroutes`), and what askrene is told for one payment.

That is a layer of its own with the invoice's hints and channels to leave alone.
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
    """Make the payment's layer, by this name, for as long as it is needed."""
    layer = f"asyncpay-{decoded['payment_hash']}"
    with suppress(ClnRefusedError):  # one that an interrupted payment has left behind
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
    """Leave the channel alone that `waitsendpay` blames."""
    if "erring_channel" in failure:
        await _disable(rpc, layer, f"{failure['erring_channel']}/{failure['erring_direction']}")


def hinted_channels(payment: Payment, decoded: Json, own_id: str) -> Iterator[tuple[Json, Json]]:
    """The channels of the invoice's hints, as askrene makes them and as it updates them.

    A hint does not say how much its channel can carry: enough for the payment is assumed. The payee wrote the hints, so
    what askrene refuses, or what is not for the payee to say, is left out: a channel from a node to itself, one that is
    there twice, and of a hint that leads through this node all up to it and its own channel.
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
"""The hops of one part, as `getroutes` tells them and `sendpay` takes them."""

FINAL_PADDING_BLOCKS = 2
"""Added to what the payee asks for, beside the one block that sendpay adds: three blocks may come on the way."""
BASIC_MPP = 0b11 << 16
"""`basic_mpp` (BOLT 9), required and optional."""


def most_parts(payment: Payment, decoded: Json) -> int:
    """Into how many parts the payment may be split: one, if the payee takes no more."""
    takes_parts = int(decoded.get("features") or "0", 16) & BASIC_MPP
    return max(payment.max_parts, 1) if takes_parts else 1


def fewest_parts(payment: Payment) -> int:
    """How many parts there must be for each to bring the payee no more than it may."""
    return 1 if payment.max_part_msat is None else -(-payment.amount_msat // max(payment.max_part_msat, 1))


def request(payment: Payment, decoded: Json, layer: str, own_id: str) -> Json:
    """What is asked of `getroutes`, were the whole payment free to be split in any way."""
    return {
        "source": own_id,
        "destination": decoded["payee"],
        "amount_msat": payment.amount_msat,
        "layers": ["auto.localchans", "auto.sourcefree", layer],
        "maxfee_msat": payment.fee_limit_msat,
        "final_cltv": payment.invoice.min_final_cltv_expiry + payment.slack_blocks + FINAL_PADDING_BLOCKS,
        "maxdelay": min(payment.cltv_limit_blocks, MAX_ROUTE_BLOCKS) - 1,  # sendpay adds that block
        "maxparts": most_parts(payment, decoded),
    }


async def find(rpc: Rpc, order: Json, amounts_msat: Sequence[int]) -> list[Path]:
    """Routes for these amounts, together within the order's limits. ClnRefusedError if there are none.

    askrene knows no limit to what one part may bring, so it is asked for one amount after the other, and told to set
    aside for those to come what the earlier ones take.
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
    """An amount in so many parts that differ by 1 msat at most, the larger ones first."""
    least, larger = divmod(amount_msat, parts)
    return [least + 1] * larger + [least] * (parts - larger)


def _taken(hop: Json, layer: str) -> Json:
    """What a part takes of a channel, as `askrene-reserve` is told of it."""
    return {
        "short_channel_id_dir": hop["short_channel_id_dir"],
        "amount_msat": hop["amount_in_msat"],
        "layer": layer,
    }
