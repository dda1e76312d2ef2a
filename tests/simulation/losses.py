"""Losses of a node in spite of correct decisions of its component: by forwarded dust, and by not running in time."""

from bisect import bisect_left

from .channels import SimHtlc
from .node import SimNode


def lost_by_death(node: SimNode, incoming: SimHtlc, outgoing_expiry: int) -> bool:
    """Return whether `node` did not run when it had to, and so its peer took this HTLC back on chain.

    outgoing_expiry: of the node's outgoing payment for it. In a block between that and the expiry of the incoming HTLC
    the node would have gone on chain, and learnt the preimage there: BOLT 2, "`cltv_expiry_delta` Selection".
    HTLCs that the node itself failed, or that its component failed, are not lost in this way.
    """
    if incoming.resolved or not incoming.gone:
        return False
    at = bisect_left(node.heights, outgoing_expiry + node.implementation.closes_after_blocks)
    return at == len(node.heights) or node.heights[at] > incoming.expiry


def paid_while_dead(node: SimNode) -> list[SimHtlc]:
    """Return the HTLCs of which the node's peer had the preimage, and for which the node got nothing."""
    return [
        outgoing
        for outgoing in node.circuits.values()
        if outgoing.preimage is not None
        and outgoing.incoming is not None
        and lost_by_death(node, outgoing.incoming, outgoing.expiry)
    ]


def excused_msat(node: SimNode) -> int:
    """Return what the node may have lost in these two ways."""
    return sum(htlc.amount_msat for htlc in (*node.lost_dust, *paid_while_dead(node)))
