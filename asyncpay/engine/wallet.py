"""Both sides of a wallet as one engine: it pays and is paid beside the same node.

Neither side knows of the other. Each gets the node's events, and its own; to the other an event is the passing
of time. What they decide on one event is stored in one transaction.
"""

from collections.abc import Iterable
from typing import TypeAlias

from asyncpay.engine.core import Tick, Transition
from asyncpay.engine.payee import effects as payee_effects
from asyncpay.engine.payee import events as payee_on
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.events import Announced, PayeeEvent
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import effects as payer_effects
from asyncpay.engine.payer import events as payer_on
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.events import PayerEvent
from asyncpay.engine.payer.records import OutgoingPayment
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
WalletEffect: TypeAlias = payer_effects.Effect | payee_effects.Effect


class Wallet:
    """A payer and a payee. The contract with the shell is that of `asyncpay.engine.lsp.engine`."""

    def __init__(self, payer: Payer, payee: Payee) -> None:
        self.payer = payer
        self.payee = payee

    @property
    def next_deadline(self) -> float:
        """When either side must hear of the time again."""
        return min(self.payer.next_deadline, self.payee.next_deadline)

    @property
    def stored_time(self) -> float | None:
        """The time that the store is a witness of; None if nothing is stored."""
        times = [time for time in (self.payer.stored_time, self.payee.stored_time) if time is not None]
        return max(times, default=None)

    def handle(self, now: float, event: WalletEvent) -> Transition[WalletRecord, WalletEffect]:
        """Let both sides decide on one event at `now`."""
        paying = self.payer.handle(now, event if isinstance(event, PayerEvent) else Tick())
        being_paid = self.payee.handle(now, event if isinstance(event, PayeeEvent) else Tick())
        return Transition(paying.changes + being_paid.changes, paying.effects + being_paid.effects)


def read_message(onion: OnionReceived, pids: Iterable[bytes]) -> payer_on.PayerEvent | payee_on.PayeeEvent | None:
    """The event that a message is; None if it is none of ours.

    pids: of the wallet's own payments, by which a release that says nothing is recognised. Of an Announced the
    invoices are left for the caller to look up. WireError: drop and count it.
    """
    if onion.async_payment is None:
        return _bare_release(onion, pids)
    message = messages.decode(onion.async_payment)
    match message:
        case BlockReply():
            return payer_on.Replied(message)
        case BlockUpdate():
            return payer_on.Updated(message)
        case PaymentPending():
            _check_numbers(message)
            return Announced(message, onion.reply_path, ())
        case PaymentRelease():
            if onion.path_id is not None and onion.path_id != release_path_id(message.pid):
                raise WireError("a release whose pid is not that of the path it came on")
            return payer_on.ReleaseSeen(message.pid, onion.reply_path)
        case PaymentRefused():
            return payer_on.RefusalSeen(message.pid, message.reason)
        case ReleaseReply():
            return payee_on.ReleaseAnswered(message)
    return None


def _bare_release(onion: OnionReceived, pids: Iterable[bytes]) -> payer_on.ReleaseSeen | None:
    """The sketch's own form: a message on the payer's path that says nothing at all."""
    if onion.path_id is None:
        return None
    pid = next((pid for pid in pids if release_path_id(pid) == onion.path_id), None)
    return None if pid is None else payer_on.ReleaseSeen(pid, onion.reply_path)


def _check_numbers(message: PaymentPending) -> None:
    """Anybody may send any 64 bits. What no clock and no supply of coins reaches is nonsense, and no store takes it."""
    if max(message.amount_msat, message.hold_until) >= 2**63:
        raise WireError("a payment_pending with an amount or a time beyond all measure")
