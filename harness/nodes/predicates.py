"""Predicates of nodes, on which tests and the testbed wait."""

from collections.abc import Collection, Sequence

from harness.nodes.base import Node
from harness.waits import Predicate


def ready(node: Node) -> Predicate:
    """The node answers every call and is synced to the chain."""
    return Predicate("ready", node.missing_to_be_ready)


def peer_gone(node: Node, peer: Node) -> Predicate:
    """The node knows that this peer is not connected."""

    def missing() -> str | None:
        return f"{node.name} still lists {peer.name} as its peer" if peer.node_id in node.peers() else None

    return Predicate("peer_gone", missing)


def peers_connected(one: Node, other: Node) -> Predicate:
    """Each of the two lists the other as its peer."""

    def missing() -> str | None:
        for node, peer in ((one, other), (other, one)):
            if peer.node_id not in node.peers():
                return f"{node.name} does not list {peer.name} as its peer"
        return None

    return Predicate("peers_connected", missing)


def nodes_announced(nodes: Sequence[Node], announced: Collection[Node]) -> Predicate:
    """Each of `nodes` knows the announcement, and therefore the features, of all others in `announced`."""

    def missing() -> str | None:
        for node in nodes:
            known = node.announced_nodes()
            unknown = [other.name for other in announced if other is not node and other.node_id not in known]
            if unknown:
                return f"{node.name} does not know the announcement of {', '.join(unknown)}"
        return None

    return Predicate("nodes_announced", missing)


def no_htlcs(nodes: Sequence[Node]) -> Predicate:
    """No channel of these nodes has an HTLC in flight: every payment is resolved, on every hop."""

    def missing() -> str | None:
        for node in nodes:
            if htlcs := sum(channel.htlcs for channel in node.channels()):
                return f"{node.name} has {htlcs} HTLC in flight"
        return None

    return Predicate("no_htlcs", missing)


def payment_gone(nodes: Sequence[Node], payment_hash: str) -> Predicate:
    """No channel of these nodes has an HTLC of this payment; other HTLCs may be in flight."""

    def missing() -> str | None:
        for node in nodes:
            if any(payment_hash in channel.htlc_hashes for channel in node.channels()):
                return f"{node.name} has an HTLC of payment {payment_hash} in flight"
        return None

    return Predicate("payment_gone", missing)


def lists_as_active(node: Node, funding: str) -> bool:
    """Whether the node reports its channel with this funding output (`txid:index`) as usable."""
    return any(channel.active for channel in node.channels() if channel.funding == funding)
