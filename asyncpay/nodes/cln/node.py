"""Core Lightning as a `Node`: each method of the interface, over JSON-RPC."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from asyncpay.lightning import (
    Capabilities,
    Capability,
    ChannelId,
    ChannelTerms,
    HtlcKey,
    Invoice,
    NodeId,
    OwnInvoice,
    PaymentResult,
    PendingHtlc,
    Resolution,
    SyncState,
)
from asyncpay.node_events import NodeEvent
from asyncpay.nodes.base import (
    DIAL_SECONDS,
    MAX_LOOKUPS,
    Node,
    NodeError,
    NodeUnreachableError,
    OnionUnreadableError,
    Payment,
    PeerNotConnectedError,
    check_invoice,
)
from asyncpay.nodes.cln import channels, invoices, onions, payments
from asyncpay.nodes.cln.event_stream import EventStream
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc
from asyncpay.nodes.numbers import reading
from asyncpay.nodes.onion_routes import RememberedGraph, find
from asyncpay.nodes.unix_rpc import LostError
from asyncpay.wire import signature
from asyncpay.wire.onion import OnionMessage

MAX_CUSTOM_BYTES = 65533
"""lightningd crashes on one byte more."""
MARGIN_BLOCKS = 6
"""The plugin's own margin (asyncpay.nodes.cln.plugin)."""

CAPABILITIES = Capabilities(
    transit_release=Capability(False, "CLN does not show plugins the messages that it can forward"),
    forwards_with_payer_offline=Capability(True, "`continue` does not need the HTLC's incoming channel"),
    reoffers_without_payer=Capability(True, "restarted, lightningd calls the hook again before any peer connects"),
    pays_on_behalf=Capability(False, "never needed, because CLN forwards while the payer is offline"),
    metadata_with_slack=Capability(True, "sendpay takes payment_metadata"),
    keeps_settlements=Capability(
        True,
        "CLN stores a fulfilled HTLC before it informs the peer (lightningd/peer_htlcs.c: fulfill_htlc), and "
        "lightningd goes on chain for it in time (htlcs_notify_new_block)",
    ),
    tells_next_hop=Capability(
        False, "injectonionmessage names the next peer only if it is not connected, and no RPC offers ECDH with its key"
    ),
    cutoff_blocks=MARGIN_BLOCKS,
)

_NOT_CONNECTED = re.compile(r"unknown next peer ([0-9a-f]{66})")
_PEER_GONE = ("Peer is not connected", "No such peer")


class ClnNode(Node):
    """A lightningd 26.06 or later that runs our plugin (asyncpay/nodes/cln/plugin.py).

    socket: lightningd's RPC socket (its --rpc-file), accessible to this process. It need not exist yet.
    """

    capabilities = CAPABILITIES

    def __init__(self, socket: Path) -> None:
        self._rpc = Rpc(socket)
        self._graph = RememberedGraph(partial(onions.look_up, self._rpc))
        self._paying: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._stream: EventStream | None = None

    async def events(self) -> AsyncIterator[NodeEvent]:
        """See Node.events."""
        stream = self._stream = EventStream(self._rpc)
        try:
            async for event in stream.events():
                yield event
        finally:
            await stream.close()

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None = None) -> None:
        """See Node.resolve_htlc."""
        if self._stream is None:
            raise NodeUnreachableError(f"CLN at {self._rpc.socket} has not offered HTLC {key}: attach first")
        await self._stream.resolve_htlc(key, resolution, preimage)

    async def pending_htlcs(self) -> Sequence[PendingHtlc]:
        """See Node.pending_htlcs."""
        listed = await channels.open_channels(self._rpc)
        return [htlc for channel in listed for htlc in channels.pending_htlcs(channel)]

    async def forward_onion(self, message: OnionMessage) -> None:
        """See Node.forward_onion. A message that ends here comes back as OnionReceived."""
        try:
            await self._rpc.call("injectonionmessage", path_key=message.path_key.hex(), message=message.packet.hex())
        except ClnRefusedError as error:
            if absent := _NOT_CONNECTED.search(error.details):
                raise PeerNotConnectedError(bytes.fromhex(absent[1])) from None
            raise OnionUnreadableError(str(error)) from None

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        """See Node.send_onion; the first hop is always this node itself."""
        await self.forward_onion(message)

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        """See Node.connect_peer. If a connection attempt is already under way, also lightningd's own, wait for that."""
        host, _, port = (address or "").rpartition(":")
        where = {"host": host, "port": int(port)} if address else {}
        try:
            await self._rpc.call("connect", DIAL_SECONDS, id=peer.hex(), **where)
        except LostError:
            raise NodeError(
                f"CLN at {self._rpc.socket} is not connected to {peer.hex()} after {DIAL_SECONDS} s"
            ) from None

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        """See Node.send_custom."""
        if len(data) > MAX_CUSTOM_BYTES:
            raise NodeError(f"a custom message can carry at most {MAX_CUSTOM_BYTES} bytes of data, not {len(data)}")
        try:
            await self._rpc.call("sendcustommsg", node_id=peer.hex(), msg=type_.to_bytes(2, "big").hex() + data.hex())
        except ClnRefusedError as error:
            if any(words in error.details for words in _PEER_GONE):
                raise PeerNotConnectedError(peer) from None
            raise

    async def onion_route(self, destination: NodeId, max_lookups: int = MAX_LOOKUPS) -> tuple[NodeId, ...]:
        """See Node.onion_route. It begins at this node: CLN can send a message only by peeling a layer of its own.

        Unannounced nodes can be found only if they are connected peers.
        """
        surroundings = self._stream.surroundings if self._stream else None
        if surroundings is None:
            surroundings = await onions.surroundings(self._rpc)
        return (surroundings.own_id, *await find(destination, surroundings, self._graph, max_lookups))

    async def sign(self, text: str) -> bytes:
        """See Node.sign."""
        return signature.decode((await self._rpc.call("signmessage", message=text))["zbase"])

    async def decode_invoice(self, text: str) -> Invoice:
        """See Node.decode_invoice."""
        with reading("the invoice"):
            return invoices.invoice(text, await invoices.decode(self._rpc, text))

    async def pay(self, payment: Payment) -> PaymentResult:
        """See Node.pay. CLN knows a payment only once it has parts, so a second call waits for the first."""
        async with self._paying.setdefault(payment.invoice.payment_hash, asyncio.Lock()):
            return await payments.pay(self._rpc, payment)

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.track_payment."""
        return await payments.track(self._rpc, payment_hash)

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.look_up_payment."""
        return await payments.look_up(self._rpc, payment_hash)

    async def channel_terms(self, peers: Collection[NodeId]) -> Sequence[ChannelTerms]:
        """See Node.channel_terms."""
        raise NodeError(f"CLN at {self._rpc.socket} does not support this: {self.capabilities.pays_on_behalf.because}")

    async def force_close(self, channel_id: ChannelId) -> None:
        """See Node.force_close."""
        await channels.force_close(self._rpc, channel_id)

    async def create_invoice(self, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
        """See Node.create_invoice."""
        check_invoice(amount_msat, expiry_seconds)
        with reading("the new invoice"):
            return await invoices.create(self._rpc, amount_msat, description, expiry_seconds)

    async def look_up_invoice(self, payment_hash: bytes) -> OwnInvoice | None:
        """See Node.look_up_invoice."""
        with reading("an own invoice"):
            return await invoices.look_up(self._rpc, payment_hash)

    async def sync_state(self) -> SyncState:
        """See Node.sync_state. Only bitcoind checks the best block's age: at most a day, until it was synced once."""
        info = await self._rpc.call("getinfo")
        return SyncState(synced="warning_bitcoind_sync" not in info and "warning_lightningd_sync" not in info)
