"""Onion messages through LDK: ldkd shows them whole, and offers ECDH with its node key (asyncpay.nodes.peeling) and
the graph for their routes.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes import peeling
from asyncpay.nodes.ldk import channels
from asyncpay.nodes.ldk.rpc import Rpc
from asyncpay.nodes.onion_routes import GraphNode, Surroundings
from asyncpay.nodes.peeling import PeerNamed
from asyncpay.wire.blinding import HopData
from asyncpay.wire.onion import Final, Forward, OnionMessage


async def peel(rpc: Rpc, message: OnionMessage) -> Forward | Final:
    """See peeling.peel."""
    return await peeling.peel(_name(rpc), partial(_ecdh, rpc), message)


def next_node(rpc: Rpc, data: HopData, peer_named: PeerNamed) -> NodeId:
    """See peeling.next_node."""
    return peeling.next_node(_name(rpc), data, peer_named)


async def read(rpc: Rpc, payload: Mapping[str, Any], peer_named: PeerNamed) -> OnionReceived | OnionInTransit | None:
    """See peeling.read, for an onion message that ldkd shows. Raises numbers.UNREADABLE."""
    message = OnionMessage(bytes.fromhex(payload["path_key"]), bytes.fromhex(payload["packet"]))
    return await peeling.read(_name(rpc), partial(_ecdh, rpc), bytes.fromhex(payload["peer"]), message, peer_named)


async def surroundings(rpc: Rpc) -> Surroundings:
    """Return the start of a search, requested from LDK. An event stream knows it without a request."""
    seen = await channels.snapshot(rpc)
    own_id = bytes.fromhex((await rpc.call("getinfo"))["id"])
    return Surroundings(own_id, seen.online, seen.first_hops)


async def look_up(rpc: Rpc, node: NodeId) -> GraphNode | None:
    """Return the entry of a node in LDK's graph; None if there is none."""
    found = await rpc.call("getnode", peer=node.hex())
    if found is None:
        return None
    return GraphNode(found["relays_onion_messages"], frozenset(map(bytes.fromhex, found["neighbours"])))


async def _ecdh(rpc: Rpc, point: bytes) -> bytes:
    return bytes.fromhex((await rpc.call("ecdh", point=point.hex()))["shared_key"])


def _name(rpc: Rpc) -> str:
    return f"LDK at {rpc.socket}"
