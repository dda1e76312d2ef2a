"""What LND's own channels ask for and protect: forwarding policies and dust limits."""

from collections.abc import Collection

from asyncpay.lightning import ChannelTerms, ForwardingPolicy, NodeId
from asyncpay.nodes.lnd import reach
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln

HTLC_WEIGHT = 706
"""Of the larger second-stage transaction (BOLT 3, HTLC-success with anchors). On channels without `option_anchors` an
HTLC must bear its fee above the dust limit; with anchors the fee comes from elsewhere, and only the limit counts.
"""
_WITH_HTLC_FEE = (ln.UNKNOWN_COMMITMENT_TYPE, ln.LEGACY, ln.STATIC_REMOTE_KEY)


async def channel_terms(lnd: Connection, peers: Collection[NodeId]) -> list[ChannelTerms]:
    """See Node.channel_terms."""
    found = []
    for peer in peers:
        with lnd.calling(f"list its channels with {peer.hex()}"):
            listed = await lnd.lightning.ListChannels(ln.ListChannelsRequest(peer=peer), timeout=CALL_SECONDS)
        for channel in listed.channels:
            link = reach.link_of(channel)
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
    """Below this an HTLC has no output on the commitment transaction of one side or the other (BOLT 3)."""
    limit_sat = max(channel.local_constraints.dust_limit_sat, channel.remote_constraints.dust_limit_sat)
    fee_sat = channel.fee_per_kw * HTLC_WEIGHT // 1_000 if channel.commitment_type in _WITH_HTLC_FEE else 0
    return (limit_sat + fee_sat) * 1_000


def own_policy(edge: ln.ChannelEdge, peer: NodeId) -> ForwardingPolicy | None:
    """The policy of the end that is not the peer; None if LND has none (yet)."""
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
    """The node's own policy for a channel of its own, None if LND knows none (yet).

    By the funding output: LND's graph knows a channel under one name only, and not always the same.
    """
    try:
        with lnd.calling(f"tell its policy for channel {channel.channel_point}"):
            request = ln.ChanInfoRequest(chan_point=channel.channel_point)
            edge = await lnd.lightning.GetChanInfo(request, timeout=CALL_SECONDS)
    except LndRefusedError:
        return None
    return own_policy(edge, bytes.fromhex(channel.remote_pubkey))
