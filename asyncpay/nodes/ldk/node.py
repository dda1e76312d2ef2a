"""LDK as a `Node`: each method of the interface, over ldkd's JSON-RPC."""

import asyncio
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
    check_invoice,
)
from asyncpay.nodes.ldk import channels, htlcs, invoices, onions, payments
from asyncpay.nodes.ldk.event_stream import EventStream
from asyncpay.nodes.ldk.rpc import Rpc
from asyncpay.nodes.numbers import reading
from asyncpay.nodes.onion_routes import RememberedGraph, find
from asyncpay.wire import signature
from asyncpay.wire.onion import Final, OnionMessage

MAX_CUSTOM_BYTES = 65533

_SETTLES = Capability(False, "LDK 0.3 can forward or fail an intercepted HTLC, but not claim it")
CAPABILITIES = Capabilities(
    transit_release=Capability(True, "ldkd shows every onion message before LDK handles it"),
    forwards_with_payer_offline=Capability(True, "forward_intercepted_htlc does not need the HTLC's incoming channel"),
    reoffers_without_payer=Capability(
        True, "intercepted HTLCs are stored with the ChannelManager, which offers them again when it is loaded"
    ),
    pays_on_behalf=_SETTLES,
    metadata_with_slack=Capability(True, "RecipientOnionFields accepts payment_metadata with any final CLTV delta"),
    keeps_settlements=Capability(True, "never needed, because LDK is never asked to settle"),
    tells_next_hop=Capability(True, "ldkd's `ecdh` lets this adapter peel the node's layer"),
    cutoff_blocks=htlcs.CUTOFF_BLOCKS,
    settles=_SETTLES,
)


class LdkNode(Node):
    """An ldkd (docker/ldk). For an LSP it must run with --hold-forwards.

    socket: its --socket, accessible to this process. It need not exist yet.
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
        """See Node.resolve_htlc. LDK can fail only with unknown_next_peer, which is a permanent failure (BOLT 4)."""
        if resolution not in htlcs.RESULTS:
            raise NodeError(
                f"LDK at {self._rpc.socket} does not support this: {self.capabilities.pays_on_behalf.because}"
            )
        if self._stream is None:
            raise NodeUnreachableError(f"LDK at {self._rpc.socket} has not offered HTLC {key}: attach first")
        await self._stream.resolve_htlc(key, resolution)

    async def pending_htlcs(self) -> Sequence[PendingHtlc]:
        """See Node.pending_htlcs."""
        listed = await channels.open_channels(self._rpc)
        return [htlc for channel in listed for htlc in channels.pending_htlcs(channel)]

    async def forward_onion(self, message: OnionMessage) -> NodeId:
        """See Node.forward_onion."""
        peeled = await onions.peel(self._rpc, message)
        if isinstance(peeled, Final):
            raise OnionUnreadableError(
                f"an onion message is for LDK at {self._rpc.socket} itself, and cannot be forwarded"
            )
        peer_named = await channels.peer_named(self._rpc) if self._stream is None else self._stream.peer_named
        next_hop = onions.next_node(self._rpc, peeled.data, peer_named)
        await self.send_onion(next_hop, peeled.message)
        return next_hop

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        """See Node.send_onion."""
        path_key, packet = message.path_key.hex(), message.packet.hex()
        await self._rpc.call("sendonionmessage", peer=first_hop.hex(), path_key=path_key, packet=packet)

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        """See Node.connect_peer. ldkd dials only a given address, and does not report the addresses of peers."""
        if address is None:
            raise NodeError(f"LDK at {self._rpc.socket} knows no address of {peer.hex()}. Set `address` under [lsp].")
        await self._rpc.call("connect", DIAL_SECONDS, peer=peer.hex(), address=address)

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        """See Node.send_custom."""
        if len(data) > MAX_CUSTOM_BYTES:
            raise NodeError(f"a custom message can carry at most {MAX_CUSTOM_BYTES} bytes of data, not {len(data)}")
        await self._rpc.call("sendcustommessage", peer=peer.hex(), type=type_, data=data.hex())

    async def onion_route(self, destination: NodeId, max_lookups: int = MAX_LOOKUPS) -> tuple[NodeId, ...]:
        """See Node.onion_route. Unannounced nodes can be found only if they are connected peers."""
        surroundings = self._stream.surroundings if self._stream else None
        if surroundings is None:
            surroundings = await onions.surroundings(self._rpc)
        return await find(destination, surroundings, self._graph, max_lookups)

    async def sign(self, text: str) -> bytes:
        """See Node.sign."""
        return signature.decode((await self._rpc.call("signmessage", text=text))["zbase"])

    async def decode_invoice(self, text: str) -> Invoice:
        """See Node.decode_invoice."""
        with reading("the invoice"):
            return await invoices.decode(self._rpc, text)

    async def pay(self, payment: Payment) -> PaymentResult:
        """See Node.pay."""
        async with self._paying.setdefault(payment.invoice.payment_hash, asyncio.Lock()):
            with reading("a payment"):
                return await payments.pay(self._rpc, payment)

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.track_payment."""
        with reading("a payment"):
            return await payments.track(self._rpc, payment_hash)

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.look_up_payment."""
        with reading("a payment"):
            return await payments.look_up(self._rpc, payment_hash)

    async def channel_terms(self, peers: Collection[NodeId]) -> Sequence[ChannelTerms]:
        """See Node.channel_terms."""
        raise self._not_able(self.capabilities.pays_on_behalf)

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
        """See Node.sync_state."""
        return SyncState(synced=(await self._rpc.call("getinfo"))["synced"])

    def _not_able(self, capability: Capability) -> NodeError:
        return NodeError(f"LDK at {self._rpc.socket} does not support this: {capability.because}")
