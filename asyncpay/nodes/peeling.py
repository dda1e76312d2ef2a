"""Onion messages through a node that shows them whole, and lends its key to take a layer off."""

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
"""The other end of the channel that has this name; None if no such channel is known."""


async def peel(node: str, node_key_ecdh: ecdh.AsyncOracle, message: OnionMessage) -> Forward | Final:
    """Take this node's layer off. OnionUnreadableError if it is not for this node, or is to be ignored by BOLT 4.

    node: what errors call it, such as "LND at host:port".
    """
    try:
        return await ecdh.run_async(onion.peel_steps(message.packet, message.path_key), node_key_ecdh)
    except WireError as error:
        raise OnionUnreadableError(f"{node} cannot read an onion message: {error}") from None


def next_node(node: str, data: HopData, peer_named: PeerNamed) -> NodeId:
    """To whom a peeled message goes. OnionUnreadableError if the layer names a channel that is not known here."""
    if data.next_node_id is not None:
        return data.next_node_id
    named = ShortChannelId(data.short_channel_id or 0)
    peer = peer_named(named)
    if peer is None:
        raise OnionUnreadableError(f"{node} has no channel {named}, over which an onion message is to go")
    return peer


async def read(
    node: str, node_key_ecdh: ecdh.AsyncOracle, source: NodeId, message: OnionMessage, peer_named: PeerNamed
) -> OnionReceived | OnionInTransit | None:
    """What a message from this peer is about. One that cannot be read is dropped, as BOLT 4 has it."""
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
