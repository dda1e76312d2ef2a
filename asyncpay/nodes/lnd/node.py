"""LND as a `Node`: each method of the interface, over gRPC."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self

import grpc

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
from asyncpay.nodes.lnd import chain, channels, closing, htlcs, invoices, onions, payments, pinned
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError, ReadCredentials
from asyncpay.nodes.lnd.event_stream import EventStream
from asyncpay.nodes.numbers import reading
from asyncpay.nodes.onion_routes import RememberedGraph, find
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.wire import signature
from asyncpay.wire.onion import Final, OnionMessage

MAX_CUSTOM_BYTES = 65533
"""LND accepts one byte more, and loses the connection to the peer by it."""

CAPABILITIES = Capabilities(
    transit_release=Capability(True, "SubscribeOnionMessages also shows messages that LND only forwards"),
    forwards_with_payer_offline=Capability(False, "the switch fails a RESUME if the incoming link is not there"),
    reoffers_without_payer=Capability(False, "restarted, LND replays an HTLC when its channel is re-established"),
    pays_on_behalf=Capability(True, "own payments and intercepted HTLCs of one hash are independent in LND"),
    metadata_with_slack=Capability(False, "SendPaymentV2 takes it only from a payment_request, which excludes slack"),
    keeps_settlements=closing.KEEPS_SETTLEMENTS,
    tells_next_hop=Capability(True, "DeriveSharedKey lets this adapter peel the node's layer"),
    cutoff_blocks=htlcs.CUTOFF_BLOCKS,
)


class LndNode(Node):
    """An LND 0.21 or later, which must run with --requireinterceptor: without it, LND forwards the held HTLCs
    when no client is attached.

    `connect` it within a running event loop and `close` it at the end, or use it as an async context manager.
    """

    capabilities = CAPABILITIES

    def __init__(self, lnd: Connection) -> None:
        self._lnd = lnd
        self._graph = RememberedGraph(partial(onions.look_up, lnd))
        self._stream: EventStream | None = None

    @classmethod
    def connect(cls, address: str, tls_certificate: bytes, macaroon: bytes) -> Self:
        """Return an LND at host:port; it need not run yet. tls_certificate: tls.cert (PEM); macaroon: the raw bytes."""
        return cls(Connection(address, lambda: (tls_certificate, macaroon)))

    @classmethod
    def following(cls, address: str, read: ReadCredentials) -> Self:
        """Return an LND whose certificate and macaroon may be replaced: they are read again at each attachment."""
        return cls(Connection(address, read))

    async def close(self) -> None:
        """Close the connection. All streams and calls end."""
        await self._lnd.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def events(self) -> AsyncIterator[NodeEvent]:
        """See Node.events."""
        await self._lnd.renew()
        stream = self._stream = EventStream(self._lnd)
        try:
            async for event in stream.events():
                yield event
        finally:
            await stream.close()

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None = None) -> None:
        """See Node.resolve_htlc."""
        if self._stream is None:
            raise NodeUnreachableError(f"LND at {self._lnd.address} has not offered HTLC {key}: attach first")
        await self._stream.resolve_htlc(key, resolution, preimage)

    async def pending_htlcs(self) -> Sequence[PendingHtlc]:
        """See Node.pending_htlcs."""
        listed = await channels.open_channels(self._lnd)
        return [htlcs.pending_htlc(channel, htlc) for channel in listed for htlc in channel.pending_htlcs]

    async def forward_onion(self, message: OnionMessage) -> NodeId:
        """See Node.forward_onion."""
        peeled = await onions.peel(self._lnd, message)
        if isinstance(peeled, Final):
            raise OnionUnreadableError(
                f"an onion message is for LND at {self._lnd.address} itself, and cannot be forwarded"
            )
        peer_named = await channels.peer_named(self._lnd) if self._stream is None else self._stream.peer_named
        next_hop = onions.next_node(self._lnd, peeled.data, peer_named)
        await self.send_onion(next_hop, peeled.message)
        return next_hop

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        """See Node.send_onion."""
        request = ln.SendOnionMessageRequest(peer=first_hop, path_key=message.path_key, onion=message.packet)
        with self._giving_to(first_hop, "send an onion message"):
            await self._lnd.lightning.SendOnionMessage(request, timeout=CALL_SECONDS)

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        """See Node.connect_peer. LND does not report the addresses that it dials; the peer may have announced one."""
        there = ln.LightningAddress(pubkey=peer.hex(), host=address or await self._announced_address(peer))
        request = ln.ConnectPeerRequest(addr=there, timeout=DIAL_SECONDS)
        try:
            with self._lnd.calling(f"connect to {peer.hex()}"):
                await self._lnd.lightning.ConnectPeer(request, timeout=DIAL_SECONDS + CALL_SECONDS)
        except LndRefusedError as error:
            if "already connected" not in error.details:
                raise

    async def _announced_address(self, peer: NodeId) -> str:
        request = ln.NodeInfoRequest(pub_key=peer.hex())
        with self._lnd.calling(f"look up {peer.hex()}"):
            info = await self._lnd.lightning.GetNodeInfo(request, timeout=CALL_SECONDS)
        if not info.node.addresses:
            raise NodeError(f"LND at {self._lnd.address} knows no address of {peer.hex()}. Set `address` under [lsp].")
        return info.node.addresses[0].addr

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        """See Node.send_custom."""
        if len(data) > MAX_CUSTOM_BYTES:
            raise NodeError(f"a custom message can carry at most {MAX_CUSTOM_BYTES} bytes of data, not {len(data)}")
        request = ln.SendCustomMessageRequest(peer=peer, type=type_, data=data)
        with self._giving_to(peer, f"send a custom message of type {type_}"):
            await self._lnd.lightning.SendCustomMessage(request, timeout=CALL_SECONDS)

    async def onion_route(self, destination: NodeId, max_lookups: int = MAX_LOOKUPS) -> tuple[NodeId, ...]:
        """See Node.onion_route. Unannounced nodes can be found only if they are connected peers."""
        surroundings = self._stream.surroundings if self._stream else None
        if surroundings is None:
            surroundings = await onions.surroundings(self._lnd)
        return await find(destination, surroundings, self._graph, max_lookups)

    async def sign(self, text: str) -> bytes:
        """See Node.sign."""
        with self._lnd.calling("sign a message"):
            request = ln.SignMessageRequest(msg=text.encode())
            signed = await self._lnd.lightning.SignMessage(request, timeout=CALL_SECONDS)
        return signature.decode(signed.signature)

    async def decode_invoice(self, text: str) -> Invoice:
        """See Node.decode_invoice."""
        with reading("the invoice"):
            return payments.invoice(text, await payments.decode(self._lnd, text))

    async def pay(self, payment: Payment) -> PaymentResult:
        """See Node.pay."""
        if payment.latest_expiry is not None:
            return await pinned.pay(self._lnd, payment, payment.latest_expiry)
        return await payments.pay(self._lnd, payment)

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.track_payment."""
        return await payments.track(self._lnd, payment_hash)

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        """See Node.look_up_payment."""
        return await payments.look_up(self._lnd, payment_hash)

    async def channel_terms(self, peers: Collection[NodeId]) -> Sequence[ChannelTerms]:
        """See Node.channel_terms."""
        return await channels.channel_terms(self._lnd, peers)

    async def force_close(self, channel_id: ChannelId) -> None:
        """See Node.force_close."""
        await closing.force_close(self._lnd, channel_id)
        if self._stream is not None:
            self._stream.expect_change()

    async def create_invoice(self, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
        """See Node.create_invoice."""
        check_invoice(amount_msat, expiry_seconds)
        return await self.decode_invoice(await invoices.create(self._lnd, amount_msat, description, expiry_seconds))

    async def look_up_invoice(self, payment_hash: bytes) -> OwnInvoice | None:
        """See Node.look_up_invoice."""
        return await invoices.look_up(self._lnd, payment_hash)

    async def sync_state(self) -> SyncState:
        """See Node.sync_state."""
        return await chain.sync_state(self._lnd)

    @contextmanager
    def _giving_to(self, peer: NodeId, what: str) -> Iterator[None]:
        """Translate LND's various errors for a peer that is not connected, which depend on when it disconnected."""
        try:
            with self._lnd.calling(f"{what} to {peer.hex()}"):
                yield
        except LndRefusedError as error:
            if error.code is grpc.StatusCode.NOT_FOUND or error.details.endswith(("disconnected", "peer exiting")):
                raise PeerNotConnectedError(peer) from None
            raise
