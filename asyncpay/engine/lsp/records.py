"""The stored records of an LSP: one frozen dataclass for each table of the store.

A record is replaced as a whole and identified by its `key`. Times are Unix seconds.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TypeAlias

from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HeldHtlc, HtlcKey, NodeId, Resolution, ShortChannelId
from asyncpay.wire.messages import BlockState
from asyncpay.wire.onion import OnionMessage

BLOCK_BYTES = 500
"""The size of a block without courier and invoice, for the limits."""
Target: TypeAlias = NodeId | ShortChannelId
"""The next hop in an HTLC's onion: a node, or the channel to it."""


def target(htlc: HeldHtlc) -> Target | None:
    """Return the next hop in the HTLC's onion; None if the node does not show it."""
    return htlc.outgoing_node if htlc.outgoing_node is not None else htlc.outgoing_channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A payer's request, and its state. See states.py.

    digest: of the request, 32 bytes; a repeated request has the same.
    courier: the payer's onion message to the payee, 1399 bytes as in wire.messages.Courier.
    told: the final state, once it was sent to the payer while the payer was connected.
    """

    unblock_hash: bytes
    client: NodeId
    digest: bytes
    payment_hashes: tuple[bytes, ...]
    amount_msat: int
    release_by_height: int
    hold_until: int
    invoice: str | None = None
    invoice_expires_at: int | None = None
    courier: bytes | None = None
    state: State = State.ACCEPTED
    first_part_at: float | None = None
    courier_sent: int = 0
    courier_next_at: float | None = None
    told: BlockState | None = None

    @property
    def key(self) -> bytes:
        """unblock_hash, 32 bytes."""
        return self.unblock_hash

    @property
    def size_bytes(self) -> int:
        """The size for the limits: that of the payer's data, and a fixed amount for the rest."""
        return BLOCK_BYTES + len(self.courier or b"") + len(self.invoice or "")


class Outcome(Enum):
    """The outcome of an HTLC after it was resumed."""

    SETTLED = "settled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Htlc:
    """An HTLC that the node has offered, and its resolution, which never changes.

    block: the unblock_hash of the block whose part it is, else None.
    offered_at: the time of the first offer.
    resolution: None while it is held.
    preimage: 32 bytes, once known.
    gone: it has left its channel and will not be offered again.
    """

    htlc: HeldHtlc
    block: bytes | None
    offered_at: float
    resolution: Resolution | None
    preimage: bytes | None = None
    outcome: Outcome | None = None
    gone: bool = False

    @property
    def key(self) -> HtlcKey:
        """Incoming channel and HTLC id."""
        return self.htlc.key


class AttemptState(Enum):
    """The state of a payment on behalf of a payer. FAILED is final: there is no second attempt."""

    IN_FLIGHT = "in flight"
    PAID = "paid"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The LSP's own payment of a block's invoice; there is only ever one for a payment hash.

    latest_expiry: the height by which all of its HTLCs must have expired.
    """

    payment_hash: bytes
    block: bytes
    fee_limit_msat: int
    latest_expiry: int
    state: AttemptState = AttemptState.IN_FLIGHT

    @property
    def key(self) -> bytes:
        """payment_hash, 32 bytes."""
        return self.payment_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An onion message that waits for its client. Lower numbers came earlier.

    message_id: SHA256(path_key || packet), 32 bytes.
    """

    client: NodeId
    message_id: bytes
    number: int
    source: NodeId
    message: OnionMessage
    arrived_at: float

    @property
    def key(self) -> tuple[NodeId, bytes]:
        """Client and message_id: the same message for two clients is two records."""
        return self.client, self.message_id

    @property
    def size(self) -> int:
        """The size in bytes, as the limits of the mailbox count it."""
        return len(self.message.path_key) + len(self.message.packet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A message that was delivered to its client; pushed_at: when the client was last notified of it."""

    client: NodeId
    message_id: bytes
    delivered_at: float
    pushed_at: float

    @property
    def key(self) -> tuple[NodeId, bytes]:
        """The key of the message."""
        return self.client, self.message_id


class Method(StrEnum):
    """The notification methods of bLIP-55 that this LSP uses, and one of this protocol."""

    ONION_MESSAGE = "lsps5.onion_message_incoming"
    PAYMENT_INCOMING = "lsps5.payment_incoming"
    EXPIRY_SOON = "lsps5.expiry_soon"
    SETTLEMENT_PENDING = "async_payments.settlement_pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAttempt:
    """A series of notifications of an offline client by one method. next_at: None when all tries are used up."""

    client: NodeId
    method: Method
    tries: int = 0
    last_at: float | None = None
    next_at: float | None = None

    @property
    def key(self) -> tuple[NodeId, Method]:
        """Client and method: there is one series for each method."""
        return self.client, self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A URL for the notifications of a client (bLIP-55). A node with a webhook is a client of this LSP."""

    client: NodeId
    app_name: str
    url: str
    used_at: float

    @property
    def key(self) -> tuple[NodeId, str]:
        """Client and app_name: a client has one webhook for each app_name."""
        return self.client, self.app_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A finished block that nothing waits for. It stays in the store with its parts and attempts, and is not loaded
    at the start: an event that concerns it recalls it (archive.py).

    forget_after: the Unix second after which it may be deleted; None: that has passed, and the height counts.
    forget_at_height: the first height at which it may be; None: that is not known before forget_after.
    latest_at: the latest time that its records prove to have passed; None: they prove none.
    """

    unblock_hash: bytes
    client: NodeId
    payment_hashes: tuple[bytes, ...]
    forget_after: int | None
    forget_at_height: int | None
    latest_at: float | None

    @property
    def key(self) -> bytes:
        """unblock_hash, 32 bytes."""
        return self.unblock_hash


@dataclass(frozen=True, slots=True)
class Postponed:
    """An archived block that cannot be read is not deleted before the end of the Unix second `forget_after`."""

    unblock_hash: bytes
    forget_after: int

    @property
    def key(self) -> bytes:
        """unblock_hash, 32 bytes."""
        return self.unblock_hash


Record: TypeAlias = Block | Htlc | Attempt | StoredMessage | Delivered | PushAttempt | Webhook | Archived | Postponed
