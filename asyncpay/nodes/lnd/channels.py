"""LND's peers and channels, and the forwarding policies and dust limits of its own channels."""

from collections.abc import Callable, Collection

from asyncpay.lightning import ChannelId, ChannelTerms, ForwardingPolicy, Link, NodeId, ShortChannelId
from asyncpay.nodes.event_stream import Links, NodeSnapshot, by_id
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln

ONION_MESSAGES = frozenset({38, 39})
"""`option_onion_messages` (BOLT 9), required and optional."""


async def snapshot(lnd: Connection) -> NodeSnapshot:
    """Return the current peers and channels. LND itself reports when an HTLC is removed."""
    links = await open_links(lnd)
    peers = await connected_peers(lnd)
    relaying = frozenset(peer for peer, told in peers.items() if ONION_MESSAGES & told.features.keys())
    return NodeSnapshot(links=links, online=frozenset(peers), relaying=relaying)


def link_of(channel: ln.Channel) -> Link:
    """Return the link for an open channel; `active` means in LND: the peer is connected and HTLCs can be added.

    A channel that the peer wants to close is listed like any other as long as HTLCs are on it.
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
    """Return the channel id for LND's chan_id, the only name that never changes, even if a zero-conf channel confirms:
    channeldb's OpenChannel.ShortChannelID remains the alias then (MarkRealScid stores the other in addition), and
    circuit keys, HTLC events, listings and contract resolvers use it.
    """
    return ChannelId.from_name(chan_id)


async def open_channels(lnd: Connection) -> list[ln.Channel]:
    """Return all open channels, usable or not, except those being closed."""
    with lnd.calling("list its channels"):
        return list((await lnd.lightning.ListChannels(ln.ListChannelsRequest(), timeout=CALL_SECONDS)).channels)


async def channels_with(lnd: Connection, peer: NodeId) -> list[ShortChannelId]:
    """Return the names of the open channels with this peer, usable or not."""
    return [link.short_channel_id for link in (await open_links(lnd)).values() if link.peer == peer]


async def peer_named(lnd: Connection) -> Callable[[ShortChannelId], NodeId | None]:
    """Return a look-up of a channel's other end by its names, requested from LND. An event stream has its own."""
    peers = {name: link.peer for link in (await open_links(lnd)).values() for name in link.names}
    return lambda name: peers.get(name)


async def open_links(lnd: Connection) -> Links:
    """Return the open channels as links."""
    return by_id(*map(link_of, await open_channels(lnd)))


async def connected_peers(lnd: Connection) -> dict[NodeId, ln.Peer]:
    """Return the connected peers, by their node ids."""
    with lnd.calling("list its peers"):
        peers = (await lnd.lightning.ListPeers(ln.ListPeersRequest(), timeout=CALL_SECONDS)).peers
    return {bytes.fromhex(peer.pub_key): peer for peer in peers}


HTLC_WEIGHT = 706
"""The weight of the larger second-stage transaction (BOLT 3, HTLC-success with anchors). On channels without
`option_anchors` an HTLC must pay its fee above the dust limit; with anchors other inputs pay it, and only the limit
counts.
"""
_WITH_HTLC_FEE = (ln.UNKNOWN_COMMITMENT_TYPE, ln.LEGACY, ln.STATIC_REMOTE_KEY)


async def channel_terms(lnd: Connection, peers: Collection[NodeId]) -> list[ChannelTerms]:
    """See Node.channel_terms."""
    found = []
    for peer in peers:
        with lnd.calling(f"list its channels with {peer.hex()}"):
            listed = await lnd.lightning.ListChannels(ln.ListChannelsRequest(peer=peer), timeout=CALL_SECONDS)
        for channel in listed.channels:
            link = link_of(channel)
            found.append(
                ChannelTerms(
                    peer=link.peer,
                    names=link.aliases | {link.short_channel_id},
                    policy=await policy_of(lnd, channel),
                    dust_msat=dust_msat(channel),
                )
            )
    return found


def dust_msat(channel: ln.Channel) -> int:
    """Return the amount below which an HTLC has no output on the commitment transaction of either side (BOLT 3)."""
    limit_sat = max(channel.local_constraints.dust_limit_sat, channel.remote_constraints.dust_limit_sat)
    fee_sat = channel.fee_per_kw * HTLC_WEIGHT // 1_000 if channel.commitment_type in _WITH_HTLC_FEE else 0
    return (limit_sat + fee_sat) * 1_000


def own_policy(edge: ln.ChannelEdge, peer: NodeId) -> ForwardingPolicy | None:
    """Return the policy of this node's end of the channel; None if LND has none (yet)."""
    if edge.node1_pub == peer.hex():
        known, policy = edge.HasField("node2_policy"), edge.node2_policy
    else:
        known, policy = edge.HasField("node1_policy"), edge.node1_policy
    if not known:
        return None
    return ForwardingPolicy(
        fee_base_msat=policy.fee_base_msat,
        fee_ppm=policy.fee_rate_milli_msat,
        cltv_delta_blocks=policy.time_lock_delta,
    )


async def policy_of(lnd: Connection, channel: ln.Channel) -> ForwardingPolicy | None:
    """Return the node's policy for one of its channels; None if LND knows none (yet).

    The look-up is by the funding output: LND's graph knows a channel under one name only, and not always the same.
    """
    try:
        with lnd.calling(f"look up its policy for channel {channel.channel_point}"):
            request = ln.ChanInfoRequest(chan_point=channel.channel_point)
            edge = await lnd.lightning.GetChanInfo(request, timeout=CALL_SECONDS)
    except LndRefusedError:
        return None
    return own_policy(edge, bytes.fromhex(channel.remote_pubkey))
