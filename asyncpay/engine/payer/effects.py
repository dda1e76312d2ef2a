"""What the payer's engine wants done, once the changes of the same transition are stored."""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.lightning import NodeId
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import BlockRequest, CancelRequest, PaymentRelease, ReleaseReply
from asyncpay.wire.onion import OnionMessage


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

    what: str
    payment_hash: bytes
    because: str = ""


Effect: TypeAlias = SendToLsp | SendPending | SendAlong | Pay | Track | LookUp | Log
