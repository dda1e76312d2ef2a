"""Sending the protocol's messages: each is wrapped in an onion made for it, and never used again."""

import secrets

from asyncpay.lightning import NodeId
from asyncpay.nodes.base import Node, NodeError
from asyncpay.wire import blinding, onion
from asyncpay.wire.blinding import BlindedPath, ChannelEnd, HopData
from asyncpay.wire.messages import Message
from asyncpay.wire.onion import OnionMessage, Payload

_KEY_BYTES = 32


async def send_to_peer(node: Node, peer: NodeId, message: Message) -> None:
    """Send a connected peer a message over a path of one hop. NodeError if it is not connected."""
    path = blinding.build(blinding.hops_through([peer], HopData()), secrets.token_bytes(_KEY_BYTES))
    await node.send_onion(peer, _wrap(path, message))


async def send_along(node: Node, node_id: NodeId, path: BlindedPath, message: Message) -> None:
    """Send a message along somebody's blinded path, by way of our own hops if its first node is no peer.

    node_id: our own. A path that begins at ourselves is peeled here, not sent. NodeError if there is no way.
    """
    first = path.first_node_id
    if isinstance(first, ChannelEnd):
        raise NodeError(f"a reply path that begins at a channel ({first.short_channel_id}) is not looked up")
    if first == node_id:
        await node.forward_onion(_wrap(path, message))
        return
    *own, _ = route = await node.onion_route(first)
    hops = blinding.hops_through(own, HopData()) if own else []
    joined = blinding.join(hops, path, secrets.token_bytes(_KEY_BYTES))
    await node.send_onion(route[0], _wrap(joined, message))


def _wrap(path: BlindedPath, message: Message) -> OnionMessage:
    return onion.build(path, Payload(async_payment=message.encode()), secrets.token_bytes(_KEY_BYTES))
