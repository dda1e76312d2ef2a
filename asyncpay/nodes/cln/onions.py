"""CLN's reports of onion messages, and look-ups in its graph for their routes (asyncpay.nodes.onion_routes).

It shows the messages for itself decrypted, and the messages that it could not forward as received. It peels them itself
and offers no ECDH with its node key, so a message in transit cannot be read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from asyncpay.lightning import NodeId, ShortChannelId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes.cln import channels
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.onion_routes import GraphNode, Surroundings
from asyncpay.wire.blinding import BlindedHop, BlindedPath, ChannelEnd
from asyncpay.wire.onion import ASYNC_PAYMENT, OnionMessage

Json = Mapping[str, Any]


def received(payload: Json) -> OnionReceived:
    """Read `onion_message_recv` or, if there is a path_id of 32 bytes, `onion_message_recv_secret`.

    CLN does not show payment_unblock; therefore a release whose path ends here has the pid as its path_id.
    WireError if the reply path is invalid.
    """
    fields = {field["number"]: bytes.fromhex(field["value"]) for field in payload["unknown_fields"]}
    secret, reply = payload.get("pathsecret"), payload.get("reply_blindedpath")
    return OnionReceived(
        path_id=None if secret is None else bytes.fromhex(secret),
        async_payment=fields.get(ASYNC_PAYMENT),
        reply_path=None if reply is None else _path(reply),
    )


def undelivered(payload: Json, peer_named: Callable[[ShortChannelId], NodeId | None]) -> OnionInTransit | None:
    """Read `onionmessage_forward_fail`; None if CLN could not read the message, or its next node is unknown."""
    node, channel = payload.get("next_node_id"), payload.get("next_short_channel_id_dir")
    if node is not None:
        next_node: NodeId | None = bytes.fromhex(node)
    else:
        next_node = None if channel is None else peer_named(_channel_end(channel)[0])
    if next_node is None:
        return None
    return OnionInTransit(
        source=bytes.fromhex(payload["source"]),
        message=OnionMessage(bytes.fromhex(payload["path_key"]), bytes.fromhex(payload["incoming"])),
        next_node_id=next_node,
        undelivered=True,
    )


def _path(path: Json) -> BlindedPath:
    if "first_node_id" in path:
        first: NodeId | ChannelEnd = bytes.fromhex(path["first_node_id"])
    else:
        first = ChannelEnd(path["first_scid_dir"], ShortChannelId.parse(path["first_scid"]))
    hops = (
        BlindedHop(bytes.fromhex(hop["blinded_node_id"]), bytes.fromhex(hop["encrypted_recipient_data"]))
        for hop in path["hops"]
    )
    return BlindedPath(first, bytes.fromhex(path["first_path_key"]), tuple(hops))


def _channel_end(text: str) -> tuple[ShortChannelId, int]:
    """Parse `700000x12x1/0`: a channel and one of its ends."""
    channel, _, direction = text.partition("/")
    return ShortChannelId.parse(channel), int(direction)


async def surroundings(rpc: Rpc) -> Surroundings:
    """Return the start of a search, requested from CLN. An event stream knows it without a request."""
    seen = await channels.snapshot(rpc)
    own_id = bytes.fromhex((await rpc.call("getinfo"))["id"])
    return Surroundings(own_id, seen.online, seen.first_hops)


async def look_up(rpc: Rpc, node: NodeId) -> GraphNode | None:
    """Return the entry of a node in CLN's graph; None if there is none."""
    nodes = (await rpc.call("listnodes", id=node.hex()))["nodes"]
    if not nodes:
        return None
    listed = (await rpc.call("listchannels", source=node.hex()))["channels"]
    neighbours = (bytes.fromhex(channel["destination"]) for channel in listed if channel["active"])
    return GraphNode(channels.relays(nodes[0].get("features", "")), frozenset(neighbours))
