"""What the LSP engine wants done, once the changes of the same step are stored."""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.engine.lsp.records import Method
from asyncpay.lightning import ChannelId, HtlcKey, NodeId, Resolution
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import BlockReply, BlockUpdate, ReleaseReply
from asyncpay.wire.onion import OnionMessage


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

    client: whose block was asked about; None: nobody's, so a stranger asks, who deserves little effort.
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

    If its next hop is not connected: OnionInTransit with source=client and undelivered=True.
    """

    client: NodeId
    message: OnionMessage


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

    what: str
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
