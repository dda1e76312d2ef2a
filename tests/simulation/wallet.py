"""A phone's wallet process in the simulated world: the payer's and the payee's engine beside a simulated node."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from asyncpay.engine.payee import effects as payee_do
from asyncpay.engine.payee import events as payee_on
from asyncpay.engine.payer import effects as payer_do
from asyncpay.engine.payer import events as payer_on
from asyncpay.engine.payer.policy import Policy as PayerPolicy
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.lightning import Invoice, NodeId, OwnInvoice, PaymentResult, PaymentStatus
from asyncpay.node_events import InvoicePaid, NodeEvent, OnionReceived, PeerConnected, PeerDisconnected
from asyncpay.nodes.base import Payment
from asyncpay.wire import messages, signature
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    UNSIGNED,
    BlockReply,
    BlockRequest,
    BlockUpdate,
    CancelRequest,
    Courier,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    release_path_id,
    unblock_hash,
)
from asyncpay.wire.onion import Payload

from .letters import Letters
from .node import SimNode
from .onions import Onions, through
from .process import Engine, Process

PAYER, PAYEE = "payer", "payee"
MOST_ROUTE_BLOCKS = 2016

Engines = Callable[[list[Any], list[Any]], dict[str, Any]]
"""Makes the two engines from what is stored of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user of a wallet, and its configuration, want of a payment.

    beyond_margin_blocks: a careless payer asks for a release_by_height this much too high.
    literal: no reply_path; the payee is told the payer and its LSP, and builds the path itself.
    """

    lsp: SimNode
    way_to_payee: tuple[NodeId, ...]
    invoice: Invoice
    pid: bytes
    hold_seconds: int
    private: bool = False
    literal: bool = False
    beyond_margin_blocks: int = 0


class WalletProcess(Process):
    """`asyncpay wallet`."""

    def __init__(
        self,
        node: SimNode,
        engines: Engines,
        policy: PayerPolicy,
        onions: Onions,
        letters: Letters,
        decode: dict[str, Invoice],
    ) -> None:
        super().__init__(node.kernel, f"{node.name}'s wallet")
        self.node, self.policy = node, policy
        self.stored: dict[str, dict[bytes, Any]] = {PAYER: {}, PAYEE: {}}
        self.on_commit: list[Callable[[Any], None]] = []
        self.shown: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.cancels_sent = 0
        self._engines_from, self._onions, self._letters, self._decode = engines, onions, letters, decode

    def payment(self, payment_hash: bytes) -> OutgoingPayment | None:
        """What is stored of a payment."""
        return self.stored[PAYER].get(payment_hash)

    def _open(self) -> dict[str, Engine]:
        return self._engines_from(list(self.stored[PAYER].values()), list(self.stored[PAYEE].values()))

    def _commit(self, changes: dict[str, list[Any]]) -> None:
        for engine, each in changes.items():
            for change in each:
                if type(change).__name__ == "Put":
                    self.stored[engine][change.record.key] = change.record
                else:
                    self.stored[engine].pop(change.record.key, None)
                for observe in self.on_commit:
                    observe(change)

    def _stages(self, engine: str) -> list[str]:
        return [record.stage.value for record in self.stored[engine].values()]

    def _close(self) -> None:
        self.node.detach()

    def _attach(self) -> bool:
        return self.node.attach(self)

    def _tick(self, engine: str) -> Any:
        return payer_on.Tick() if engine == PAYER else payee_on.Tick()

    def node_died(self) -> None:
        """The stream of events has ended."""
        if self.running:
            self.enqueue(PAYER, payer_on.Detached())
            self.enqueue(PAYEE, payee_on.Detached())
            self.look_for_node()

    # --- what the user wants ---

    def pay(self, order: Order) -> None:
        """Prepare everything, then leave it to the engine."""
        self.enqueue(PAYER, payer_on.Ordered(self._prepared(order)))

    def cancel(self, payment_hash: bytes) -> None:
        """The user wants the payment back."""
        self.enqueue(PAYER, payer_on.CancelOrdered(payment_hash))

    def _prepared(self, order: Order) -> OutgoingPayment:
        """As asyncpay.service prepares it: all that will ever be sent is made and signed now."""
        invoice, policy = order.invoice, self.policy
        amount_msat = invoice.amount_msat or 0
        release_by_height = self.node.height + policy.slack_blocks + order.beyond_margin_blocks
        latest = invoice.expires_at - policy.invoice_margin_seconds
        hold_until = min(int(self.kernel.now) + order.hold_seconds, latest)
        pending = PaymentPending(
            pid=order.pid,
            payer_lsp_node_id=order.lsp.id if order.literal else None,
            payment_hashes=(invoice.payment_hash,),
            payer_node_id=self.node.id if order.literal else None,
            amount_msat=amount_msat,
            release_by_height=release_by_height,
            hold_until=hold_until,
        )
        path = None if order.literal else self._onions.path(self.release_hops(order.lsp, order.pid))
        letter = self._onions.seal(
            through(order.way_to_payee, HopData()), Payload(async_payment=pending.encode(), reply_path=path)
        )
        request = BlockRequest(
            unblock_hash=unblock_hash(order.pid),
            courier=Courier(path_key=letter.path_key, onion=letter.packet),
            payment_hashes=(invoice.payment_hash,),
            invoice=None if order.private else invoice.text,
            amount_msat=amount_msat,
            release_by_height=release_by_height,
            hold_until=hold_until,
            signature=UNSIGNED,
        )
        cancel = CancelRequest(unblock_hash=unblock_hash(order.pid), signature=UNSIGNED)
        return OutgoingPayment(
            payment_hash=invoice.payment_hash,
            pid=order.pid,
            lsp=order.lsp.id,
            payee=invoice.payee,
            invoice=invoice.text,
            description=invoice.description,
            amount_msat=amount_msat,
            fee_limit_msat=policy.fee_base_msat + amount_msat * policy.fee_per_million // 1_000_000,
            slack_blocks=policy.slack_blocks + policy.return_blocks,
            cltv_limit_blocks=MOST_ROUTE_BLOCKS,
            max_parts=policy.max_parts,
            release_by_height=release_by_height,
            hold_until=hold_until,
            request=signed(request, self.node, order.lsp.id).encode(),
            cancel=signed(cancel, self.node, order.lsp.id).encode(),
            pending=letter,
            created_at=self.kernel.now,
        )

    def release_hops(self, lsp: SimNode, pid: bytes) -> list[Hop]:
        """The way by which the pid comes back, as the LSP's implementation needs it."""
        if lsp.implementation.capabilities.transit_release:
            here = HopData(next_node_id=self.node.id, payment_unblock=pid)
            return [Hop(lsp.id, here), Hop(self.node.id, HopData(path_id=release_path_id(pid)))]
        return [Hop(lsp.id, HopData(path_id=pid, payment_unblock=pid))]

    # --- in ---

    def hear(self, event: NodeEvent) -> None:
        """To whom it concerns."""
        match event:
            case OnionReceived():
                self._read(event)
            case InvoicePaid():
                self.enqueue(PAYEE, event)
            case PeerConnected() | PeerDisconnected():
                self.enqueue(PAYER, event)
            case _ if type(event) in _FOR_BOTH:
                self.enqueue(PAYER, event)
                self.enqueue(PAYEE, event)

    def _read(self, onion: OnionReceived) -> None:
        if onion.async_payment is None:
            return
        try:
            message = messages.decode(onion.async_payment)
        except WireError as error:
            self.kernel.tell(self.name, "drops a message: %s", error)
            return
        match message:
            case BlockReply():
                self.enqueue(PAYER, payer_on.Replied(message))
            case BlockUpdate():
                self.enqueue(PAYER, payer_on.Updated(message))
            case PaymentRelease():
                self.enqueue(PAYER, payer_on.ReleaseSeen(message.pid, onion.reply_path))
            case PaymentRefused():
                self.enqueue(PAYER, payer_on.RefusalSeen(message.pid, message.reason))
            case PaymentPending():
                invoices = self._look_up(message.payment_hashes)
                self.enqueue(PAYEE, payee_on.Announced(message, onion.reply_path, invoices))
            case ReleaseReply():
                self.enqueue(PAYEE, payee_on.ReleaseAnswered(message))

    def _look_up(self, payment_hashes: tuple[bytes, ...]) -> tuple[OwnInvoice | None, ...]:
        return tuple(self.node.invoices.look_up(each) for each in payment_hashes)

    # --- out ---

    def _perform(self, engine: str, effect: Any) -> None:
        node = self.node
        match effect:
            case payer_do.Log() | payee_do.Log():
                self.kernel.tell(self.name, "%s (%s)", effect.what, effect.because)
            case payer_do.SendToLsp():
                self.cancels_sent += isinstance(effect.message, CancelRequest)
                self._letters.send_to_peer(node, effect.lsp, effect.message)
            case payer_do.SendPending():
                if self._letters.send(node, effect.lsp, effect.message):
                    self.enqueue(PAYER, payer_on.PendingSent(effect.payment_hash))
            case payer_do.SendAlong():
                self._letters.send_along(node, effect.path, effect.message)
            case payer_do.Pay():
                self._pay(effect)
            case payer_do.Track(payment_hash):
                self._track(payment_hash)
            case payer_do.LookUp(payment_hash) if node.running:
                result = node.payments.look_up(payment_hash)
                self.enqueue(PAYER, payer_on.PaymentSeen(payment_hash, result))
            case payee_do.SendRelease(claim):
                self._show(claim)
            case payee_do.SendRefusal(claim):
                self.refused.add(claim.pid)
                refusal = PaymentRefused(pid=claim.pid, reason=claim.failure or None)
                self._letters.send_to(node, self._lsp_of(claim), refusal)
            case payee_do.LookUpInvoices() if node.running:
                self.enqueue(PAYEE, payee_on.InvoicesSeen(effect.pid, self._look_up(effect.payment_hashes)))

    def _pay(self, effect: payer_do.Pay) -> None:
        if not self.node.running:
            self._paid(effect.payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT))
            return
        self.kernel.tell(self.name, "has its node pay %d msat", effect.amount_msat)
        order = Payment(
            invoice=self._decode[effect.invoice],
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            cltv_limit_blocks=effect.cltv_limit_blocks,
            slack_blocks=effect.slack_blocks,
            max_parts=effect.max_parts,
            timeout_seconds=effect.timeout_seconds,
            through=effect.lsp,
        )
        self.node.payments.pay(order, self.life, lambda result: self._paid(effect.payment_hash, result))

    def _track(self, payment_hash: bytes) -> None:
        if not self.node.running:
            self._paid(payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT))
            return
        self.node.payments.track(payment_hash, self.life, lambda result: self._paid(payment_hash, result))

    def _paid(self, payment_hash: bytes, result: PaymentResult) -> None:
        self.kernel.tell(self.name, "its node's payment: %s", result.status.value)
        self.enqueue(PAYER, payer_on.PaymentReported(payment_hash, result))

    def _show(self, claim: Any) -> None:
        """Show the pid, if the node has followed the chain."""
        if not self.node.running or self.node.height < self.node.chain.height:
            return
        if claim.release_path is None:
            lsp, payer = claim.payer_lsp, claim.payer
            here = HopData(next_node_id=payer, payment_unblock=claim.pid)
            path = self._onions.path([Hop(lsp, here), Hop(payer, HopData(path_id=release_path_id(claim.pid)))])
        else:
            path = BlindedPath.decode(claim.release_path)
        back = self._onions.path(through(self._letters.way_back(self.node, path), HopData()))
        self.shown.add(claim.pid)
        self._letters.send_along(self.node, path, PaymentRelease(pid=claim.pid), back)

    def _lsp_of(self, claim: Any) -> NodeId:
        if claim.release_path is None:
            lsp: NodeId = claim.payer_lsp
            return lsp
        first = BlindedPath.decode(claim.release_path).first_node_id
        assert isinstance(first, bytes)
        return first


_FOR_BOTH = set(payer_on.PayerEvent.__args__) & set(payee_on.PayeeEvent.__args__)  # type: ignore[attr-defined]


def signed(request: Any, node: SimNode, lsp: NodeId) -> Any:
    """The request with the node's own `signmessage` over it."""
    raw = node.key.sign_recoverable(signature.digest(request.signed_text(lsp)), hasher=None)
    return replace(request, signature=bytes([31 + raw[64]]) + raw[:64])
