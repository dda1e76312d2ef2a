"""LDK's peers, channels and the HTLCs on them (asyncpay.nodes.event_stream)."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, Link, PendingHtlc, ShortChannelId
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.event_stream import NodeSnapshot, by_id
from asyncpay.nodes.ldk import htlcs
from asyncpay.nodes.ldk.rpc import Rpc
from asyncpay.nodes.peeling import PeerNamed

Json = Mapping[str, Any]


async def snapshot(rpc: Rpc) -> NodeSnapshot:
    """Return the current peers and channels. LDK does not report when an HTLC is removed from its incoming channel."""
    open_ = await open_channels(rpc)
    peers = (await rpc.call("listpeers"))["peers"]
    return NodeSnapshot(
        links=by_id(*map(link_of, open_)),
        online=frozenset(bytes.fromhex(peer["id"]) for peer in peers),
        relaying=frozenset(bytes.fromhex(peer["id"]) for peer in peers if peer["relays_onion_messages"]),
        names={name: channel_id(channel) for channel in open_ for name in names_of(channel)},
        htlcs=frozenset(htlc.key for channel in open_ for htlc in pending_htlcs(channel) if htlc.incoming),
        moving=any(is_moving(channel) for channel in open_),
    )


async def open_channels(rpc: Rpc) -> list[Json]:
    """Return the channels that carry HTLCs, usable now or not."""
    return [channel for channel in await listed_channels(rpc) if channel["ready"]]


async def force_close(rpc: Rpc, channel_id: ChannelId) -> None:
    """See Node.force_close. ldkd answers once bitcoind has the transaction."""
    if channel_id.name is not None:
        raise NodeError(f"LDK at {rpc.socket} has no channel {channel_id}: its channels have ids of 32 bytes")
    for channel in await listed_channels(rpc):
        if channel["channel_id"] == channel_id.hex():
            await rpc.call("forceclose", channel_id=channel["channel_id"], peer=channel["peer"])


async def listed_channels(rpc: Rpc) -> list[Json]:
    """Return the entries of `listchannels`: LDK lists no channels that go on chain."""
    channels: list[Json] = (await rpc.call("listchannels"))["channels"]
    return channels


async def peer_named(rpc: Rpc) -> PeerNamed:
    """Return a look-up of a channel's other end by its names, requested from LDK. An event stream has its own."""
    channels = await open_channels(rpc)
    peers = {name: bytes.fromhex(channel["peer"]) for channel in channels for name in names_of(channel)}
    return lambda name: peers.get(name)


def channel_id(channel: Json) -> ChannelId:
    """Return BOLT 2's channel_id, which neither confirmation nor a splice changes."""
    return ChannelId.fromhex(channel["channel_id"])


def names_of(channel: Json) -> tuple[ShortChannelId, ...]:
    """Return this node's names of a channel: its short channel id, if confirmed, and our alias."""
    names = channel["short_channel_id"], channel["local_alias"]
    return tuple(dict.fromkeys(ShortChannelId(name) for name in names if name is not None))


def link_of(channel: Json) -> Link:
    """Return the link for a channel that carries HTLCs."""
    name, *aliases = names_of(channel)
    return Link(
        channel_id=channel_id(channel),
        short_channel_id=name,
        aliases=frozenset(aliases),
        peer=bytes.fromhex(channel["peer"]),
        usable=channel["usable"] and not channel["closing"],
        closing=channel["closing"],
    )


def pending_htlcs(channel: Json) -> list[PendingHtlc]:
    """Return the HTLCs on a channel, except unsent ones: they have no HTLC id, and cannot be resolved."""
    return [htlcs.pending_htlc(channel, htlc) for htlc in channel["htlcs"] if htlc["id"] is not None]


def is_moving(channel: Json) -> bool:
    """Return whether a change is pending: the connected peer is re-establishing the channel, or an HTLC is leaving."""
    if not channel["connected"]:
        return False
    leaving = (htlc["direction"] == "in" and htlc["leaving"] for htlc in channel["htlcs"])
    return not (channel["usable"] or channel["closing"]) or any(leaving)
