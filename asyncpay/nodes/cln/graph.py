"""CLN's graph, searched for the way of an onion message (asyncpay.nodes.onion_routes)."""

from asyncpay.lightning import NodeId
from asyncpay.nodes.cln import reach
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.onion_routes import GraphNode, Surroundings


async def surroundings(rpc: Rpc) -> Surroundings:
    """Where a search begins, asked of CLN. An event stream knows it without asking."""
    seen = await reach.look(rpc)
    own_id = bytes.fromhex((await rpc.call("getinfo"))["id"])
    return Surroundings(own_id, seen.online, seen.first_hops)


async def look_up(rpc: Rpc, node: NodeId) -> GraphNode | None:
    """What CLN's graph has of a node; None for nothing."""
    nodes = (await rpc.call("listnodes", id=node.hex()))["nodes"]
    if not nodes:
        return None
    channels = (await rpc.call("listchannels", source=node.hex()))["channels"]
    neighbours = (bytes.fromhex(channel["destination"]) for channel in channels if channel["active"])
    return GraphNode(reach.relays(nodes[0].get("features", "")), frozenset(neighbours))
