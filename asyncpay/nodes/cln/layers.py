"""What askrene is told for one payment, in a layer of its own: the invoice's hints, and channels to leave alone."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

from asyncpay.nodes.base import Payment
from asyncpay.nodes.cln import reach
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
        if payment.through is not None:
            for channel in await reach.open_channels(rpc):
                if channel["peer_id"] != payment.through.hex():
                    await _disable(rpc, layer, f"{reach.names_of(channel)[0]}/{channel['direction']}")
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
