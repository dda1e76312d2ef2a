"""The events and effects of the payee's engine, in addition to the events of the node (asyncpay.node_events).

Effects are performed after the changes of the same transition are stored.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.payee.records import Claim
from asyncpay.lightning import OwnInvoice
from asyncpay.log_events import LogEvent
from asyncpay.node_events import Attached, BlockConnected, InvoicePaid, LinkChanged, LinkClosed
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import PaymentPending, ReleaseReply

# --- events ---


@dataclass(frozen=True, slots=True)
class Announced:
    """A payment_pending. invoices: the node's invoice for each payment hash, in order; None: it has none."""

    message: PaymentPending
    reply_path: BlindedPath | None
    invoices: tuple[OwnInvoice | None, ...]


@dataclass(frozen=True, slots=True)
class InvoicesSeen:
    """The answer to a LookUpInvoices of this pid."""

    pid: bytes
    invoices: tuple[OwnInvoice | None, ...]


@dataclass(frozen=True, slots=True)
class ReleaseAnswered:
    """A release_reply. Any node that knows the pid may have sent it."""

    message: ReleaseReply


@dataclass(frozen=True, slots=True)
class ReleaseHeldBack:
    """A SendRelease of this pid was not performed, because the node is not synced to the chain."""

    pid: bytes


PayeeEvent: TypeAlias = (
    Attached
    | BlockConnected
    | LinkChanged
    | LinkClosed
    | InvoicePaid
    | Tick
    | Detached
    | ClockRead
    | Announced
    | InvoicesSeen
    | ReleaseAnswered
    | ReleaseHeldBack
)


# --- effects ---


@dataclass(frozen=True, slots=True)
class SendRelease:
    """Send the pid to the payer's LSP, along the claim's path, with a reply path.

    Only while the node is synced to the chain; if it is not, report ReleaseHeldBack. If it cannot be sent for another
    reason, do nothing.
    """

    claim: Claim


@dataclass(frozen=True, slots=True)
class SendRefusal:
    """Send the payer's LSP the refusal to ever release this pid, with the reason. It is addressed to the LSP itself,
    because on the path for the release the LSP would see only the pid. If it cannot be sent, do nothing.

    reason: for the payer; it may be less specific than the claim's `failure`.
    """

    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True)
class LookUpInvoices:
    """Look up the node's invoices for these payment hashes, then report InvoicesSeen."""

    pid: bytes
    payment_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log."""

    what: LogEvent
    pid_hash: bytes
    payment_hashes: tuple[bytes, ...] = ()
    because: str = ""


Effect: TypeAlias = SendRelease | SendRefusal | LookUpInvoices | Log
