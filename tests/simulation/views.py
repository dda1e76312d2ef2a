"""What a simulated node shows of its channels and HTLCs, in the words of `asyncpay.lightning`."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from asyncpay.lightning import ChannelId, ChannelTerms, ForwardingPolicy, HeldHtlc, Link, NodeId, PendingHtlc

from .channels import DELTA_BLOCKS, DUST_MSAT, FEE_MSAT, Channel, SimHtlc

if TYPE_CHECKING:
    from .node import SimNode


def link(node: "SimNode", channel: Channel) -> Link:
    """A channel, as its end `node` sees it."""
    peer = channel.connection.other(node)
    return Link(
        channel_id=ChannelId.from_name(channel.scid),
        short_channel_id=channel.names[0],
        aliases=frozenset(channel.names[1:]),
        peer=peer.id,
        usable=channel.usable_by(node),
        closing=channel.closing_since is not None,
    )


def terms(node: "SimNode", peers: Collection[NodeId]) -> tuple[ChannelTerms, ...]:
    """What its open channels with these peers ask for; all forward on the same terms."""
    policy = ForwardingPolicy(fee_base_msat=FEE_MSAT, fee_ppm=0, cltv_delta_blocks=DELTA_BLOCKS)
    return tuple(
        ChannelTerms(peer=peer, names=frozenset(channel.names), policy=policy, dust_msat=DUST_MSAT)
        for peer in peers
        for channel in node.channels(peer)
        if not channel.closed
    )


def pending(node: "SimNode") -> tuple[PendingHtlc, ...]:
    """All HTLCs on open channels, both ways."""
    return tuple(
        PendingHtlc(
            key=htlc.key,
            peer=channel.connection.other(node).id,
            incoming=htlc.offerer is not node,
            payment_hash=htlc.payment_hash,
            amount_msat=htlc.amount_msat,
            expiry=htlc.expiry,
        )
        for channel in node.channels()
        if not channel.closed
        for htlc in channel.htlcs
        if htlc.arrived or htlc.offerer is node
    )


def held(node: "SimNode", htlc: SimHtlc) -> HeldHtlc:
    """An HTLC on which the node waits for its component."""
    step = htlc.way[0]
    onwards = node.channels(step.to)
    return HeldHtlc(
        key=htlc.key,
        payment_hash=htlc.payment_hash,
        peer=htlc.offerer.id,
        incoming_amount_msat=htlc.amount_msat,
        outgoing_amount_msat=step.amount_msat,
        incoming_expiry=htlc.expiry,
        outgoing_expiry=step.expiry,
        outgoing_channel=onwards[0].names[0] if onwards else None,
    )
