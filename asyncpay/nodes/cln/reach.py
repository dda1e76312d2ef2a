"""CLN's peers, channels and the HTLCs on them (asyncpay.nodes.reach)."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import Link, NodeId, PendingHtlc, ShortChannelId
from asyncpay.nodes.cln import htlcs
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.reach import Sight, by_name

Json = Mapping[str, Any]

OPEN = ("CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE")
"""The states in which a channel carries HTLCs."""


async def look(rpc: Rpc) -> Sight:
    """What is there now.

    CLN says that a peer has connected before its channels are re-established, and nothing of an HTLC that leaves
    the channel on which it came.
    """
    channels = await open_channels(rpc)
    return Sight(
        links=by_name(*map(link_of, channels)),
        online=frozenset(await connected_peers(rpc)),
        htlcs=frozenset(htlc.key for channel in channels for htlc in pending_htlcs(channel) if htlc.incoming),
        moving=any(is_moving(channel) for channel in channels),
    )


async def open_channels(rpc: Rpc) -> list[Json]:
    """The entries of `listpeerchannels` that carry HTLCs, usable now or not; those being closed are left out."""
    channels = (await rpc.call("listpeerchannels"))["channels"]
    return [channel for channel in channels if channel["state"] in OPEN]


async def connected_peers(rpc: Rpc) -> dict[NodeId, Json]:
    """The connected peers, by their node ids."""
    peers = (await rpc.call("listpeers"))["peers"]
    return {bytes.fromhex(peer["id"]): peer for peer in peers if peer["connected"]}


def name_of(channel: Json) -> ShortChannelId:
    """The channel's main name: where it was funded or, as long as it is unconfirmed, our alias for it."""
    return ShortChannelId.parse(channel.get("short_channel_id") or channel["alias"]["local"])


def link_of(channel: Json) -> Link:
    """An open channel."""
    name = name_of(channel)
    aliases = {ShortChannelId.parse(alias) for side, alias in channel.get("alias", {}).items() if side == "local"}
    return Link(
        short_channel_id=name,
        aliases=frozenset(aliases - {name}),
        peer=bytes.fromhex(channel["peer_id"]),
        usable=channel["peer_connected"] and channel["reestablished"],
    )


def pending_htlcs(channel: Json) -> list[PendingHtlc]:
    """The HTLCs on an open channel."""
    name = name_of(channel)
    return [htlcs.pending_htlc(channel, name, htlc) for htlc in channel["htlcs"]]


def is_moving(channel: Json) -> bool:
    """Whether the channel's peer, being there, is about to re-establish it, or to see an HTLC off."""
    if not channel["peer_connected"]:
        return False
    leaving = (htlc["direction"] == "in" and "REMOVE" in htlc["state"] for htlc in channel["htlcs"])
    return not channel["reestablished"] or any(leaving)
