"""The events of a node: adapters yield them, the engines take them in.

They come in one stream, in the order in which they happened. An event may come twice, and after a break of the stream
events may be missing: the engines are built for both.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.onion import OnionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The node answers, and offers all held HTLCs again from here on. First event of every stream.

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
    """The node has noticed that the peer is gone. For a half-open connection that takes minutes."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A channel was opened, got another name, became usable or unusable, or is about to be closed by agreement."""

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
    """An onion message for this node.

    path_id, payment_unblock: from the maker of the path, for this node; None if absent or not shown by the node.
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


NetworkEvent: TypeAlias = Attached | BlockConnected | PeerConnected | PeerDisconnected | LinkChanged | LinkClosed
"""What the node says of the chain, its peers and its channels."""
HtlcEvent: TypeAlias = HtlcOffered | HtlcSettled | HtlcFailed | HtlcGone
NodeEvent: TypeAlias = NetworkEvent | HtlcEvent | OnionReceived | OnionInTransit | CustomMessage | InvoicePaid
