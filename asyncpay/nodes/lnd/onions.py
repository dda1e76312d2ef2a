"""Onion messages through LND: it shows them whole, and lends its node key to take a layer off."""

import logging

from asyncpay.lightning import NodeId, ShortChannelId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.nodes.base import OnionUnreadableError
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection
from asyncpay.nodes.lnd.reach import open_links
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import signer_pb2 as signer
from asyncpay.wire import ecdh, onion
from asyncpay.wire.blinding import HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import Final, Forward, OnionMessage

log = logging.getLogger(__name__)


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


async def next_node(lnd: Connection, data: HopData) -> NodeId:
    """To whom a peeled message goes. OnionUnreadableError if the layer names a channel that is not open here."""
    if data.next_node_id is not None:
        return data.next_node_id
    named = ShortChannelId(data.short_channel_id or 0)
    for link in (await open_links(lnd)).values():
        if named in link.names:
            return link.peer
    raise OnionUnreadableError(f"LND at {lnd.address} has no channel {named}, over which an onion message is to go")


async def read(lnd: Connection, update: ln.OnionMessageUpdate) -> OnionReceived | OnionInTransit | None:
    """What an onion message that LND shows is about. One that cannot be read is dropped, as BOLT 4 has it."""
    message = OnionMessage(update.path_key, update.onion)
    try:
        peeled = await peel(lnd, message)
        if isinstance(peeled, Forward):
            return OnionInTransit(
                source=update.peer,
                message=message,
                next_node_id=await next_node(lnd, peeled.data),
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
