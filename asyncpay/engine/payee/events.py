"""What the payee's engine takes in besides the events of the node (asyncpay.node_events)."""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.lightning import OwnInvoice
from asyncpay.node_events import Attached, BlockConnected, InvoicePaid, LinkChanged, LinkClosed
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import PaymentPending, ReleaseReply


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
