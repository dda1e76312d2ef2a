"""What a node reports: the events that adapters yield and that the engines take in.

In one stream, in the order in which they happened. The same thing may be reported twice, and after a break
of the stream things may be missing: the engines are built for both.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.onion import OnionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The node answers; what it offers from here on is offered anew. First event of every stream.

    network: as in Invoice. online: the connected peers.
    """

    node_id: NodeId
    network: str
    height: int
    links: tuple[Link, ...]
    online: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """A new tip of the chain; after a reorganisation possibly a lower one than before."""

    height: int


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """Onion messages and custom messages reach this peer."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The node has noticed that the peer is gone; a half-open connection takes it minutes."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A channel opened, got another name, became usable or unusable, or is about to be closed by agreement."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """No HTLC of this channel can be answered by a message to its peer any more: it is closed, or going on chain."""

    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class HtlcOffered:
    """The node wants an answer; the same HTLC may be offered again, also after it was answered."""

    htlc: HeldHtlc


@dataclass(frozen=True, slots=True)
class HtlcSettled:
    """The payee has taken the HTLC that came in as `key`; its payer may not know yet."""

    key: HtlcKey
    preimage: bytes


@dataclass(frozen=True, slots=True)
class HtlcFailed:
    """The HTLC that came in as `key` was failed, by this node when forwarding or by one behind it."""

    key: HtlcKey


@dataclass(frozen=True, slots=True)
class HtlcGone:
    """The HTLC has left its incoming channel for good, or went on chain with it: it cannot be answered."""

    key: HtlcKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OnionReceived:
    """An onion message that ends at this node.

    path_id, payment_unblock: what the maker of the path put there for this node, if anything and if shown.
    async_payment: the value of onionmsg_tlv 180003.
    """

    path_id: bytes | None = None
    payment_unblock: bytes | None = None
    async_payment: bytes | None = None
    reply_path: BlindedPath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnionInTransit:
    """An onion message for a peer of this node.

    message: as it came in, this node's layer still on. undelivered: the node has tried to forward it and
    could not (CLN reports only those); otherwise the node forwards it if the peer is connected, and does
    not say whether it did (LND reports all).
    """

    source: NodeId
    message: OnionMessage
    next_node_id: NodeId
    payment_unblock: bytes | None = None
    undelivered: bool


@dataclass(frozen=True, slots=True)
class CustomMessage:
    """A peer's own message (BOLT 1, type 32768 or above)."""

    peer: NodeId
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class InvoicePaid:
    """An invoice of this node was paid, all of its parts: amount_msat has arrived."""

    payment_hash: bytes
    amount_msat: int


NodeEvent: TypeAlias = (
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
    | OnionReceived
    | OnionInTransit
    | CustomMessage
    | InvoicePaid
)
