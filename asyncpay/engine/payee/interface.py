"""What goes into the payee's engine and what comes out of it, besides the events of the node (asyncpay.node_events).

Effects are carried out once the changes of the same transition are stored.
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
    """A payment_pending. invoices: what the node knows of each payment hash, in their order; None: not its own."""

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
    """A release_reply. Everyone who knows the pid may have sent it."""

    message: ReleaseReply


@dataclass(frozen=True, slots=True)
class ReleaseHeldBack:
    """A SendRelease of this pid was not carried out, because the node has not followed the chain."""

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
    """Show the pid to the payer's LSP, along the claim's path, with a way to answer.

    Only while the node is synced to the chain; if it is not: ReleaseHeldBack. If it cannot be sent for another
    reason, nothing is to be done.
    """

    claim: Claim


@dataclass(frozen=True, slots=True)
class SendRefusal:
    """Tell the payer's LSP that this pid will never be released, and why; addressed to the LSP itself, since on
    the path for the release it would see nothing but the pid. If it cannot be sent, nothing is to be done.

    reason: for the payer; it may say less than the claim's `failure`.
    """

    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True)
class LookUpInvoices:
    """Ask the node what it knows of these payment hashes, then report as InvoicesSeen."""

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
