"""Onion messages of a node that shows them whole, and offers ECDH with its key to peel a layer."""

import logging
from collections.abc import Callable
from typing import TypeAlias

from asyncpay.lightning import NodeId, ShortChannelId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes.base import OnionUnreadableError
from asyncpay.wire import ecdh, onion
from asyncpay.wire.blinding import HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import Final, Forward, OnionMessage

log = logging.getLogger(__name__)

PeerNamed: TypeAlias = Callable[[ShortChannelId], NodeId | None]
"""Return the other end of the channel with this name; None if there is no such channel."""


async def peel(node: str, node_key_ecdh: ecdh.AsyncOracle, message: OnionMessage) -> Forward | Final:
    """Peel this node's layer. OnionUnreadableError if it is not for this node, or must be ignored by BOLT 4.

    node: its name in errors, such as "LND at host:port".
    """
    try:
        return await ecdh.run_async(onion.peel_steps(message.packet, message.path_key), node_key_ecdh)
    except WireError as error:
        raise OnionUnreadableError(f"{node} cannot read an onion message: {error}") from None


def next_node(node: str, data: HopData, peer_named: PeerNamed) -> NodeId:
    """Return the next node of a peeled message. OnionUnreadableError if its layer names an unknown channel."""
    if data.next_node_id is not None:
        return data.next_node_id
    named = ShortChannelId(data.short_channel_id or 0)
    peer = peer_named(named)
    if peer is None:
        raise OnionUnreadableError(f"{node} has no channel {named}, which is the next hop of an onion message")
    return peer


async def read(
    node: str, node_key_ecdh: ecdh.AsyncOracle, source: NodeId, message: OnionMessage, peer_named: PeerNamed
) -> OnionReceived | OnionInTransit | None:
    """Return the event for a message from this peer. An unreadable message is dropped, as BOLT 4 requires."""
    try:
        peeled = await peel(node, node_key_ecdh, message)
        if isinstance(peeled, Forward):
            return OnionInTransit(
                source=source,
                message=message,
                next_node_id=next_node(node, peeled.data, peer_named),
                payment_unblock=peeled.data.payment_unblock,
                undelivered=False,
            )
    except OnionUnreadableError as error:
        log.info("dropped an onion message from %s: %s", source.hex(), error)
        return None
    return OnionReceived(
        path_id=peeled.data.path_id,
        payment_unblock=peeled.data.payment_unblock,
        async_payment=peeled.payload.async_payment,
        reply_path=peeled.payload.reply_path,
    )
