"""The events and effects of the LSP's engine, in addition to the events of the node (asyncpay.node_events).

`requests.parse_onion` turns an OnionReceived into one of these events. Effects are performed after the changes of the
same transition are stored.
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
    """All HTLCs on open channels: the answer to the RequestHtlcSnapshot of this number."""

    number: int
    pending: tuple[PendingHtlc, ...]


@dataclass(frozen=True, slots=True)
class BlockRequested:
    """A block_request signed by `client`. invoice: request.invoice as the node decodes it; None if it cannot."""

    client: NodeId
    request: BlockRequest
    invoice: Invoice | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A cancel_request signed by `client`."""

    client: NodeId
    request: CancelRequest


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """A release with this pid (32 bytes); the answer is sent along reply_path."""

    pid: bytes
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """A refusal by a node that knows the pid (32 bytes), with a reason for users."""

    pid: bytes
    reason: str | None = None
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True)
class ResolutionUndelivered:
    """A ResolveHtlc that certainly did not reach the node."""

    key: HtlcKey


@dataclass(frozen=True, slots=True)
class TermsReported:
    """The answer to QueryTerms. channels: None if the node did not answer. known: the node's record of the payment."""

    block: bytes
    channels: tuple[ChannelTerms, ...] | None
    known: PaymentStatus = PaymentStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class PaymentReported:
    """The progress or the result of the payment of a PayOnBehalf or TrackPayment.

    The node reports SUCCEEDED, FAILED and UNKNOWN; IN_FLIGHT: it is no longer followed, and the engine asks again.
    An order that was in transit when the connection broke may still reach the node after it reported FAILED or UNKNOWN.
    of_order: this is the end of the PayOnBehalf. Otherwise it answers a TrackPayment, and may be older than an order.
    """

    payment_hash: bytes
    result: PaymentResult
    of_order: bool = False


@dataclass(frozen=True, slots=True)
class ForceCloseReported:
    """A ForceClose has ended, with or without success: an HTLC snapshot shows which HTLCs are still on the channel."""

    channel_id: ChannelId


class Delivery(Enum):
    """The result of a Deliver."""

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
    """The answer to a Relay if the node reports it: the next hop of the courier of this block (unblock_hash)."""

    block: bytes
    next_hop: NodeId


@dataclass(frozen=True, slots=True)
class UpdateSent:
    """A BlockUpdate has left for its client: the answer to a SendToClient of one."""

    unblock_hash: bytes
    state: BlockState


@dataclass(frozen=True, slots=True)
class NotificationReported:
    """The answer to a Notify; delivered: at least one webhook accepted it."""

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
    """A client removed a webhook."""

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
    """Resolve a held HTLC. If the resolution certainly did not reach the node, report ResolutionUndelivered."""

    key: HtlcKey
    resolution: Resolution
    preimage: bytes | None = None


@dataclass(frozen=True, slots=True)
class SendToClient:
    """Send a client this message over a path of one hop. After a BlockUpdate was sent, report UpdateSent.

    If the client is not connected, do nothing.
    """

    client: NodeId
    message: BlockReply | BlockUpdate


@dataclass(frozen=True, slots=True)
class SendAlong:
    """Send this message along the reply path of the request. If that fails, do nothing.

    client: the client of the block in question; None: no block is known, so the request is a stranger's, and little
    effort is spent on the answer.
    """

    path: BlindedPath
    message: ReleaseReply
    client: NodeId | None


@dataclass(frozen=True, slots=True)
class Deliver:
    """Forward a stored onion message to its client, then report DeliveryReported."""

    client: NodeId
    message_id: bytes
    message: OnionMessage


@dataclass(frozen=True, slots=True)
class Relay:
    """Forward the courier of a client's block, as if it had just come in from that client.

    If the node reports its next hop, report CourierSent. If the next hop is not connected, also report OnionInTransit
    with source=client and undelivered=True. block: its unblock_hash. next_hop: None if the node has not told it yet.
    """

    client: NodeId
    message: OnionMessage
    block: bytes
    next_hop: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Post a notification to a client's webhooks, then report NotificationReported.

    timeout: the block height in lsps5.expiry_soon; None for the other methods.
    """

    client: NodeId
    method: Method
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTerms:
    """Ask the node for the terms of its channels with these peers, and whether it knows a payment of this hash.

    Then report TermsReported. block: its unblock_hash.
    """

    block: bytes
    payment_hash: bytes
    peers: frozenset[NodeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayOnBehalf:
    """Pay this invoice, unless the node knows a payment of that hash; then report PaymentReported.

    latest_expiry: the height by which every HTLC that is sent must have expired; the node's own route is checked.
    incoming_msat, incoming_expiry: the sum of the held parts, and the earliest of their expiries. The node may pay over
        another channel than the payer's onion names; then it keeps the fee and delta for forwarding over that channel.
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
    """Follow a payment that may have been started, then report PaymentReported."""

    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class ForceClose:
    """Close this channel unilaterally, then report ForceCloseReported, with or without success."""

    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class RequestHtlcSnapshot:
    """Ask the node for all pending HTLCs, then report HtlcSnapshot with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the operator's log. block: its unblock_hash."""

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
