"""LND's graph, searched for the way of an onion message (asyncpay.nodes.onion_routes)."""

from collections.abc import Iterable

import grpc

from asyncpay.lightning import NodeId
from asyncpay.nodes.lnd import reach
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.lnd.reach import ONION_MESSAGES
from asyncpay.nodes.onion_routes import GraphNode, Surroundings
from asyncpay.nodes.proto import lightning_pb2 as ln


async def surroundings(lnd: Connection) -> Surroundings:
    """Where a search begins, asked of LND. An event stream knows it without asking."""
    seen = await reach.look(lnd)
    with lnd.calling("tell who it is"):
        info = await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)
    return Surroundings(bytes.fromhex(info.identity_pubkey), seen.online, seen.first_hops)


async def look_up(lnd: Connection, node: NodeId) -> GraphNode | None:
    """What LND's graph has of a node; None for nothing."""
    request = ln.NodeInfoRequest(pub_key=node.hex(), include_channels=True)
    try:
        with lnd.calling(f"look up node {node.hex()}"):
            info = await lnd.lightning.GetNodeInfo(request, timeout=CALL_SECONDS)
    except LndRefusedError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    return GraphNode(bool(ONION_MESSAGES & info.node.features.keys()), neighbours(node, info.channels))


def neighbours(node: NodeId, channels: Iterable[ln.ChannelEdge]) -> frozenset[NodeId]:
    """The other ends of a node's channels. A channel that both ends call disabled is down, and does not count."""
    up = (each for each in channels if not (each.node1_policy.disabled and each.node2_policy.disabled))
    ends = {bytes.fromhex(end) for channel in up for end in (channel.node1_pub, channel.node2_pub)}
    return frozenset(ends - {node})
