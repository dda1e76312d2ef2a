"""What goes into the payer's engine and what comes out of it, besides the events of the node (asyncpay.node_events).

Effects are carried out once the changes of the same transition are stored.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.lightning import NodeId, PaymentResult
from asyncpay.log_events import LogEvent
from asyncpay.node_events import (
    NetworkEvent,
)
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import BlockReply, BlockRequest, BlockUpdate, CancelRequest, PaymentRelease, ReleaseReply
from asyncpay.wire.onion import OnionMessage

# --- events ---


@dataclass(frozen=True, slots=True)
class Ordered:
    """The user pays: everything was checked (planning.py), made and signed; state REQUESTED.

    A payment hash that is known already is ignored, unless its payment failed before anything left.
    """

    payment: OutgoingPayment


@dataclass(frozen=True, slots=True)
class CancelOrdered:
    """The user wants the payment with this hash back."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class Replied:
    """A block_reply. Onion messages have no sender: everyone who knows the unblock_hash may have sent it."""

    message: BlockReply


@dataclass(frozen=True, slots=True)
class Updated:
    """A block_update. Everyone who knows the unblock_hash may have sent it."""

    message: BlockUpdate


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """A payment_release reached the payer itself. pid: 32 bytes; an answer goes along reply_path."""

    pid: bytes
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """A payment_refused reached the payer itself. pid: 32 bytes."""

    pid: bytes
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentReported:
    """The answer to a Pay or a Track: the progress of the payment, or its result.

    SUCCEEDED is for good, FAILED and UNKNOWN unless an order to pay was lost sight of.
    IN_FLIGHT: it was lost sight of; the engine asks again.
    """

    payment_hash: bytes
    result: PaymentResult


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """The answer to a LookUp: the progress of the payment at this moment, with the parts in flight."""

    payment_hash: bytes
    result: PaymentResult


@dataclass(frozen=True, slots=True)
class PendingSent:
    """The answer to a SendPending: it has left for the LSP."""

    payment_hash: bytes


PayerEvent: TypeAlias = (
    NetworkEvent
    | Tick
    | Detached
    | ClockRead
    | Ordered
    | CancelOrdered
    | Replied
    | Updated
    | ReleaseSeen
    | RefusalSeen
    | PaymentReported
    | PaymentSeen
    | PendingSent
)


# --- effects ---


@dataclass(frozen=True, slots=True)
class SendToLsp:
    """Send the LSP this message over a path of one hop. If it is not connected, nothing is to be done."""

    lsp: NodeId
    message: BlockRequest | CancelRequest | PaymentRelease


@dataclass(frozen=True, slots=True)
class SendPending:
    """Hand the LSP the message for the payee; when it has left: PendingSent. Otherwise nothing is to be done."""

    payment_hash: bytes
    lsp: NodeId
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class SendAlong:
    """Send this message along the path that came with the question. If that fails, nothing is to be done."""

    path: BlindedPath
    message: ReleaseReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay:
    """Let the node pay, unless it knows a payment of that hash; then report as PaymentReported.

    All parts leave through channels with `lsp`.
    """

    payment_hash: bytes
    lsp: NodeId
    invoice: str
    amount_msat: int
    fee_limit_msat: int
    cltv_limit_blocks: int
    slack_blocks: int
    max_parts: int
    max_part_msat: int | None = None
    timeout_seconds: int


@dataclass(frozen=True, slots=True)
class Track:
    """Find out what became of a payment that may have been started, then report as PaymentReported."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the node for the progress of a payment at this moment, then report as PaymentSeen."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log."""

    what: LogEvent
    payment_hash: bytes
    because: str = ""


Effect: TypeAlias = SendToLsp | SendPending | SendAlong | Pay | Track | LookUp | Log
