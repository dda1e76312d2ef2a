"""A world for the payee's engine: a node with invoices, payers who announce, losses and crashes."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from asyncpay.engine.core import Detached
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import (
    Announced,
    Effect,
    InvoicesSeen,
    LookUpInvoices,
    PayeeEvent,
    ReleaseAnswered,
    SendRefusal,
    SendRelease,
)
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.states import State
from asyncpay.engine.policy import PayeePolicy
from asyncpay.lightning import ChannelId, Link, OwnInvoice, ShortChannelId
from asyncpay.node_events import Attached, BlockConnected, InvoicePaid, LinkChanged
from asyncpay.wire.blinding import BlindedHop, BlindedPath
from asyncpay.wire.messages import PaymentPending, ReleaseReply, ReleaseStatus, invoice_proof, unblock_hash
from tests.support.engine_harness import EngineHarness
from tests.support.keys import node_id

LSP, PAYER_LSP, PAYER, PAYEE = (node_id(name) for name in ("LSP", "payer's LSP", "payer", "payee"))
CHANNEL = ShortChannelId.parse("100x1x0")
PID, PID2 = b"p" * 32, b"q" * 32
HASH, HASH2 = sha256(b"1").digest(), sha256(b"2").digest()
START = 1_000_000.0
HEIGHT = 500
AMOUNT = 1000
SECRET, SECRET2 = b"s" * 32, b"t" * 32
SECRETS = {HASH: SECRET, HASH2: SECRET2}
PATH = BlindedPath(first_node_id=PAYER_LSP, first_path_key=PAYER_LSP, hops=(BlindedHop(PAYER_LSP, b""),))


def pending(pid: bytes = PID, *, proven: bool = True, **changes: Any) -> PaymentPending:
    """As a payer sends it that has the invoices; or who knows no more than the payment hashes."""
    values: dict[str, Any] = {
        "pid": pid,
        "payment_hashes": (HASH,),
        "amount_msat": AMOUNT,
        "release_by_height": HEIGHT + 432,
        "hold_until": int(START) + 86_400,
    }
    message = PaymentPending(**(values | changes))
    if not proven or message.invoice_proof is not None:
        return message
    secrets = [SECRETS.get(each, bytes(32)) for each in message.payment_hashes]
    return replace(message, invoice_proof=invoice_proof(message.pid, message.payment_hashes, secrets))


@dataclass
class NodeInvoice:
    amount_msat: int | None = AMOUNT
    expires_at: int = int(START) + 100_000
    cancelled: bool = False
    paid: bool = False
    has_secret: bool = True


class PayeeHarness(EngineHarness[PayeeEvent, Claim, Effect]):
    """One payee with an invoice."""

    engine: Payee

    def __init__(self, policy: PayeePolicy | None = None, *, online: bool = True) -> None:
        super().__init__(START)
        self.policy = PayeePolicy() if policy is None else policy
        self.height = HEIGHT
        self.online = online
        self.invoices = {HASH: NodeInvoice()}
        self.attached = False
        self.start()

    # --- the shell ---

    def start(self) -> None:
        self._queue.clear()
        self.engine = Payee(self.policy, self.stored.values())
        self.attach()

    def attach(self) -> None:
        self.attached = True
        self.feed(
            Attached(
                node_id=PAYEE, network="regtest", height=self.height, links=(self.link(),), online=frozenset({LSP})
            )
        )

    def detach(self) -> None:
        self.attached = False
        self.feed(Detached())

    def carry_out(self, effect: Effect) -> None:
        if isinstance(effect, LookUpInvoices) and self.attached:
            self._queue.append(InvoicesSeen(effect.pid, self.known(effect.payment_hashes)))

    # --- the node ---

    def link(self) -> Link:
        return Link(channel_id=ChannelId.from_name(CHANNEL), short_channel_id=CHANNEL, peer=LSP, usable=self.online)

    def known(self, payment_hashes: tuple[bytes, ...]) -> tuple[OwnInvoice | None, ...]:
        """What the node says of these."""
        return tuple(self._own(each, self.invoices[each]) if each in self.invoices else None for each in payment_hashes)

    @staticmethod
    def _own(payment_hash: bytes, invoice: NodeInvoice) -> OwnInvoice:
        return OwnInvoice(
            payment_hash=payment_hash,
            amount_msat=invoice.amount_msat,
            expires_at=invoice.expires_at,
            payable=not invoice.paid and not invoice.cancelled,
            paid=invoice.paid,
            payment_secret=SECRETS[payment_hash] if invoice.has_secret else None,
        )

    def paid(self, payment_hash: bytes = HASH) -> None:
        """The money comes."""
        self.invoices[payment_hash].paid = True
        self._tell(InvoicePaid(payment_hash, AMOUNT))

    def connect(self) -> None:
        self.online = True
        self._tell(LinkChanged(self.link()))

    def disconnect(self) -> None:
        self.online = False
        self._tell(LinkChanged(self.link()))

    def _tell(self, event: PayeeEvent) -> None:
        if self.attached:
            self.feed(event)

    def mine(self, blocks: int = 1) -> None:
        self.height += blocks
        self._tell(BlockConnected(self.height))

    # --- people ---

    def announce(self, pid: bytes = PID, path: BlindedPath | None = PATH, **changes: Any) -> list[Any]:
        message = pending(pid, **changes)
        return self.feed(Announced(message, path, self.known(message.payment_hashes)))

    def answer(self, status: ReleaseStatus, pid: bytes = PID) -> list[Any]:
        return self.feed(ReleaseAnswered(ReleaseReply(unblock_hash=unblock_hash(pid), status=status)))

    # --- what is seen ---

    @property
    def claim(self) -> Claim:
        return self.stored[PID]

    @property
    def state(self) -> State:
        return self.claim.state

    @property
    def releases(self) -> int:
        return len(self.did(SendRelease))

    @property
    def refusals(self) -> list[str]:
        """What payers were told."""
        return [each.reason for each in self.did(SendRefusal)]
