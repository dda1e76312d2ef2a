"""Onion messages that end at the wallet's node: what they mean to the payer or the payee."""

from collections.abc import Iterable

from asyncpay.engine.payee import events as payee_on
from asyncpay.engine.payee.events import Announced
from asyncpay.engine.payer import events as payer_on
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


def read(onion: OnionReceived, pids: Iterable[bytes]) -> payer_on.PayerEvent | payee_on.PayeeEvent | None:
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
