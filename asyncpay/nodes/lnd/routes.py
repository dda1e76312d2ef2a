"""LND's graph, searched for the way of an onion message (asyncpay.nodes.onion_routes)."""

from collections.abc import Iterable

import grpc

from asyncpay.lightning import NodeId
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.lnd.reach import connected_peers, open_links
from asyncpay.nodes.onion_routes import GraphNode, RememberedGraph, shortest
from asyncpay.nodes.proto import lightning_pb2 as ln

ONION_MESSAGES = frozenset({38, 39})
"""`option_onion_messages` (BOLT 9), required and optional."""


async def onion_route(
    lnd: Connection, graph: RememberedGraph, destination: NodeId, max_lookups: int
) -> tuple[NodeId, ...]:
    """See Node.onion_route.

    A connected peer is reached directly, announced or not. Anybody else must be announced: of what is behind an
    unannounced channel nobody's graph tells, and its owner's blinded path is the way.
    """
    peers = await connected_peers(lnd)
    if destination in peers:
        return (destination,)
    with_channel = {link.peer for link in (await open_links(lnd)).values() if link.usable}
    relaying = {peer for peer in with_channel & peers.keys() if ONION_MESSAGES & peers[peer].features.keys()}
    route = await shortest(await _own_id(lnd), destination, relaying, graph.look_up, max_lookups)
    if route is None:
        raise NodeError(
            f"LND at {lnd.address} knows no way for an onion message to {destination.hex()}: it is no connected peer, "
            "and not announced within reach of one that relays onion messages"
        )
    return route


async def _own_id(lnd: Connection) -> NodeId:
    with lnd.calling("tell who it is"):
        info = await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)
    return bytes.fromhex(info.identity_pubkey)


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
