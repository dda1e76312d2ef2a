"""LND's peers and channels (asyncpay.nodes.reach)."""

from collections.abc import Callable

from asyncpay.lightning import ChannelId, Link, NodeId, ShortChannelId
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.reach import Links, Sight, by_id

ONION_MESSAGES = frozenset({38, 39})
"""`option_onion_messages` (BOLT 9), required and optional."""


async def look(lnd: Connection) -> Sight:
    """What is there now. LND tells by itself when an HTLC leaves."""
    links = await open_links(lnd)
    peers = await connected_peers(lnd)
    relaying = frozenset(peer for peer, told in peers.items() if ONION_MESSAGES & told.features.keys())
    return Sight(links=links, online=frozenset(peers), relaying=relaying)


def link_of(channel: ln.Channel) -> Link:
    """An open channel as LND lists it; `active` is LND's word for: peer connected, and HTLCs can be added.

    A channel that the peer wants to close is listed like any other for as long as HTLCs are on it.
    """
    name = ShortChannelId(channel.chan_id)
    others = {*channel.alias_scids, channel.zero_conf_confirmed_scid} - {name, 0}
    return Link(
        channel_id=channel_id(channel.chan_id),
        short_channel_id=name,
        aliases=frozenset(map(ShortChannelId, others)),
        peer=bytes.fromhex(channel.remote_pubkey),
        usable=channel.active,
    )


def channel_id(chan_id: int) -> ChannelId:
    """LND's chan_id is the one name of a channel that never changes, not even when a zero-conf channel is confirmed:
    channeldb's OpenChannel.ShortChannelID stays the alias then (MarkRealScid notes the other down beside it), and it is
    what circuit keys, HTLC events, listings and contract resolvers use.
    """
    return ChannelId.from_name(chan_id)


async def open_channels(lnd: Connection) -> list[ln.Channel]:
    """All open channels, usable or not; those being closed are left out."""
    with lnd.calling("list its channels"):
        return list((await lnd.lightning.ListChannels(ln.ListChannelsRequest(), timeout=CALL_SECONDS)).channels)


async def channels_with(lnd: Connection, peer: NodeId) -> list[ShortChannelId]:
    """The open channels with this peer, usable or not."""
    return [link.short_channel_id for link in (await open_links(lnd)).values() if link.peer == peer]


async def peer_named(lnd: Connection) -> Callable[[ShortChannelId], NodeId | None]:
    """Whose channel has a name, asked of LND. An event stream knows it without asking."""
    peers = {name: link.peer for link in (await open_links(lnd)).values() for name in link.names}
    return lambda name: peers.get(name)


async def open_links(lnd: Connection) -> Links:
    """The open channels as links."""
    return by_id(*map(link_of, await open_channels(lnd)))


async def connected_peers(lnd: Connection) -> dict[NodeId, ln.Peer]:
    """The connected peers, by their node ids."""
    with lnd.calling("list its peers"):
        peers = (await lnd.lightning.ListPeers(ln.ListPeersRequest(), timeout=CALL_SECONDS)).peers
    return {bytes.fromhex(peer.pub_key): peer for peer in peers}
