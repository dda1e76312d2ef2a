"""The node of the wallet's phone, and the LSP at the other end of its channel, as the tests play them."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from asyncpay.lightning import (
    ChannelId,
    Invoice,
    Link,
    NodeId,
    OwnInvoice,
    PaymentResult,
    PaymentStatus,
    ShortChannelId,
    SyncState,
)
from asyncpay.lsps import jsonrpc
from asyncpay.lsps.info import GET_INFO
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.node_events import Attached, CustomMessage, InvoicePaid, NodeEvent, OnionReceived, PeerConnected
from asyncpay.nodes.base import NodeError, NodeUnreachableError, Payment, PeerNotConnectedError
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.service.common.onions import path_through
from asyncpay.wire import messages, onion
from asyncpay.wire.blinding import BlindedPath, HopData
from asyncpay.wire.messages import (
    BlockReply,
    BlockRequest,
    BlockState,
    BlockStatus,
    BlockUpdate,
    CancelRequest,
    Message,
    PaymentPending,
)
from asyncpay.wire.onion import Forward, OnionMessage
from tests.support.keys import key_of, node_id

KEYS = {node_id(name): key_of(name) for name in ("me", "LSP", "payee", "other", "their LSP")}
ME, LSP, PAYEE, OTHER, THEIR_LSP = KEYS
CHANNEL = ShortChannelId.parse("100x1x0")
PREIMAGE = b"s" * 32
HASH = sha256(PREIMAGE).digest()
SECRET = b"t" * 32
INVOICE = Invoice(
    text="lnbcrt1",
    payment_hash=HASH,
    payee=PAYEE,
    amount_msat=1000,
    network="regtest",
    expires_at=int(time.time()) + 14 * 86_400,
    min_final_cltv_expiry=80,
    description="coffee",
    payment_secret=SECRET,
)
OFFER: dict[str, Any] = {
    "versions": [1],
    "transit_release": True,
    "forwards_with_payer_offline": False,
    "pays_on_behalf": True,
    "courier": True,
    "max_holds": 10,
    "max_hold_seconds": 14 * 86_400,
    "max_hold_blocks": 1008,
    "max_amount_msat": 1_000_000,
    "min_margin_blocks": 30,
}
PID = b"p" * 32


@dataclass(frozen=True)
class Sent:
    """An onion message as the node at its end reads it."""

    to: NodeId
    message: Message
    reply_path: BlindedPath | None


class ScriptedNode:
    """The node, and the LSP that it has a channel with.

    failing: verbs of asyncpay.nodes.base that fail, and how. lsp: what it answers to a method: a result, an RpcError,
    or nothing. accepts, holds: whether it answers a request, and tells of parts that it holds. reachable: it can
    be dialled while it is not online.
    """

    def __init__(self) -> None:
        self.capabilities = CAPABILITIES
        self.failing: dict[str, Exception] = {}
        self.lsp: dict[str, Any] = {GET_INFO: OFFER}
        self.accepts, self.holds = True, True
        self.online, self.running, self.in_sync = True, True, True
        self.reachable = False
        self.old_tip: bytes | None = None
        self.links = [Link(channel_id=ChannelId.from_name(CHANNEL), short_channel_id=CHANNEL, peer=LSP, usable=True)]
        self.routes: dict[NodeId, tuple[NodeId, ...]] = {LSP: (LSP,), PAYEE: (LSP, PAYEE), THEIR_LSP: (LSP, THEIR_LSP)}
        self.invoices = {INVOICE.text: INVOICE}
        self.own: dict[bytes, OwnInvoice] = {}
        self.begun: list[Payment] = []
        self.signed: list[str] = []
        self.dialled: list[tuple[NodeId, str | None]] = []
        self.asked: list[tuple[NodeId, str, Any]] = []
        self.sent: list[Sent] = []
        self._results: dict[bytes, PaymentResult] = {}
        self._changed = asyncio.Condition()
        self._events: asyncio.Queue[NodeEvent | Exception] = asyncio.Queue()

    # --- what happens ---

    def tell(self, event: NodeEvent) -> None:
        self._events.put_nowait(event)

    def stop(self) -> None:
        self.running = False
        self._events.put_nowait(NodeUnreachableError("the node at x does not answer"))

    async def decide(self, result: PaymentResult, payment_hash: bytes = HASH) -> None:
        """A payment is over."""
        self._results[payment_hash] = result
        async with self._changed:
            self._changed.notify_all()

    async def payee_takes(self) -> None:
        await self.decide(PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=PREIMAGE, fee_msat=3))

    def make_invoice(self, payment_hash: bytes = HASH, **changes: Any) -> None:
        """The wallet's own, as the node knows it."""
        values: dict[str, Any] = {
            "payment_hash": payment_hash,
            "amount_msat": 1000,
            "expires_at": int(time.time()) + 86_400,
            "payable": True,
            "paid": False,
            "payment_secret": SECRET,
        }
        self.own[payment_hash] = OwnInvoice(**(values | changes))

    def announce(self, pid: bytes = PID, payment_hash: bytes = HASH, *, proven: bool = True, **changes: Any) -> None:
        """A payer's message comes, or one of somebody who does not have the invoice."""
        values: dict[str, Any] = {
            "amount_msat": 1000,
            "release_by_height": 900,
            "hold_until": int(time.time()) + 3600,
            "invoice_proof": messages.invoice_proof(pid, (payment_hash,), (SECRET,)) if proven else None,
        }
        pending = PaymentPending(pid=pid, payment_hashes=(payment_hash,), **(values | changes))
        literal = pending.payer_node_id is not None
        back = None if literal else path_through([THEIR_LSP, OTHER], HopData(path_id=pid), payment_unblock=pid)
        self.tell(OnionReceived(async_payment=pending.encode(), reply_path=back))

    def is_paid(self, payment_hash: bytes = HASH) -> None:
        """The parts have come."""
        self.own[payment_hash] = replace(self.own[payment_hash], payable=False, paid=True)
        self.tell(InvoicePaid(payment_hash, 1000))

    def got(self, kind: type) -> list[Any]:
        """Messages of this kind, as they were read at their ends."""
        return [each.message for each in self.sent if isinstance(each.message, kind)]

    # --- asyncpay.nodes.base.Node ---

    async def events(self) -> AsyncIterator[NodeEvent]:
        if not self.running:
            raise NodeUnreachableError("the node at x does not answer")
        self._events = asyncio.Queue()
        yield Attached(
            node_id=ME,
            network="regtest",
            height=500,
            links=tuple(self.links),
            online=frozenset({LSP} if self.online else ()),
        )
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        self.dialled.append((peer, address))
        self._do("connect_peer")
        if not self.online:
            if not self.reachable:
                raise NodeError("connection refused")
            self.online = True
            self.tell(PeerConnected(peer))

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        self._do("send_custom", peer)
        assert type_ == jsonrpc.MESSAGE_TYPE
        request = jsonrpc.read_request(data)
        self.asked.append((peer, request.method, request.params))
        answer = self.lsp.get(request.method)
        if isinstance(answer, RpcError):
            self.tell(CustomMessage(peer, type_, jsonrpc.refusal(request.id, answer)))
        elif answer is not None:
            self.tell(CustomMessage(peer, type_, jsonrpc.answer(request.id, answer)))

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        self._do("send_onion", first_hop)
        at = first_hop
        while isinstance(peeled := onion.peel(message.packet, message.path_key, KEYS[at].ecdh), Forward):
            assert peeled.data.next_node_id is not None
            at, message = peeled.data.next_node_id, peeled.message
        assert peeled.payload.async_payment is not None
        read = messages.decode(peeled.payload.async_payment)
        self.sent.append(Sent(at, read, peeled.payload.reply_path))
        match read:
            case BlockRequest(unblock_hash=name) if self.accepts:
                self._from_lsp(BlockReply(unblock_hash=name, status=BlockStatus.ACCEPTED))
                if self._in_flight():
                    self._lsp_tells(name, BlockState.HELD)
            case CancelRequest(unblock_hash=name) if self.accepts:
                self._lsp_tells(name, BlockState.FAILED_BACK)
                if self._in_flight():
                    await self.decide(PaymentResult(status=PaymentStatus.FAILED, failure="temporary channel failure"))

    async def forward_onion(self, message: OnionMessage) -> None:
        raise AssertionError("no path in these tests begins at the phone")

    async def onion_route(self, destination: NodeId, _max_lookups: int = 0) -> tuple[NodeId, ...]:
        self._do("onion_route")
        if destination not in self.routes:
            raise NodeError(f"there is no way to {destination.hex()}")
        return self.routes[destination]

    async def sign(self, text: str) -> bytes:
        self._do("sign")
        self.signed.append(text)
        return bytes(65)

    async def decode_invoice(self, text: str) -> Invoice:
        self._do("decode_invoice")
        if text not in self.invoices:
            raise NodeError("checksum failed")
        return self.invoices[text]

    async def pay(self, payment: Payment) -> PaymentResult:
        self._do("pay")
        payment_hash = payment.invoice.payment_hash
        if payment_hash not in self._results:
            self.begun.append(payment)
            self._results[payment_hash] = PaymentResult(
                status=PaymentStatus.IN_FLIGHT, parts_in_flight=1, in_flight_msat=payment.amount_msat
            )
            for request in self.got(BlockRequest)[-1:]:
                self._lsp_tells(request.unblock_hash, BlockState.HELD)
        return await self.track_payment(payment_hash)

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        self._do("track_payment")
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._known(payment_hash).status is not PaymentStatus.IN_FLIGHT or not self.running
            )
        if not self.running:
            raise NodeUnreachableError("the node at x does not answer")
        return self._known(payment_hash)

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        self._do("look_up_payment")
        return self._known(payment_hash)

    async def create_invoice(self, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
        self._do("create_invoice")
        expires_at = int(time.time()) + expiry_seconds
        return replace(INVOICE, amount_msat=amount_msat, description=description, expires_at=expires_at, payee=ME)

    async def look_up_invoice(self, payment_hash: bytes) -> OwnInvoice | None:
        self._do("look_up_invoice")
        return self.own.get(payment_hash)

    async def sync_state(self) -> SyncState:
        self._do("sync_state")
        return SyncState(synced=self.in_sync, old_tip=self.old_tip)

    def _do(self, verb: str, peer: NodeId | None = None) -> None:
        if not self.running:
            raise NodeUnreachableError("the node at x does not answer")
        if verb in self.failing:
            raise self.failing[verb]
        if peer is not None and not self.online:
            raise PeerNotConnectedError(peer)

    def _known(self, payment_hash: bytes) -> PaymentResult:
        return self._results.get(payment_hash, PaymentResult(status=PaymentStatus.UNKNOWN))

    def _in_flight(self) -> bool:
        return self._known(HASH).status is PaymentStatus.IN_FLIGHT

    def _lsp_tells(self, name: bytes, state: BlockState) -> None:
        if self.holds:
            self._from_lsp(BlockUpdate(unblock_hash=name, state=state, parts=1))

    def _from_lsp(self, message: Message) -> None:
        self.tell(OnionReceived(async_payment=message.encode()))
