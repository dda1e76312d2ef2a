"""CLN's peers, channels and the HTLCs on them (asyncpay.nodes.reach)."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, Link, NodeId, PendingHtlc, ShortChannelId
from asyncpay.nodes.cln import htlcs
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.reach import Sight, by_id

Json = Mapping[str, Any]

OPEN = ("CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE")
"""The states in which HTLCs can be added to a channel."""
CLOSING = "CHANNELD_SHUTTING_DOWN"
"""The state in which the HTLCs on a channel are failed or settled before it is closed by agreement."""

ONION_MESSAGES = 0b11 << 38
"""`option_onion_messages` (BOLT 9), required and optional."""


async def look(rpc: Rpc) -> Sight:
    """What is there now.

    CLN says that a peer has connected before its channels are re-established, and nothing of an HTLC that leaves
    the channel on which it came.
    """
    listed = await listed_channels(rpc)
    channels = [channel for channel in listed if _carries_htlcs(channel)]
    peers = await connected_peers(rpc)
    return Sight(
        links=by_id(*map(link_of, channels)),
        online=frozenset(peers),
        relaying=frozenset(peer for peer, told in peers.items() if relays(told.get("features", ""))),
        names={name: channel_id(channel) for channel in listed for name in names_of(channel)},
        htlcs=frozenset(htlc.key for channel in channels for htlc in pending_htlcs(channel) if htlc.incoming),
        moving=any(is_moving(channel) for channel in channels),
    )


async def listed_channels(rpc: Rpc) -> list[Json]:
    """The entries of `listpeerchannels`; those of channels that are still being negotiated have no id yet."""
    channels = (await rpc.call("listpeerchannels"))["channels"]
    return [channel for channel in channels if "channel_id" in channel]


async def open_channels(rpc: Rpc) -> list[Json]:
    """The entries of `listpeerchannels` whose HTLCs can be answered, usable now or not."""
    return list(filter(_carries_htlcs, await listed_channels(rpc)))


async def connected_peers(rpc: Rpc) -> dict[NodeId, Json]:
    """The connected peers, by their node ids."""
    peers = (await rpc.call("listpeers"))["peers"]
    return {bytes.fromhex(peer["id"]): peer for peer in peers if peer["connected"]}


def relays(features: str) -> bool:
    """Whether a node with these feature bits (BOLT 9, in hex) relays onion messages."""
    return bool(int(features or "0", 16) & ONION_MESSAGES)


def channel_id(channel: Json) -> ChannelId:
    """BOLT 2's channel_id, which neither confirmation nor a splice changes."""
    return ChannelId.fromhex(channel["channel_id"])


def names_of(channel: Json) -> tuple[ShortChannelId, ...]:
    """The names that are ours to give: where it was funded, unless unconfirmed; and our alias. The first is what CLN
    calls it in hooks and events. Names before a splice are not listed.
    """
    names = channel.get("short_channel_id"), channel.get("alias", {}).get("local")
    return tuple(dict.fromkeys(ShortChannelId.parse(name) for name in names if name is not None))


def link_of(channel: Json) -> Link:
    """A channel that carries HTLCs."""
    name, *aliases = names_of(channel)
    return Link(
        channel_id=channel_id(channel),
        short_channel_id=name,
        aliases=frozenset(aliases),
        peer=bytes.fromhex(channel["peer_id"]),
        usable=channel["state"] in OPEN and channel["peer_connected"] and channel["reestablished"],
        closing=channel["state"] == CLOSING,
    )


def pending_htlcs(channel: Json) -> list[PendingHtlc]:
    """The HTLCs on a channel."""
    return [htlcs.pending_htlc(channel, channel_id(channel), htlc) for htlc in channel["htlcs"]]


def _carries_htlcs(channel: Json) -> bool:
    return channel["state"] in OPEN or channel["state"] == CLOSING


def is_moving(channel: Json) -> bool:
    """Whether the channel's peer, being there, is about to re-establish it, or to see an HTLC off."""
    if not channel["peer_connected"]:
        return False
    leaving = (htlc["direction"] == "in" and "REMOVE" in htlc["state"] for htlc in channel["htlcs"])
    return not channel["reestablished"] or any(leaving)
