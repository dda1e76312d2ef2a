"""The events and effects of the payer's engine, in addition to the events of the node (asyncpay.node_events).

Effects are performed after the changes of the same transition are stored.
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
    """The user orders a payment: it is checked (planning.py), and its messages are created and signed; state REQUESTED.

    A payment hash that is already known is ignored, unless its payment failed before anything was sent.
    """

    payment: OutgoingPayment


@dataclass(frozen=True, slots=True)
class CancelOrdered:
    """The user cancels the payment with this hash."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class Replied:
    """A block_reply. Onion messages have no sender: any node that knows the unblock_hash may have sent it."""

    message: BlockReply


@dataclass(frozen=True, slots=True)
class Updated:
    """A block_update. Any node that knows the unblock_hash may have sent it."""

    message: BlockUpdate


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """A payment_release reached the payer itself. pid: 32 bytes; the answer is sent along reply_path."""

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

    SUCCEEDED is final; FAILED and UNKNOWN are final unless an order to pay may still be in transit to the node.
    IN_FLIGHT: the payment is no longer followed; the engine asks again.
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
    """Send the LSP this message over a path of one hop. If it is not connected, do nothing."""

    lsp: NodeId
    message: BlockRequest | CancelRequest | PaymentRelease


@dataclass(frozen=True, slots=True)
class SendPending:
    """Send the LSP the message for the payee, then report PendingSent. If it cannot be sent, do nothing."""

    payment_hash: bytes
    lsp: NodeId
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class SendAlong:
    """Send this message along the reply path of the request. If that fails, do nothing."""

    path: BlindedPath
    message: ReleaseReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay:
    """Let the node pay, unless it knows a payment of that hash; then report PaymentReported.

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
    """Follow a payment that may have been started, then report PaymentReported."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the node for the progress of a payment at this moment, then report PaymentSeen."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log."""

    what: LogEvent
    payment_hash: bytes
    because: str = ""


Effect: TypeAlias = SendToLsp | SendPending | SendAlong | Pay | Track | LookUp | Log
