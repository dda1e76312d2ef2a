"""The interface to a Lightning node. Each implementation is one package in this folder.

An adapter only translates: it keeps no state that must survive a crash, makes no decisions, and never repeats a
resolution. It peels onions, because implementations differ in that: LND offers ECDH with its node key and shows whole
onions, CLN peels them itself and shows their content.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from asyncpay.amounts import MAX_MSAT
from asyncpay.lightning import (
    MAX_INVOICE_EXPIRY_DAYS,
    MAX_INVOICE_EXPIRY_SECONDS,
    Capabilities,
    ChannelId,
    ChannelTerms,
    HtlcKey,
    Invoice,
    NodeId,
    OwnInvoice,
    PaymentResult,
    PendingHtlc,
    Resolution,
    SyncState,
)
from asyncpay.node_events import NodeEvent
from asyncpay.wire.onion import OnionMessage

DIAL_SECONDS = 10
"""The time that a node may take to connect to a peer."""
MAX_LOOKUPS = 500
"""The most graph nodes that are looked up for one route: enough for three hops almost anywhere."""


class NodeError(Exception):
    """The node did not carry out a request; the text names the node, the request and a possible remedy."""


class NodeUnreachableError(NodeError):
    """The node does not answer. Requests under way may or may not have been carried out: attach again."""


class PeerNotConnectedError(NodeError):
    """A message was to be sent to a peer that is not connected."""

    def __init__(self, peer: NodeId) -> None:
        super().__init__(f"peer {peer.hex()} is not connected")
        self.peer = peer


class OnionUnreadableError(NodeError):
    """An onion message can never be delivered: it is for another node, was modified, or has no next hop."""


MAX_ROUTE_BLOCKS = 2016
"""The most blocks for which LND (--max-cltv-expiry) and CLN lock an HTLC, counted from the current height."""
BLINDED_PATHS_REFUSED = "the invoice has blinded paths, on which no CLTV limit holds. Ask the payee for one without."
"""LND 0.21 checks `cltv_limit` against the invoice's own final delta; a path of one hop then adds the delta that the
payee put there (routing/payment_session.go). CLN 26.06 ignores the field `b`, and would find no route to the payee.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """An order to pay.

    invoice: one with blinded paths is refused (FAILED, nothing is sent).
    amount_msat: the amount that the payee is to receive, also if the invoice names none.
    cltv_limit_blocks: the most blocks that the whole route may lock, counted from the current height.
    slack_blocks: added to the final hop's CLTV delta, so that a held payment can wait this long.
    max_parts, max_part_msat: the most parts, and the most that one part may deliver to the payee; None: any.
    timeout_seconds: after this no new attempt is begun; those in flight still decide the result.
    first_hop: all parts are sent over channels with this peer; None: over any channel.
    latest_expiry: the height by which all HTLCs of this payment must have expired. The payment then has no slack, pays
        the invoice's amount, and is sent in parts of equal size along routes that the node has returned before and that
        were checked: none locks longer, and each costs no more than its share of fee_limit_msat. So it can neither cost
        nor lock more, no matter which calls break or in which order they reach the node. FAILED immediately unless the
        node can pay on behalf (capabilities).
    incoming_msat, incoming_expiry: set with latest_expiry: the amount and the expiry of the HTLCs that come in for this
        payment. Then the node keeps at least the fee and delta for forwarding over the channels that the payment uses.
    """

    invoice: Invoice
    amount_msat: int
    fee_limit_msat: int
    cltv_limit_blocks: int = MAX_ROUTE_BLOCKS
    slack_blocks: int = 0
    max_parts: int = 16
    max_part_msat: int | None = None
    timeout_seconds: int = 60
    first_hop: NodeId | None = None
    latest_expiry: int | None = None
    incoming_msat: int | None = None
    incoming_expiry: int | None = None


def check_invoice(amount_msat: int, expiry_seconds: int) -> None:
    """Raise NodeError, with the limits, for an invoice that no node should create."""
    if not 1 <= expiry_seconds <= MAX_INVOICE_EXPIRY_SECONDS:
        raise NodeError(
            f"the invoice cannot be created: its expiry is {expiry_seconds} s. Choose an expiry between 1 s and "
            f"{MAX_INVOICE_EXPIRY_SECONDS} s ({MAX_INVOICE_EXPIRY_DAYS} days)."
        )
    if not 1 <= amount_msat <= MAX_MSAT:
        raise NodeError(
            f"the invoice cannot be created: its amount is {amount_msat} msat. Choose an amount between 1 msat and "
            f"{MAX_MSAT} msat (the supply of bitcoin)."
        )


class Node(Protocol):
    """A Lightning node. Every method may raise NodeUnreachableError; other errors are named at the method."""

    capabilities: Capabilities

    def events(self) -> AsyncIterator[NodeEvent]:
        """Yield the node's events from now on, `Attached` first, in the order in which the node reports them.

        Takes the node's interceptor, of which there is only one. Ends with NodeUnreachableError when any of the
        underlying streams ends; call again to attach again. A new stream offers all held HTLCs again.
        """
        ...

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None = None) -> None:
        """Resolve an HTLC that the current stream has offered; preimage only with SETTLE.

        Failing back reports a temporary failure to the payer. Returns when the resolution was handed to the node, which
        may be before its effect. NodeUnreachableError only if it certainly was not handed over.
        """
        ...

    async def pending_htlcs(self) -> Sequence[PendingHtlc]:
        """Return all pending HTLCs in both directions, except those of channels that go on chain."""
        ...

    async def forward_onion(self, message: OnionMessage) -> NodeId | None:
        """Forward a message whose outer layer is this node's, to the next hop in that layer.

        Returns the next hop; None if the node does not report it (capabilities). PeerNotConnectedError, which names it;
        OnionUnreadableError.
        """
        ...

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        """Send a message to its first hop by `onion_route`: a peer or this node. PeerNotConnectedError."""
        ...

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        """Dial a peer now, no matter when the node would do so itself. Returns when the two are connected, also if they
        already were.

        address: host:port; without it one that the node knows. NodeError if they are not connected within DIAL_SECONDS.
        """
        ...

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        """Send a peer a custom message, at most 65533 bytes of data. PeerNotConnectedError."""
        ...

    async def onion_route(self, destination: NodeId, max_lookups: int = MAX_LOOKUPS) -> tuple[NodeId, ...]:
        """Return hops that relay onion messages, `destination` last. NodeError if there is no route.

        max_lookups: the most graph nodes that may be looked up; it limits the cost of the search.
        The first hop is a connected peer; or this node itself, if it can only send messages that it has peeled (CLN).
        """
        ...

    async def sign(self, text: str) -> bytes:
        """Return the 65 bytes of the node's `signmessage` over `text` (see asyncpay.wire.signature).

        CLN signs the JSON encoding of the text, in which quotes and backslashes are escaped.
        """
        ...

    async def decode_invoice(self, text: str) -> Invoice:
        """Decode BOLT 11 text and check its signature. NodeError if it is not a valid invoice."""
        ...

    async def pay(self, payment: Payment) -> PaymentResult:
        """Pay, and wait for the result: SUCCEEDED, or FAILED, also if the node refuses to begin.

        A payment is identified by its hash. If the node already has one, in any state, no other is made:
        the result is that of the existing one.
        """
        ...

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        """Wait for the result of an earlier payment. UNKNOWN immediately if there is none."""
        ...

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        """Return the current progress of an earlier payment, with its parts in flight. UNKNOWN if there is none."""
        ...

    async def channel_terms(self, peers: Collection[NodeId]) -> Sequence[ChannelTerms]:
        """Return the current terms of all open channels with these peers. NodeError unless it can pay on behalf."""
        ...

    async def force_close(self, channel_id: ChannelId) -> None:
        """Close a channel unilaterally: broadcast this node's own commitment transaction, with or without the peer.

        The node claims the HTLCs on chain whose preimages it has. Returns once the transaction is broadcast, and
        immediately for a channel that is not open (any more), so repeated calls are harmless. Raises NodeError.
        """
        ...

    async def create_invoice(self, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
        """Create an invoice with route hints for the private channels whose peers are connected now.

        NodeError, also if `check_invoice` refuses the values.
        """
        ...

    async def look_up_invoice(self, payment_hash: bytes) -> OwnInvoice | None:
        """Return the state of an own invoice; None if the node has none with this hash."""
        ...

    async def sync_state(self) -> SyncState:
        """Return whether the node is synced to the chain. Raises NodeError."""
        ...
