"""A phone's wallet process in a simulation: the real engines and the real store with a simulated node."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from asyncpay.engine.payee import interface as payee_io
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.payer import planning
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.planning import PayOptions
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.policy import PayeePolicy, PayerPolicy
from asyncpay.engine.wallet import Wallet, read_message
from asyncpay.lightning import Invoice, NodeId, OwnInvoice, PaymentResult, PaymentStatus
from asyncpay.lsp_info import LspInfo
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    InvoicePaid,
    LinkChanged,
    LinkClosed,
    NodeEvent,
    OnionReceived,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.base import Payment
from asyncpay.store import WalletStore
from asyncpay.wire import signature
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    UNSIGNED,
    BlockRequest,
    CancelRequest,
    Courier,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    invoice_proof,
    release_path_id,
    unblock_hash,
)
from asyncpay.wire.onion import Payload

from .lsp import NOTHING
from .node import NETWORK_NAME, SimNode
from .onions import Messenger, Onions, plain_hops
from .process import Cell, Disk, Process

PAYER, PAYEE = "payer", "payee"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order of a payment, from the wallet's user and its configuration.

    terms: the LSP's terms. literal: no reply_path; the payee learns the payer and its LSP, and builds the path.
    courier: whether the LSP gets a copy of the message to the payee.
    careless_blocks: a careless payer asks for a release_by_height this much too high.
    """

    lsp: SimNode
    terms: LspInfo
    route_to_payee: tuple[NodeId, ...]
    invoice: Invoice
    pid: bytes
    wishes: PayOptions
    private: bool = False
    literal: bool = False
    courier: bool = True
    careless_blocks: int = 0


class WalletProcess(Process):
    """`asyncpay wallet`.

    For checks: shown, refused: pids that it released, and that it refused. shown_in_vain: it released a payment that
    its node would not accept. cancels_sent: to its LSP.
    on_payment: called with each payment that is stored.
    """

    def __init__(
        self,
        node: SimNode,
        disk: Disk,
        policy: PayerPolicy,
        onions: Onions,
        messenger: Messenger,
        decode: dict[str, Invoice],
    ) -> None:
        super().__init__(f"{node.name}'s wallet", node, disk, WalletStore)
        self.policy = policy
        self.shown: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.cancels_sent = 0
        self.shown_in_vain = False
        self.on_payment: Callable[[OutgoingPayment], None] = lambda _: None
        self._engine: Wallet
        self._onions, self._messenger, self._decode = onions, messenger, decode

    def payment(self, payment_hash: bytes) -> OutgoingPayment | None:
        """Return the stored record of a payment."""
        return self.record(OutgoingPayment, payment_hash)

    def start(self) -> None:
        """Start the wallet, but not on a sleeping phone: there it is started with the node when the phone wakes."""
        if self.node.running:
            super().start()

    def _begin(self, records: list[Any]) -> None:
        payments = [record for record in records if isinstance(record, OutgoingPayment)]
        claims = [record for record in records if isinstance(record, Claim)]
        self._engine = Wallet(Payer(self.policy, payments), Payee(PayeePolicy(), claims))

    def _known(self) -> Iterable[Any]:
        yield from self._engine.payer.state.payments
        yield from self._engine.payee.state.claims

    def _cells(self, event: Any) -> Iterable[Cell]:
        name = type(event).__name__
        if isinstance(event, payer_io.PayerEvent):
            payments = [payment.state.value for payment in self._engine.payer.state.payments]
            yield from ((PAYER, state, name) for state in payments or [NOTHING])
        if isinstance(event, payee_io.PayeeEvent):
            claims = [claim.state.value for claim in self._engine.payee.state.claims]
            yield from ((PAYEE, state, name) for state in claims or [NOTHING])

    def _committed(self, record: Any) -> None:
        if isinstance(record, OutgoingPayment):
            self.on_payment(record)

    # --- actions of the user ---

    def pay(self, order: Order) -> None:
        """Prepare everything, then pass it to the engine."""
        self.enqueue(payer_io.Ordered(self._prepared(order)))

    def cancel(self, payment_hash: bytes) -> None:
        """The user cancels the payment."""
        self.enqueue(payer_io.CancelOrdered(payment_hash))

    def _prepared(self, order: Order) -> OutgoingPayment:
        """Prepare like asyncpay.service.wallet.orders: all later messages are made and signed now."""
        invoice, policy, now = order.invoice, self.policy, self.kernel.now
        height = self.node.height
        plan = planning.plan(invoice, order.wishes, order.terms, policy, now=now, height=height, network=NETWORK_NAME)
        plan = replace(plan, release_by_height=plan.release_by_height + order.careless_blocks)
        pending = PaymentPending(
            pid=order.pid,
            payer_lsp_node_id=order.lsp.id if order.literal else None,
            payment_hashes=(invoice.payment_hash,),
            payer_node_id=self.node.id if order.literal else None,
            amount_msat=plan.amount_msat,
            release_by_height=plan.release_by_height,
            hold_until=plan.hold_until,
            invoice_proof=invoice_proof(order.pid, (invoice.payment_hash,), (invoice.payment_secret or b"",)),
        )
        path = None if order.literal else self._onions.path(self.release_hops(order.lsp, order.pid))
        message = self._onions.seal(
            plain_hops(order.route_to_payee, HopData()), Payload(async_payment=pending.encode(), reply_path=path)
        )
        can = order.lsp.implementation.capabilities
        needs_invoice = can.pays_on_behalf and not can.forwards_with_payer_offline
        request = BlockRequest(
            unblock_hash=unblock_hash(order.pid),
            courier=Courier(path_key=message.path_key, onion=message.packet) if order.courier else None,
            payment_hashes=(invoice.payment_hash,),
            invoice=invoice.text if needs_invoice and not order.private else None,
            amount_msat=plan.amount_msat,
            release_by_height=plan.release_by_height,
            hold_until=plan.hold_until,
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
            amount_msat=plan.amount_msat,
            fee_limit_msat=plan.fee_limit_msat,
            slack_blocks=plan.slack_blocks,
            cltv_limit_blocks=plan.cltv_limit_blocks,
            max_parts=policy.max_parts,
            release_by_height=plan.release_by_height,
            hold_until=plan.hold_until,
            request=signed(request, self.node, order.lsp.id).encode(),
            cancel=signed(cancel, self.node, order.lsp.id).encode(),
            pending=message,
            created_at=now,
        )

    def release_hops(self, lsp: SimNode, pid: bytes) -> list[Hop]:
        """Return the reply path for the pid, in the form that the LSP's implementation needs."""
        if lsp.implementation.capabilities.transit_release:
            here = HopData(next_node_id=self.node.id, payment_unblock=pid)
            return [Hop(lsp.id, here), Hop(self.node.id, HopData(path_id=release_path_id(pid)))]
        return [Hop(lsp.id, HopData(path_id=pid, payment_unblock=pid))]

    # --- in ---

    def _take(self, event: NodeEvent) -> None:
        """Handle an event like asyncpay.service.wallet.session."""
        match event:
            case OnionReceived():
                self._read(event)
            case Attached() | BlockConnected() | PeerConnected() | PeerDisconnected():
                self.enqueue(event)
            case LinkChanged() | LinkClosed() | InvoicePaid():
                self.enqueue(event)

    def _read(self, onion: OnionReceived) -> None:
        try:
            asked = read_message(onion, self._engine.payer.state.payments)
        except WireError as error:
            self.kernel.log(self.name, "drops a message: %s", error)
            return
        if isinstance(asked, payee_io.Announced):
            asked = replace(asked, invoices=self._look_up(asked.message.payment_hashes))
        if asked is not None:
            self.enqueue(asked)

    def _look_up(self, payment_hashes: tuple[bytes, ...]) -> tuple[OwnInvoice | None, ...]:
        return tuple(self.node.invoices.look_up(each) for each in payment_hashes)

    # --- out ---

    def _perform(self, effect: Any) -> None:  # noqa: C901 - one case for each effect
        node = self.node
        match effect:
            case payer_io.Log() | payee_io.Log():
                self.kernel.log(self.name, "%s (%s)", effect.what, effect.because)
            case payer_io.SendToLsp():
                self.cancels_sent += isinstance(effect.message, CancelRequest)
                self._messenger.send_to_peer(node, effect.lsp, effect.message)
            case payer_io.SendPending():
                if self._messenger.send(node, effect.lsp, effect.message):
                    self.enqueue(payer_io.PendingSent(effect.payment_hash))
            case payer_io.SendAlong():
                self._messenger.send_along(node, effect.path, effect.message)
            case payer_io.Pay():
                self._pay(effect)
            case payer_io.Track(payment_hash):
                self._track(payment_hash)
            case payer_io.LookUp(payment_hash) if node.running:
                result = node.payments.look_up(payment_hash)
                self.enqueue(payer_io.PaymentSeen(payment_hash, result))
            case payee_io.SendRelease(claim):
                self._show(claim)
            case payee_io.SendRefusal(claim, reason):
                self.refused.add(claim.pid)
                refusal = PaymentRefused(pid=claim.pid, reason=reason)
                self._messenger.send_to(node, self._lsp_of(claim), refusal)
            case payee_io.LookUpInvoices() if node.running:
                self.enqueue(payee_io.InvoicesSeen(effect.pid, self._look_up(effect.payment_hashes)))

    def _pay(self, effect: payer_io.Pay) -> None:
        if not self.node.running:
            self._paid(effect.payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT))
            return
        self.kernel.log(self.name, "has its node pay %d msat", effect.amount_msat)
        order = Payment(
            invoice=self._decode[effect.invoice],
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            cltv_limit_blocks=effect.cltv_limit_blocks,
            slack_blocks=effect.slack_blocks,
            max_parts=effect.max_parts,
            timeout_seconds=effect.timeout_seconds,
            first_hop=effect.lsp,
        )
        self.node.payments.pay(order, self.lifetime, lambda result: self._paid(effect.payment_hash, result))

    def _track(self, payment_hash: bytes) -> None:
        if not self.node.running:
            self._paid(payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT))
            return
        self.node.payments.track(payment_hash, self.lifetime, lambda result: self._paid(payment_hash, result))

    def _paid(self, payment_hash: bytes, result: PaymentResult) -> None:
        self.kernel.log(self.name, "its node's payment: %s", result.status.value)
        self.enqueue(payer_io.PaymentReported(payment_hash, result))

    def _show(self, claim: Any) -> None:
        """Send the pid, if the node is synced to the chain."""
        if not self.node.running or self.node.height < self.node.chain.height:
            return
        if claim.release_path is None:
            lsp, payer = claim.payer_lsp, claim.payer
            here = HopData(next_node_id=payer, payment_unblock=claim.pid)
            path = self._onions.path([Hop(lsp, here), Hop(payer, HopData(path_id=release_path_id(claim.pid)))])
        else:
            path = BlindedPath.decode(claim.release_path)
        back = self._onions.path(plain_hops(self._messenger.reply_route(self.node, path), HopData()))
        self.shown.add(claim.pid)
        invoices = [self.node.invoices.known[each] for each in claim.payment_hashes]
        self.shown_in_vain |= any(invoice.cancelled for invoice in invoices)
        self.kernel.changed()
        self._messenger.send_along(self.node, path, PaymentRelease(pid=claim.pid), back)

    def _lsp_of(self, claim: Any) -> NodeId:
        if claim.release_path is None:
            lsp: NodeId = claim.payer_lsp
            return lsp
        first = BlindedPath.decode(claim.release_path).first_node_id
        assert isinstance(first, bytes)
        return first


def signed(request: Any, node: SimNode, lsp: NodeId) -> Any:
    """Return the request with a signature of the node's own `signmessage`."""
    raw = node.key.sign_recoverable(signature.digest(request.signed_text(lsp)), hasher=None)
    return replace(request, signature=bytes([31 + raw[64]]) + raw[:64])
