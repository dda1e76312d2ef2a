"""What a node may lose though its component decides well: by dust that it forwards, and by not running in time."""

from bisect import bisect_left

from .channels import SimHtlc
from .node import SimNode


def lost_by_death(node: SimNode, incoming: SimHtlc, outgoing_expiry: int) -> bool:
    """Return whether `node` did not run when it had to, and so its peer took this HTLC back on chain.

    outgoing_expiry: of what the node pays for it. In a block from there to the expiry of the incoming HTLC the node
    would have gone on chain, and learnt there whether it is owed that HTLC: BOLT 2, "`cltv_expiry_delta` Selection".
    What the node itself failed, or has failed by its component, is not lost like this.
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
