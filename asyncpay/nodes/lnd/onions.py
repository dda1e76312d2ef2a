"""Onion messages through LND: it shows them whole, lends its node key to take a layer off, and knows ways for them."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

import grpc

from asyncpay.lightning import NodeId, ShortChannelId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes.base import OnionUnreadableError
from asyncpay.nodes.lnd import channels
from asyncpay.nodes.lnd.channels import ONION_MESSAGES
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.onion_routes import GraphNode, Surroundings
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import signer_pb2 as signer
from asyncpay.wire import ecdh, onion
from asyncpay.wire.blinding import HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import Final, Forward, OnionMessage

log = logging.getLogger(__name__)

PeerNamed: TypeAlias = Callable[[ShortChannelId], NodeId | None]
"""The other end of the channel that has this name; None if no such channel is known."""


async def peel(lnd: Connection, message: OnionMessage) -> Forward | Final:
    """Take this node's layer off. OnionUnreadableError if it is not for this node, or is to be ignored by BOLT 4."""

    async def node_key_ecdh(point: bytes) -> bytes:
        request = signer.SharedKeyRequest(ephemeral_pubkey=point)
        with lnd.calling("derive a shared key"):
            return (await lnd.signer.DeriveSharedKey(request, timeout=CALL_SECONDS)).shared_key

    try:
        return await ecdh.run_async(onion.peel_steps(message.packet, message.path_key), node_key_ecdh)
    except WireError as error:
        raise OnionUnreadableError(f"LND at {lnd.address} cannot read an onion message: {error}") from None


def next_node(data: HopData, peer_named: PeerNamed) -> NodeId:
    """To whom a peeled message goes. OnionUnreadableError if the layer names a channel that is not known here."""
    if data.next_node_id is not None:
        return data.next_node_id
    named = ShortChannelId(data.short_channel_id or 0)
    peer = peer_named(named)
    if peer is None:
        raise OnionUnreadableError(f"LND has no channel {named}, over which an onion message is to go")
    return peer


async def read(
    lnd: Connection, update: ln.OnionMessageUpdate, peer_named: PeerNamed
) -> OnionReceived | OnionInTransit | None:
    """What an onion message that LND shows is about. One that cannot be read is dropped, as BOLT 4 has it."""
    message = OnionMessage(update.path_key, update.onion)
    try:
        peeled = await peel(lnd, message)
        if isinstance(peeled, Forward):
            return OnionInTransit(
                source=update.peer,
                message=message,
                next_node_id=next_node(peeled.data, peer_named),
                payment_unblock=peeled.data.payment_unblock,
                undelivered=False,
            )
    except OnionUnreadableError as error:
        log.info("dropped an onion message from %s: %s", update.peer.hex(), error)
        return None
    return OnionReceived(
        path_id=peeled.data.path_id,
        payment_unblock=peeled.data.payment_unblock,
        async_payment=peeled.payload.async_payment,
        reply_path=peeled.payload.reply_path,
    )


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
