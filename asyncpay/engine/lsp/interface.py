"""What goes into the LSP's engine and what comes out of it, besides the events of the node (asyncpay.node_events).

An OnionReceived goes through `requests.parse_onion` first, which makes one of these events of it. Effects are carried
out once the changes of the same transition are stored.
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
    Resolution,
)
from asyncpay.log_events import LogEvent
from asyncpay.node_events import (
    HtlcEvent,
    NetworkEvent,
    OnionInTransit,
)
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import BlockReply, BlockRequest, BlockState, BlockUpdate, CancelRequest, ReleaseReply
from asyncpay.wire.onion import OnionMessage

# --- events ---


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
    """A pid is shown (32 bytes); an answer goes along reply_path."""

    pid: bytes
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """A node that knows the pid (32 bytes) will not release it, for a reason that people may read."""

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
class CourierSent:
    """The answer to a Relay of a node that tells it: the courier of this block (unblock_hash) goes to this node."""

    block: bytes
    next_hop: NodeId


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
    NetworkEvent
    | HtlcEvent
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
    | CourierSent
    | UpdateSent
    | NotificationReported
    | WebhookSet
    | WebhookRemoved
)


# --- effects ---


@dataclass(frozen=True, slots=True)
class ResolveHtlc:
    """Answer a held HTLC. If it certainly did not reach the node: ResolutionUndelivered."""

    key: HtlcKey
    resolution: Resolution
    preimage: bytes | None = None


@dataclass(frozen=True, slots=True)
class SendToClient:
    """Send a client this message over a path of one hop. When a BlockUpdate has left: UpdateSent.

    If the client is not connected, nothing is to be done.
    """

    client: NodeId
    message: BlockReply | BlockUpdate


@dataclass(frozen=True, slots=True)
class SendAlong:
    """Send this message along the path that came with the question. If that fails, nothing is to be done.

    client: whose block was asked about; None: no block is known, so a stranger asks, and gets little effort.
    """

    path: BlindedPath
    message: ReleaseReply
    client: NodeId | None


@dataclass(frozen=True, slots=True)
class Deliver:
    """Forward a stored onion message to its client, then report as DeliveryReported."""

    client: NodeId
    message_id: bytes
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class Relay:
    """Forward the courier of a client's block, as if it had just come in from that client.

    If the node tells where it went: CourierSent. If its next hop is not connected: that, and OnionInTransit with
    source=client and undelivered=True. block: its unblock_hash. next_hop: None if the node has not told it yet.
    """

    client: NodeId
    message: OnionMessage
    block: bytes
    next_hop: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Push to a client's webhooks, then report as NotificationReported.

    timeout: the block height that lsps5.expiry_soon carries; None for the other methods.
    """

    client: NodeId
    method: Method
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTerms:
    """Ask the node for the terms of its channels with these peers, and whether it knows a payment of this hash.

    Then report as TermsReported. block: its unblock_hash.
    """

    block: bytes
    payment_hash: bytes
    peers: frozenset[NodeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayOnBehalf:
    """Pay this invoice, unless the node knows a payment of that hash; then report as PaymentReported.

    latest_expiry: the height by which every HTLC that is sent must have expired; the node's own route is checked.
    incoming_msat, incoming_expiry: what the held parts bring, and when the first of them expires. The node may pay over
        another channel than the payer's onion names, and keeps what forwarding over that one would bring.
    """

    payment_hash: bytes
    invoice: str
    amount_msat: int
    fee_limit_msat: int
    latest_expiry: int
    incoming_msat: int
    incoming_expiry: int
    timeout_seconds: int


@dataclass(frozen=True, slots=True)
class TrackPayment:
    """Find out what became of a payment that may have been started, then report as PaymentReported."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class ForceClose:
    """Close this channel unilaterally, then report as ForceCloseReported, also if it did not succeed."""

    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class RequestHtlcSnapshot:
    """Ask the node for all pending HTLCs, then report as HtlcSnapshot with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log: something that an operator may want to follow. block: its unblock_hash."""

    what: LogEvent
    block: bytes | None = None
    payment_hashes: tuple[bytes, ...] = ()
    because: str = ""


Effect: TypeAlias = (
    ResolveHtlc
    | SendToClient
    | SendAlong
    | Deliver
    | Relay
    | Notify
    | QueryTerms
    | PayOnBehalf
    | TrackPayment
    | ForceClose
    | RequestHtlcSnapshot
    | Log
)
