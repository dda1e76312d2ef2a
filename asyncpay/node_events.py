"""The events of a node: adapters yield them, and the engines handle them.

They come in one stream, in the order in which they happened. An event may come twice, and after an interruption of the
stream events may be missing: the engines handle both cases.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.onion import OnionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The node is attached, and offers all held HTLCs again after this event. The first event of every stream.

    network: as in Invoice. online: the connected peers.
    """

    node_id: NodeId
    network: str
    height: int
    links: tuple[Link, ...]
    online: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """A new tip of the chain; after a reorganisation it may be lower than the one before."""

    height: int


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """Onion messages and custom messages reach this peer."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The node has noticed that the peer is disconnected. For a half-open connection this takes minutes."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A channel was opened, got another name, became usable or unusable, or is about to be closed mutually."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The channel is closed or going on chain: its HTLCs can no longer be resolved by a message to the peer."""

    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class HtlcOffered:
    """The node asks for a resolution; the same HTLC may be offered again, even after it was resolved."""

    htlc: HeldHtlc


@dataclass(frozen=True, slots=True)
class HtlcSettled:
    """The payee has claimed the HTLC that came in as `key`; its payer may not know yet."""

    key: HtlcKey
    preimage: bytes


@dataclass(frozen=True, slots=True)
class HtlcFailed:
    """The HTLC that came in as `key` was failed, by this node when forwarding or by a later node of its route."""

    key: HtlcKey


@dataclass(frozen=True, slots=True)
class HtlcGone:
    """The HTLC was removed from its incoming channel, or went on chain with it: it can no longer be resolved."""

    key: HtlcKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OnionReceived:
    """An onion message for this node.

    path_id, payment_unblock: set for this node by the creator of the path; None if absent or not shown by the node.
    async_payment: the value of onionmsg_tlv 180003.
    """

    path_id: bytes | None = None
    payment_unblock: bytes | None = None
    async_payment: bytes | None = None
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnionInTransit:
    """An onion message for a peer of this node.

    message: as received, before this node's layer is peeled. undelivered: the node has tried to forward it and
    failed (CLN reports only those); otherwise the node forwards it if the peer is connected, and does not report
    whether it did (LND reports all).
    """

    source: NodeId
    message: OnionMessage
    next_node_id: NodeId
    payment_unblock: bytes | None = None
    undelivered: bool


@dataclass(frozen=True, slots=True)
class CustomMessage:
    """A custom message of a peer (BOLT 1, type 32768 or above)."""

    peer: NodeId
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class InvoicePaid:
    """An invoice of this node was paid, all of its parts: amount_msat has arrived."""

    payment_hash: bytes
    amount_msat: int


NetworkEvent: TypeAlias = Attached | BlockConnected | PeerConnected | PeerDisconnected | LinkChanged | LinkClosed
"""The node's reports about the chain, its peers and its channels."""
HtlcEvent: TypeAlias = HtlcOffered | HtlcSettled | HtlcFailed | HtlcGone
NodeEvent: TypeAlias = NetworkEvent | HtlcEvent | OnionReceived | OnionInTransit | CustomMessage | InvoicePaid
