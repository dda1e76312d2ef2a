"""CLN's graph, searched for the way of an onion message (asyncpay.nodes.onion_routes)."""

from asyncpay.lightning import NodeId
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.cln.reach import connected_peers, link_of, open_channels
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.onion_routes import GraphNode, RememberedGraph, shortest

ONION_MESSAGES = 0b11 << 38
"""`option_onion_messages` (BOLT 9), required and optional."""


async def onion_route(rpc: Rpc, graph: RememberedGraph, destination: NodeId, max_lookups: int) -> tuple[NodeId, ...]:
    """See Node.onion_route. It begins at this node: CLN has no other way to send than to peel a layer of its own.

    A connected peer is reached directly, announced or not. Anybody else must be announced: of what is behind an
    unannounced channel nobody's graph tells, and its owner's blinded path is the way.
    """
    own_id = bytes.fromhex((await rpc.call("getinfo"))["id"])
    peers = await connected_peers(rpc)
    if destination in peers:
        return (own_id, destination)
    with_channel = {link.peer for link in map(link_of, await open_channels(rpc)) if link.usable}
    relaying = {peer for peer in with_channel & peers.keys() if relays(peers[peer].get("features", ""))}
    route = await shortest(own_id, destination, relaying, graph.look_up, max_lookups)
    if route is None:
        raise NodeError(
            f"CLN at {rpc.socket} knows no way for an onion message to {destination.hex()}: it is no connected peer, "
            "and not announced within reach of one that relays onion messages"
        )
    return (own_id, *route)


def relays(features: str) -> bool:
    """Whether a node with these feature bits (BOLT 9, in hex) relays onion messages."""
    return bool(int(features or "0", 16) & ONION_MESSAGES)


async def look_up(rpc: Rpc, node: NodeId) -> GraphNode | None:
    """What CLN's graph has of a node; None for nothing."""
    nodes = (await rpc.call("listnodes", id=node.hex()))["nodes"]
    if not nodes:
        return None
    channels = (await rpc.call("listchannels", source=node.hex()))["channels"]
    neighbours = (bytes.fromhex(channel["destination"]) for channel in channels if channel["active"])
    return GraphNode(relays(nodes[0].get("features", "")), frozenset(neighbours))
