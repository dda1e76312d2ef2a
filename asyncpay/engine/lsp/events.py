"""What the LSP engine takes in, beside the events of the node itself (asyncpay.node_events).

An OnionReceived goes through `requests.parse_onion` first, which makes one of these of it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from asyncpay.engine.core import ClockRead, Detached, Tick
from asyncpay.engine.lsp.records import Method
from asyncpay.lightning import (
    ChannelId,
    ChannelTerms,
    HtlcKey,
    Invoice,
    NodeId,
    PaymentResult,
    PaymentStatus,
    PendingHtlc,
)
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    OnionInTransit,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import BlockRequest, BlockState, CancelRequest


@dataclass(frozen=True, slots=True)
class HtlcSnapshot:
    """All HTLCs on open channels, asked for by the RequestHtlcSnapshot of this number."""

    number: int
    pending: tuple[PendingHtlc, ...]


@dataclass(frozen=True, slots=True)
class BlockRequested:
    """`client` signed this request. invoice: request.invoice as the node reads it; None if it cannot."""

    client: NodeId
    request: BlockRequest
    invoice: Invoice | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """`client` signed this request."""

    client: NodeId
    request: CancelRequest


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """Somebody shows a pid (32 bytes); an answer goes along reply_path."""

    pid: bytes
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """Somebody who knows the pid (32 bytes) will not release it, for a reason that people may read."""

    pid: bytes
    reason: str | None = None
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class ResolutionUndelivered:
    """An ResolveHtlc that certainly never reached the node."""

    key: HtlcKey


@dataclass(frozen=True, slots=True)
class TermsReported:
    """The answer to QueryTerms. channels: None if the node did not tell. known: of the payment."""

    block: bytes
    channels: tuple[ChannelTerms, ...] | None
    known: PaymentStatus = PaymentStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class PaymentReported:
    """Where the payment asked for by PayOnBehalf or TrackPayment stands.

    SUCCEEDED, FAILED and UNKNOWN are what the node says; IN_FLIGHT: it was lost sight of, and the engine asks again.
    An order that was on its way when the connection broke may still reach the node after it said FAILED or UNKNOWN.
    of_order: the PayOnBehalf has ended with this. Otherwise it answers a TrackPayment, and may be older than an order.
    """

    payment_hash: bytes
    result: PaymentResult
    of_order: bool = False


@dataclass(frozen=True, slots=True)
class ForceCloseReported:
    """A ForceClose has ended, whether the node did it or not: an HTLC snapshot tells what is still on the channel."""

    channel_id: ChannelId


class Delivery(Enum):
    """What became of a Deliver."""

    DONE = "done"
    NOT_CONNECTED = "not connected"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class DeliveryReported:
    """The answer to a Deliver."""

    client: NodeId
    message_id: bytes
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class UpdateSent:
    """A BlockUpdate has left for its client: the answer to a SendToClient of one."""

    unblock_hash: bytes
    state: BlockState


@dataclass(frozen=True, slots=True)
class NotificationReported:
    """The answer to a Notify; delivered: at least one webhook took it."""

    client: NodeId
    method: Method
    delivered: bool


@dataclass(frozen=True, slots=True)
class WebhookSet:
    """A client registered a webhook, or replaced the one with the same app_name."""

    client: NodeId
    app_name: str
    url: str


@dataclass(frozen=True, slots=True)
class WebhookRemoved:
    """A client took a webhook back."""

    client: NodeId
    app_name: str


LspEvent: TypeAlias = (
    Attached
    | BlockConnected
    | PeerConnected
    | PeerDisconnected
    | LinkChanged
    | LinkClosed
    | HtlcOffered
    | HtlcSettled
    | HtlcFailed
    | HtlcGone
    | OnionInTransit
    | Tick
    | Detached
    | ClockRead
    | HtlcSnapshot
    | BlockRequested
    | CancelRequested
    | ReleaseSeen
    | RefusalSeen
    | ResolutionUndelivered
    | TermsReported
    | PaymentReported
    | ForceCloseReported
    | DeliveryReported
    | UpdateSent
    | NotificationReported
    | WebhookSet
    | WebhookRemoved
)
