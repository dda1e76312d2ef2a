"""Both sides of a wallet as one engine: it pays and is paid through the same node.

Neither side depends on the other. Each gets the node's events and its own events; it handles any other event as a Tick.
The decisions of both on one event are stored in one transaction.
"""

from typing import TypeAlias

from asyncpay.engine.core import Tick, Transition, WholeInMemory
from asyncpay.engine.payee import interface as payee_io
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import Announced, PayeeEvent
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import PayerEvent
from asyncpay.engine.payer.records import OutgoingPayment, PaymentRecords
from asyncpay.node_events import OnionReceived
from asyncpay.wire import messages
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    BlockReply,
    BlockUpdate,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    release_path_id,
)

WalletRecord: TypeAlias = OutgoingPayment | Claim
WalletEvent: TypeAlias = PayerEvent | PayeeEvent
WalletEffect: TypeAlias = payer_io.Effect | payee_io.Effect


class Wallet(WholeInMemory):
    """A payer and a payee, as one `asyncpay.engine.core.Engine`."""

    def __init__(self, payer: Payer, payee: Payee) -> None:
        self.payer = payer
        self.payee = payee

    @property
    def next_deadline(self) -> float:
        """The time at which either side needs a Tick, if no event comes before; infinity for never."""
        return min(self.payer.next_deadline, self.payee.next_deadline)

    @property
    def stored_time(self) -> float | None:
        """The latest time, as `handle` takes it, that the records prove to have passed; None if there are none."""
        times = [time for time in (self.payer.stored_time, self.payee.stored_time) if time is not None]
        return max(times, default=None)

    def handle(self, now: float, event: WalletEvent) -> Transition[WalletRecord, WalletEffect]:
        """Let both sides handle one event at `now`."""
        paying = self.payer.handle(now, event if isinstance(event, PayerEvent) else Tick())
        being_paid = self.payee.handle(now, event if isinstance(event, PayeeEvent) else Tick())
        return Transition(paying.changes + being_paid.changes, paying.effects + being_paid.effects)


def read_message(onion: OnionReceived, payments: PaymentRecords) -> WalletEvent | None:
    """Return the event for an onion message; None if the message is not of this protocol.

    payments: the wallet's own, to recognise a release without content by its path. The caller must look up the invoices
    of an Announced. WireError: drop and count the message.
    """
    if onion.async_payment is None:
        return _bare_release(onion, payments)
    message = messages.decode(onion.async_payment)
    match message:
        case BlockReply():
            return payer_io.Replied(message)
        case BlockUpdate():
            return payer_io.Updated(message)
        case PaymentPending():
            _check_numbers(message)
            return Announced(message, onion.reply_path, ())
        case PaymentRelease():
            if onion.path_id is not None and onion.path_id != release_path_id(message.pid):
                raise WireError("the pid of the release differs from the pid of its path")
            return payer_io.ReleaseSeen(message.pid, onion.reply_path)
        case PaymentRefused():
            return payer_io.RefusalSeen(message.pid, message.reason)
        case ReleaseReply():
            return payee_io.ReleaseAnswered(message)
    return None


def _bare_release(onion: OnionReceived, payments: PaymentRecords) -> payer_io.ReleaseSeen | None:
    """Return the release for a message without content on the payer's own path: the protocol's first form."""
    payment = None if onion.path_id is None else payments.of_release_path(onion.path_id)
    return None if payment is None else payer_io.ReleaseSeen(payment.pid, onion.reply_path)


def _check_numbers(message: PaymentPending) -> None:
    """Refuse an amount above the supply of bitcoin or a time above any clock: the store cannot hold them."""
    if max(message.amount_msat, message.hold_until) >= 2**63:
        raise WireError("the amount or a time of the payment_pending is out of range")
