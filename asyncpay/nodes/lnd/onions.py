"""Onion messages through LND: it shows them whole, lends its node key to take a layer off, and knows ways for them."""

from collections.abc import Iterable
from functools import partial

import grpc

from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes import peeling
from asyncpay.nodes.lnd import channels
from asyncpay.nodes.lnd.channels import ONION_MESSAGES
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.onion_routes import GraphNode, Surroundings
from asyncpay.nodes.peeling import PeerNamed
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import signer_pb2 as signer
from asyncpay.wire.blinding import HopData
from asyncpay.wire.onion import Final, Forward, OnionMessage


async def peel(lnd: Connection, message: OnionMessage) -> Forward | Final:
    """See peeling.peel."""
    return await peeling.peel(_name(lnd), partial(_ecdh, lnd), message)


def next_node(lnd: Connection, data: HopData, peer_named: PeerNamed) -> NodeId:
    """See peeling.next_node."""
    return peeling.next_node(_name(lnd), data, peer_named)


async def read(
    lnd: Connection, update: ln.OnionMessageUpdate, peer_named: PeerNamed
) -> OnionReceived | OnionInTransit | None:
    """See peeling.read: an onion message that LND shows."""
    message = OnionMessage(update.path_key, update.onion)
    return await peeling.read(_name(lnd), partial(_ecdh, lnd), update.peer, message, peer_named)


async def surroundings(lnd: Connection) -> Surroundings:
    """Where a search begins, asked of LND. An event stream knows it without asking."""
    seen = await channels.snapshot(lnd)
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


def neighbours(node: NodeId, edges: Iterable[ln.ChannelEdge]) -> frozenset[NodeId]:
    """The other ends of a node's channels. A channel that both ends call disabled is down, and does not count."""
    up = (each for each in edges if not (each.node1_policy.disabled and each.node2_policy.disabled))
    ends = {bytes.fromhex(end) for channel in up for end in (channel.node1_pub, channel.node2_pub)}
    return frozenset(ends - {node})


async def _ecdh(lnd: Connection, point: bytes) -> bytes:
    request = signer.SharedKeyRequest(ephemeral_pubkey=point)
    with lnd.calling("derive a shared key"):
        return (await lnd.signer.DeriveSharedKey(request, timeout=CALL_SECONDS)).shared_key


def _name(lnd: Connection) -> str:
    return f"LND at {lnd.address}"
