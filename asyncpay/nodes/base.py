"""What this project asks of a Lightning node. A new implementation is one file beside this one.

An adapter translates and nothing more: it keeps no state worth a crash, decides nothing, and never retries
an answer. Peeling onions is its business, because implementations differ in who may do it: LND lends its
node key for a Diffie-Hellman step and shows whole onions, CLN peels for itself and shows what was inside.
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
"""How long a node may take to connect to a peer."""
MAX_LOOKUPS = 500
"""How many nodes of the graph are looked at for one route: enough for three hops almost anywhere."""


class NodeError(Exception):
    """The node did not do what it was asked; the text says which node, what, and what may help."""


class NodeUnreachableError(NodeError):
    """The node does not answer. What was under way may or may not have happened: attach again."""


class PeerNotConnectedError(NodeError):
    """Something was to be given to a peer that is not there."""

    def __init__(self, peer: NodeId) -> None:
        super().__init__(f"peer {peer.hex()} is not connected")
        self.peer = peer


class OnionUnreadableError(NodeError):
    """An onion message that can never be delivered: made for another node, changed, or without a next hop."""


MAX_ROUTE_BLOCKS = 2016
"""The most that LND (--max-cltv-expiry) and CLN lock an HTLC for, counted from the current height."""
BLINDED_PATHS_REFUSED = "the invoice has blinded paths, on which no CLTV limit holds. Ask the payee for one without."
"""LND 0.21 checks `cltv_limit` against the invoice's own final delta; a path of one hop then adds the delta that the
payee put there (routing/payment_session.go). CLN 26.06 does not know the field `b`, and would find no way to the payee.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """An order to pay.

    invoice: one with blinded paths is refused (FAILED, nothing is sent).
    amount_msat: what the payee is to receive, also where the invoice names no amount.
    cltv_limit_blocks: the most that the whole route may lock, counted from the current height.
    slack_blocks: added to the final hop's CLTV delta, so that a held payment can wait this long.
    max_parts, max_part_msat: into how many parts it may be split, and the most that one may bring the payee; None: any.
    timeout_seconds: after this no new attempt is begun; those in flight still decide the result.
    through: all parts leave through channels with this peer; None: through any.
    latest_expiry: the height by which all HTLCs of this payment must have expired. The payment then has no slack, asks
        for what the invoice says, and leaves in parts of equal size along routes that the node has named before and
        that were checked: none locks longer, and each costs no more than its share of fee_limit_msat. So whatever
        becomes of the calls, and in whatever order the node hears of them, it can neither cost nor lock more. FAILED at
        once unless the node can pay on behalf (capabilities).
    incoming_msat, incoming_expiry: what comes in for this payment, and until which height, beside latest_expiry. Then
        the node keeps at least what it would by forwarding over the channels through which the payment leaves.
    """

    invoice: Invoice
    amount_msat: int
    fee_limit_msat: int
    cltv_limit_blocks: int = MAX_ROUTE_BLOCKS
    slack_blocks: int = 0
    max_parts: int = 16
    max_part_msat: int | None = None
    timeout_seconds: int = 60
    through: NodeId | None = None
    latest_expiry: int | None = None
    incoming_msat: int | None = None
    incoming_expiry: int | None = None


def check_invoice(amount_msat: int, expiry_seconds: int) -> None:
    """Raise NodeError, with the limit, for an invoice that no node should be asked to make."""
    if not 1 <= expiry_seconds <= MAX_INVOICE_EXPIRY_SECONDS:
        raise NodeError(
            f"the invoice cannot be made: it would last {expiry_seconds} s. Let it last between 1 s and "
            f"{MAX_INVOICE_EXPIRY_SECONDS} s ({MAX_INVOICE_EXPIRY_DAYS} days)."
        )
    if not 1 <= amount_msat <= MAX_MSAT:
        raise NodeError(
            f"the invoice cannot be made: it would ask for {amount_msat} msat. Ask for 1 msat or more, and for no more "
            f"than the {MAX_MSAT} msat that there will ever be."
        )


class Node(Protocol):
    """A Lightning node. Every method may raise NodeUnreachableError; other errors are named at the method."""

    capabilities: Capabilities

    def events(self) -> AsyncIterator[NodeEvent]:
        """What happens from now on, `Attached` first, in the order in which the node reports it.

        Takes the node's interceptor, of which there is one. Ends with NodeUnreachableError when any of the
        underlying streams does; call again to attach anew. A new stream offers all held HTLCs again.
        """
        ...

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None = None) -> None:
        """Resolve an HTLC that the current stream has offered; preimage only with SETTLE.

        Failing back tells the payer a temporary failure. Returns when the resolution was handed over, which is
        not yet its effect. NodeUnreachableError only if it certainly was not.
        """
        ...

    async def pending_htlcs(self) -> Sequence[PendingHtlc]:
        """All HTLCs that can be answered, both ways. Those of a channel that goes on chain are absent."""
        ...

    async def forward_onion(self, message: OnionMessage) -> NodeId | None:
        """Deliver a message that has this node's layer still on, to the hop that the layer names.

        Returns this hop; None if the node does not tell it (capabilities). PeerNotConnectedError, which names it;
        OnionUnreadableError.
        """
        ...

    async def send_onion(self, first_hop: NodeId, message: OnionMessage) -> None:
        """Send a message to its first hop, as `onion_route` named it: a peer or this node. PeerNotConnectedError."""
        ...

    async def connect_peer(self, peer: NodeId, address: str | None = None) -> None:
        """Dial a peer now, whenever the node would by itself. Returns when the two are connected, also if they were.

        address: host:port; without it one that the node knows. NodeError if they are not connected within DIAL_SECONDS.
        """
        ...

    async def send_custom(self, peer: NodeId, type_: int, data: bytes) -> None:
        """Send a peer a custom message, at most 65533 bytes of data. PeerNotConnectedError."""
        ...

    async def onion_route(self, destination: NodeId, max_lookups: int = MAX_LOOKUPS) -> tuple[NodeId, ...]:
        """Hops that relay onion messages, `destination` last. NodeError if there is no way.

        max_lookups: how many nodes of the graph may be looked at, which is what the search costs.
        The first is a connected peer; or this node itself, if it can only send what it has peeled (CLN).
        """
        ...

    async def sign(self, text: str) -> bytes:
        """The 65 bytes of the node's `signmessage` over `text` (see asyncpay.wire.signature).

        CLN signs the text as JSON writes it, so that quotes and backslashes are not signed as they stand.
        """
        ...

    async def decode_invoice(self, text: str) -> Invoice:
        """Read BOLT 11 text, its signature checked. NodeError if it is none."""
        ...

    async def pay(self, payment: Payment) -> PaymentResult:
        """Pay, and wait until it is decided: SUCCEEDED, or FAILED, also where the node refuses to begin.

        A payment is known by its hash. If the node has one already, in any state, no other is made:
        the result is that one's.
        """
        ...

    async def track_payment(self, payment_hash: bytes) -> PaymentResult:
        """Wait until an earlier payment is decided. UNKNOWN at once if there is none."""
        ...

    async def look_up_payment(self, payment_hash: bytes) -> PaymentResult:
        """Where an earlier payment stands at this moment, with what it has in flight. UNKNOWN if there is none."""
        ...

    async def channel_terms(self, peers: Collection[NodeId]) -> Sequence[ChannelTerms]:
        """The terms of all open channels with these peers, as they are now. NodeError unless it can pay on behalf."""
        ...

    async def force_close(self, channel_id: ChannelId) -> None:
        """Close a channel unilaterally: broadcast this node's own commitment transaction, with or without the peer.

        The node claims on chain what it has the preimage of. Returns once the transaction is on its way, and at once
        for a channel that is not open (any more), so this may be asked for any number of times. NodeError.
        """
        ...

    async def create_invoice(self, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
        """Make an invoice with hints for the private channels whose peers are connected now, so that payers find them.

        NodeError, also for what `check_invoice` refuses.
        """
        ...

    async def look_up_invoice(self, payment_hash: bytes) -> OwnInvoice | None:
        """What became of an own invoice; None if the node has none with this hash."""
        ...

    async def sync_state(self) -> SyncState:
        """Whether the node has followed the chain. NodeError."""
        ...
