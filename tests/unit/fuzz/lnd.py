"""An LND that is played: a gRPC server with LND's services, and any number that gRPC carries in any message."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from asyncpay.config import LndConfig
from asyncpay.nodes.proto import chainnotifier_pb2 as chain
from asyncpay.nodes.proto import chainnotifier_pb2_grpc as chain_grpc
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import lightning_pb2_grpc as ln_grpc
from asyncpay.nodes.proto import router_pb2 as router
from asyncpay.nodes.proto import router_pb2_grpc as router_grpc
from asyncpay.nodes.proto import signer_pb2 as signer
from asyncpay.nodes.proto import signer_pb2_grpc as signer_grpc
from asyncpay.service.common.onions import path_through
from asyncpay.wire import onion, signature
from asyncpay.wire.blinding import HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import Payload
from harness.services.push_gateway import Authority

from .identities import CHANNELS, CLIENT, HASH, NODE, PEERS, Heard, onion_to, sign


class Stream:
    """One of LND's streams: what is put comes out at whoever follows it now."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Any]] = set()

    def put(self, message: Any) -> None:
        for queue in self._queues:
            queue.put_nowait(message)

    async def follow(self, *first: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.add(queue)
        try:
            for message in first:
                yield message
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)


class Lnd(Heard):
    """Behind `config`. The verbs are those of the played lightningd; what gRPC cannot carry is not said."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.height = 500
        self.streams = {name: Stream() for name in ("peers", "channels", "onions", "custom", "invoices")}
        self.streams |= {name: Stream() for name in ("outcomes", "offers", "blocks")}
        self.htlcs: list[ln.HTLC] = []
        self.own: ln.Invoice | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._start("127.0.0.1:0")
        try:
            yield
        finally:
            await self._server.stop(0)

    async def renew_certificate(self) -> None:
        """Start again, at the same address, with another certificate."""
        await self._server.stop(0)
        await self._start(self.config.address)

    async def _start(self, address: str) -> None:
        authority = Authority.for_server("localhost")
        pem = authority.server.encode()
        server = self._server = grpc.aio.server()
        services = _Services(self)
        ln_grpc.add_LightningServicer_to_server(services, server)  # type: ignore[arg-type]
        router_grpc.add_RouterServicer_to_server(services, server)  # type: ignore[arg-type]
        signer_grpc.add_SignerServicer_to_server(services, server)  # type: ignore[arg-type]
        chain_grpc.add_ChainNotifierServicer_to_server(services, server)  # type: ignore[arg-type]
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(pem, pem)]))
        certificate, macaroon = self._folder / "tls.cert", self._folder / "macaroon"
        certificate.write_text(authority.ca)
        macaroon.write_bytes(b"macaroon")
        self.config = LndConfig(
            implementation="lnd", address=f"127.0.0.1:{port}", tls_certificate=certificate, macaroon=macaroon
        )
        await server.start()

    # --- what happens ---

    def custom(self, peer: bytes, payload: bytes) -> None:
        self.streams["custom"].put(ln.CustomMessage(peer=peer, type=37913, data=payload))

    def htlc(self, **numbers: Any) -> None:
        key = _message(router.CircuitKey, chan_id=CHANNELS[CLIENT], htlc_id=numbers.pop("htlc_id", 0))
        usual = {"incoming_amount_msat": 2_000, "outgoing_amount_msat": 1_000}
        usual |= {"incoming_expiry": 2_000, "outgoing_expiry": 1_000}
        chosen = {"outgoing_requested_chan_id": CHANNELS[PEERS[1]], "payment_hash": HASH, "auto_fail_height": 1}
        offer = _message(router.ForwardHtlcInterceptRequest, **(usual | chosen | numbers))
        offer.incoming_circuit_key.CopyFrom(key)
        self.streams["offers"].put(offer)

    def outcome(self, htlc_id: Any, settled: bool) -> None:
        event = _message(router.HtlcEvent, incoming_channel_id=CHANNELS[CLIENT], incoming_htlc_id=htlc_id)
        event.event_type = router.HtlcEvent.FORWARD
        if settled:
            event.settle_event.preimage = b"s" * 32
        else:
            event.forward_fail_event.SetInParent()
        self.streams["outcomes"].put(event)

    def block(self, height: Any) -> None:
        self.streams["blocks"].put(_message(chain.BlockEpoch, height=height))

    def invoice_paid(self, amount_msat: Any) -> None:
        paid = _message(ln.Invoice, r_hash=HASH, amt_paid_msat=amount_msat)
        paid.state = ln.Invoice.SETTLED
        self.streams["invoices"].put(paid)

    def pending(self, **numbers: Any) -> None:
        names = {"htlc_id": "htlc_index", "incoming_amount_msat": "amount", "incoming_expiry": "expiration_height"}
        told = {names[name]: number for name, number in numbers.items() if name in names}
        self.htlcs = [_message(ln.HTLC, incoming=True, hash_lock=HASH, **told)]
        self.streams["channels"].put(ln.ChannelEventUpdate(type=ln.ChannelEventUpdate.ACTIVE_CHANNEL))

    def own_invoice(self, **numbers: Any) -> None:
        told = {"value_msat": numbers.get("amount_msat", 1_000), "expiry": numbers.get("expiry", 2**33)}
        self.own = _message(ln.Invoice, r_hash=HASH, **told)

    def onion(self, value: bytes, path_id: bytes | None = None) -> None:
        path = path_through([NODE], HopData(path_id=path_id))
        try:
            message = onion.build(path, Payload(async_payment=value), bytes([7]) * 32)
        except WireError:
            return  # no onion carries it
        update = ln.OnionMessageUpdate(peer=CLIENT, path_key=message.path_key, onion=message.packet)
        self.streams["onions"].put(update)

    def forget(self) -> None:
        self.htlcs = []


def _message(kind: Any, **fields: Any) -> Any:
    """A message with those of the values that it has room for."""
    message = kind()
    for name, value in fields.items():
        try:
            setattr(message, name, value)
        except (ValueError, TypeError):
            continue
    return message


def _streaming(name: str, first: Callable[[Lnd], Any] | None = None) -> Any:
    """An RPC that streams; gRPC tells by the function itself that it does."""

    async def follow(self: "_Services", _: Any, __: Any) -> AsyncIterator[Any]:
        async for message in self.lnd.streams[name].follow(*([] if first is None else [first(self.lnd)])):
            yield message

    return follow


class _Services:
    """LND's RPCs, as far as they are asked for."""

    def __init__(self, lnd: Lnd) -> None:
        self.lnd = lnd

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)

        async def refuse(_: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNKNOWN, f"no {name} here")

        return refuse

    async def GetInfo(self, _: Any, __: Any) -> ln.GetInfoResponse:  # noqa: N802
        chains = [ln.Chain(network="regtest")]
        return ln.GetInfoResponse(
            identity_pubkey=NODE.hex(), block_height=self.lnd.height, synced_to_chain=True, chains=chains
        )

    async def ListChannels(self, _: Any, __: Any) -> ln.ListChannelsResponse:  # noqa: N802
        channels = [
            ln.Channel(
                active=True,
                remote_pubkey=peer.hex(),
                chan_id=CHANNELS[peer],
                pending_htlcs=self.lnd.htlcs if peer == CLIENT else [],
            )
            for peer in PEERS
        ]
        return ln.ListChannelsResponse(channels=channels)

    async def ListPeers(self, _: Any, __: Any) -> ln.ListPeersResponse:  # noqa: N802
        return ln.ListPeersResponse(peers=[ln.Peer(pub_key=peer.hex()) for peer in PEERS])

    async def SendCustomMessage(self, request: Any, _: Any) -> ln.SendCustomMessageResponse:  # noqa: N802
        self.lnd.hear(request.peer, request.data)
        return ln.SendCustomMessageResponse()

    async def SendOnionMessage(self, _: Any, __: Any) -> ln.SendOnionMessageResponse:  # noqa: N802
        return ln.SendOnionMessageResponse()

    async def SignMessage(self, request: Any, _: Any) -> ln.SignMessageResponse:  # noqa: N802
        return ln.SignMessageResponse(signature=signature.encode(sign(request.msg.decode())))

    async def DeriveSharedKey(self, request: Any, context: Any) -> signer.SharedKeyResponse:  # noqa: N802
        try:
            return signer.SharedKeyResponse(shared_key=onion_to(request.ephemeral_pubkey))
        except ValueError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise

    async def DecodePayReq(self, request: Any, context: Any) -> ln.PayReq:  # noqa: N802
        fields = self.lnd.invoices.get(request.pay_req)
        if fields is None:
            await context.abort(grpc.StatusCode.UNKNOWN, "checksum failed")
        names = {"amount_msat": "num_msat", "created_at": "timestamp", "min_final_cltv_expiry": "cltv_expiry"}
        usual = {"num_msat": 1_000, "expiry": 2**33, "cltv_expiry": 18}
        told = {names.get(name, name): value for name, value in (fields or {}).items() if name != "raw"}
        raw = (fields or {}).get("raw", {})
        known = {"payment_hash": self.lnd.payment_hash.hex(), "destination": raw.get("payee", PEERS[1].hex())}
        decoded: ln.PayReq = _message(ln.PayReq, **(known | usual | told))
        return decoded

    async def LookupInvoice(self, _: Any, context: Any) -> ln.Invoice:  # noqa: N802
        if self.lnd.own is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unable to locate invoice")
        assert self.lnd.own is not None
        return self.lnd.own

    async def GetNodeInfo(self, _: Any, context: Any) -> Any:  # noqa: N802
        await context.abort(grpc.StatusCode.NOT_FOUND, "unable to find node")

    async def TrackPaymentV2(self, _: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await context.abort(grpc.StatusCode.NOT_FOUND, "payment isn't initiated")
        yield

    async def SendPaymentV2(self, _: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await context.abort(grpc.StatusCode.UNKNOWN, "no route")
        yield

    SubscribePeerEvents = _streaming("peers")
    SubscribeChannelEvents = _streaming("channels")
    SubscribeOnionMessages = _streaming("onions")
    SubscribeCustomMessages = _streaming("custom")
    SubscribeInvoices = _streaming("invoices")
    SubscribeHtlcEvents = _streaming("outcomes", lambda _: router.HtlcEvent())
    RegisterBlockEpochNtfn = _streaming("blocks", lambda lnd: chain.BlockEpoch(height=lnd.height))
    HtlcInterceptor = _streaming("offers")
