"""The data types of Lightning that the engines and all node adapters share.

Node ids are 33-byte compressed points; hashes and preimages have 32 bytes; amounts are in millisatoshi; expiries and
heights are absolute block heights; times are Unix seconds. Nothing here is particular to LND or Core Lightning.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Self, TypeAlias

NodeId: TypeAlias = bytes
U64: TypeAlias = Annotated[int, "u64"]
"""0 to 2^64-1, the range that BOLT 2 allows for an HTLC id; the store can hold all of it."""

MAX_INVOICE_EXPIRY_DAYS = 365
"""LND's own limit for the expiry of an invoice. CLN has none: an expiry over about 1.8e13 s makes it loop forever or
crash (ElementsProject/lightning#9478)."""
MAX_INVOICE_EXPIRY_SECONDS = MAX_INVOICE_EXPIRY_DAYS * 86_400

_URI_SCHEME = "lightning:"


class ShortChannelId(int):
    """The block, transaction and output that funded a channel, in 64 bits (BOLT 7); or an alias for it."""

    def __str__(self) -> str:
        return f"{self >> 40}x{(self >> 16) & 0xFFFFFF}x{self & 0xFFFF}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the form 700000x12x1; ValueError for any other."""
        block, transaction, output = (int(part) for part in text.split("x"))
        if not (0 <= block < 1 << 24 and 0 <= transaction < 1 << 24 and 0 <= output < 1 << 16):
            raise ValueError(f"{text!r} is not a short channel id")
        return cls(block << 40 | transaction << 16 | output)


class ChannelId(bytes):
    """The identifier of a channel from its opening to its closing, opaque to everything but the node's adapter.

    A short channel id does not qualify: the confirmation of a zero-conf channel and a splice change it. 32 bytes are
    BOLT 2's channel_id (CLN). 8 bytes are the short channel id or alias that the node itself never changes (LND),
    or a channel's name in a store that asyncpay wrote before it kept channel ids.
    """

    @classmethod
    def from_name(cls, name: int) -> Self:
        """Return the channel id of 8 bytes for a short channel id or alias."""
        return cls(name.to_bytes(8, "big"))

    @property
    def name(self) -> ShortChannelId | None:
        """The short channel id or alias in these bytes; None for BOLT 2's channel_id."""
        return ShortChannelId.from_bytes(self, "big") if len(self) == 8 else None

    def __str__(self) -> str:
        return self.hex() if self.name is None else str(self.name)


@dataclass(frozen=True, slots=True, order=True)
class HtlcKey:
    """The identifier of an HTLC for its whole life: its incoming channel, and its HTLC id there."""

    channel_id: ChannelId
    htlc_id: U64

    def __str__(self) -> str:
        return f"{self.channel_id}/{self.htlc_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldHtlc:
    """An HTLC to be forwarded, for which the node waits for a resolution.

    peer: the sender of the HTLC, the other end of the incoming channel. The outgoing values are from the onion: they
    are not yet checked against the node's fees and CLTV delta, so a payer may have written any value.
    outgoing_channel may be an alias. If the onion names the next node instead, outgoing_node is set if the
    implementation shows it; LND 0.21 does not, and both are None.
    """

    key: HtlcKey
    payment_hash: bytes
    peer: NodeId
    incoming_amount_msat: int
    outgoing_amount_msat: int
    incoming_expiry: int
    outgoing_expiry: int
    outgoing_channel: ShortChannelId | None = None
    outgoing_node: NodeId | None = None


class Resolution(Enum):
    """The resolution of a held HTLC: forward it, fail it back, or claim it with the preimage."""

    RESUME = "resume"
    FAIL = "fail"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingHtlc:
    """An HTLC that is on a channel now, resolved or not."""

    key: HtlcKey
    peer: NodeId
    incoming: bool
    payment_hash: bytes
    amount_msat: int
    expiry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A channel that carries HTLCs, until the HTLCs on it can no longer be resolved.

    short_channel_id: its main name at this time; aliases: its other names.
    usable: its peer is connected and an HTLC can be added now.
    closing: one side wants a mutual close. HTLCs on the channel can be failed and settled, none can be added.
    """

    channel_id: ChannelId
    short_channel_id: ShortChannelId
    aliases: frozenset[ShortChannelId] = frozenset()
    peer: NodeId
    usable: bool
    closing: bool = False

    @property
    def names(self) -> tuple[ShortChannelId, ...]:
        """All names by which an onion may refer to the channel."""
        return (self.short_channel_id, *self.aliases)


def bolt11_text(text: str) -> str:
    """Return an invoice that a user has pasted in BOLT 11's form: no white space, no `lightning:`, lower case.

    White space within it, such as line breaks of an e-mail, is removed too. Mixed case is kept: it is an error
    (BIP 173).
    """
    bare = "".join(text.split())
    if bare[: len(_URI_SCHEME)].lower() == _URI_SCHEME:
        bare = bare[len(_URI_SCHEME) :].removeprefix("//")
    return bare.lower() if bare.isupper() else bare


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingPolicy:
    """The fee and CLTV delta of a node for HTLCs that it forwards over one of its channels (BOLT 7, channel_update).

    fee_ppm: fee_proportional_millionths. cltv_delta_blocks: cltv_expiry_delta.
    """

    fee_base_msat: int
    fee_ppm: int
    cltv_delta_blocks: int

    def fee_msat(self, amount_msat: int) -> int:
        """Return the fee for forwarding this amount (BOLT 7)."""
        return self.fee_base_msat + amount_msat * self.fee_ppm // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTerms:
    """The terms of an open channel of the node.

    names: its short channel id and all aliases. policy: this node's own; None if the node does not know it (yet).
    dust_msat: an HTLC from the peer below this amount has no output on one of the two commitment transactions, so that
        it cannot be claimed on chain.
    """

    peer: NodeId
    names: frozenset[ShortChannelId]
    policy: ForwardingPolicy | None
    dust_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """The content of a BOLT 11 invoice. amount_msat is None if the payer chooses the amount.

    network: bitcoin, testnet, signet or regtest. expires_at: Unix seconds.
    route_hints: for each hint the nodes on the route to the payee, which is a peer of the last one.
    has_blinded_paths: it contains blinded paths (field `b`), whose CLTV deltas and fees the payee chose.
    payment_secret: 32 bytes (BOLT 11, `s`), None if it has none.
    needs_metadata: the payee accepts no payment without the payment metadata (`m`) of the invoice.
    """

    text: str
    payment_hash: bytes
    payee: NodeId
    amount_msat: int | None
    network: str
    expires_at: int
    min_final_cltv_expiry: int
    description: str = ""
    route_hints: tuple[tuple[NodeId, ...], ...] = ()
    has_blinded_paths: bool = False
    payment_secret: bytes | None = field(default=None, repr=False)
    needs_metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """Whether a node is synced to the chain. synced: the node reports that it is.

    old_tip: the hash (32 bytes) of its best block, if the age of that block is the only reason for reporting otherwise.
    Then the next blocks show whether the node is behind. None: it is behind, or does not report the reason.
    """

    synced: bool
    old_tip: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnInvoice:
    """An invoice of this node. payable: the node would accept a payment for it, as far as it reports.

    payment_secret: the 32 bytes of the BOLT 11 text; None if there is no such text.
    """

    payment_hash: bytes
    amount_msat: int | None
    expires_at: int
    payable: bool
    paid: bool
    payment_secret: bytes | None = field(default=None, repr=False)


class PaymentStatus(Enum):
    """The status of an outgoing payment in its node; UNKNOWN: the node has no record of that hash."""

    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentResult:
    """The progress or the result of a payment. preimage: 32 bytes, if SUCCEEDED. failure: for users, if FAILED.

    parts_in_flight, in_flight_msat: HTLCs that are neither settled nor failed, and the amount that they deliver.
    """

    status: PaymentStatus
    preimage: bytes | None = None
    fee_msat: int = 0
    failure: str = ""
    parts_in_flight: int = 0
    in_flight_msat: int = 0


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability of an implementation, or its absence, and the reason: the upstream behaviour that decides it."""

    able: bool
    because: str

    def __bool__(self) -> bool:
        return self.able


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The differences between implementations that the protocol depends on.

    transit_release: the node shows the onion messages that it forwards, so the LSP sees a release in transit.
    forwards_with_payer_offline: an HTLC can be resumed while the peer that sent it is offline.
    reoffers_without_payer: after a restart the node offers held HTLCs again although their payer is offline;
        otherwise only when the payer is connected again, and decisions wait for that.
    pays_on_behalf: the node can pay an invoice whose hash it also holds incoming HTLCs for.
    metadata_with_slack: the node can send an invoice's payment metadata in a payment that has slack.
    keeps_settlements: the node stores a SETTLE. Otherwise a restart loses a SETTLE that the payer's node has not
        received yet, and when the HTLC expires the node may fail it: so the channel must be force-closed in time.
    settles: the node claims a held HTLC with the preimage (SETTLE).
    tells_next_hop: asked to forward an onion message whose outer layer is its own, the node reports the next peer.
    cutoff_blocks: from this many blocks before its incoming expiry on, the node itself fails a held HTLC, at the latest
        when it would offer it again, and a resolution may be an error; None if it never does.
    """

    transit_release: Capability
    forwards_with_payer_offline: Capability
    reoffers_without_payer: Capability
    pays_on_behalf: Capability
    metadata_with_slack: Capability
    keeps_settlements: Capability
    tells_next_hop: Capability
    cutoff_blocks: int | None
    settles: Capability = Capability(True, "its interceptor takes a preimage")
