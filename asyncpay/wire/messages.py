"""The eight `async_payment` messages, which onion messages of this protocol carry, as frozen dataclasses.

A message is one byte of `kind` and one canonical TLV stream. `decode` separates two kinds of errors:

- Malformed: the error can be detected without the meaning of a value. An unknown kind; an unknown even, repeated,
  unordered, truncated or missing record; a length other than the one prescribed for its record (which includes
  no payment hash, or more than four); an integer that is not minimal; text that is not UTF-8; a status
  or state outside its table; a record after the signature, where it would be unsigned. `decode` raises
  WireError: the message is dropped and counted, and not answered.
- A bad value in a well-formed message: an amount of zero, a height or time in the past, a duplicate payment hash, an
  invoice that does not parse, does not match the rest or comes with several hashes, a key that is not a valid
  secp256k1 point. `decode` accepts these: the receiver's engine checks them, and an LSP answers with
  BlockStatus.BAD_VALUE, so that the payer is informed.

Unknown odd records are kept, and a TLV stream has only one encoding. So `encode` returns exactly the received
bytes, and `digest` of a request is over the bytes that the payer signed.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Annotated, ClassVar, Self, get_args

from asyncpay.wire import tlv
from asyncpay.wire.errors import WireError
from asyncpay.wire.tlv import TU32_BYTES, TU64_BYTES, Record, TlvStream, chunks, enum8, nested, sized, tu, utf8

MAX_MESSAGE_BYTES = 32768  # the space of the larger onion packet: no message in it can be longer
MAX_PAYMENT_HASHES = 4
MAX_INVOICE_BYTES = 7089  # LND's limit for BOLT 11 text
MAX_REASON_BYTES = 1024  # for users and logs

UNSIGNED = b""
"""`signature` of a request that is not signed yet. A request with it cannot be encoded."""

_SIGNATURE_RECORD = 10

_HASH = sized(32)
_PID = sized(32)
_PROOF = sized(32)
_SECRET = sized(32)
_NODE_ID = sized(33)
_HASHES = chunks(32, at_most=MAX_PAYMENT_HASHES)
_MSAT = tu(TU64_BYTES)
_HEIGHT = tu(TU32_BYTES)
_UNIX_SECONDS = tu(TU64_BYTES)
_REASON = utf8(MAX_REASON_BYTES)


class Kind(IntEnum):
    """The first byte of a message."""

    BLOCK_REQUEST = 1
    BLOCK_REPLY = 2
    BLOCK_UPDATE = 3
    PAYMENT_PENDING = 4
    PAYMENT_RELEASE = 5
    RELEASE_REPLY = 6
    CANCEL_REQUEST = 7
    PAYMENT_REFUSED = 8


class BlockStatus(IntEnum):
    """The LSP's answer to a block_request; 1 and 2 are reserved and refused as malformed."""

    ACCEPTED = 0
    TOO_MANY_HOLDS = 3
    AMOUNT_TOO_LARGE = 4
    HOLD_TOO_LONG = 5
    CONFLICT = 6
    BAD_VALUE = 7
    UNAVAILABLE = 8


class BlockState(IntEnum):
    """The progress of a block, as its LSP reports it to the payer."""

    HELD = 1
    RELEASED = 2
    SETTLED = 3
    FAILED_BACK = 4


class ReleaseStatus(IntEnum):
    """The answer to a payment_release."""

    RELEASED = 0  # or about to be released
    UNKNOWN = 1
    TOO_LATE = 2


@dataclass(frozen=True, slots=True)
class Courier:
    """An onion message that the LSP retransmits for the payer while the payer is offline.

    path_key: 33 bytes. onion: 1366 bytes (1300 of them layers). The encoding is their concatenation, 1399 bytes.
    """

    path_key: bytes
    onion: bytes

    def encode(self) -> bytes:
        """Return the 1399 bytes; WireError if either part has another length."""
        return sized(33).encode(self.path_key) + sized(1366).encode(self.onion)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Split 1399 bytes; WireError for any other length."""
        sized(33 + 1366).decode(data)
        return cls(path_key=data[:33], onion=data[33:])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message(TlvStream):
    kind: ClassVar[Kind]

    def encode(self) -> bytes:
        """Return the value of onionmsg_tlv `async_payment`; WireError if a field does not match its record."""
        return bytes([self.kind]) + TlvStream.encode(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedRequest(_Message):
    """A request from a payer, whose last record is a signature with the key of the payer's node.

    To make one: build it with `signature=UNSIGNED`, let the node sign `signed_text`, then set the 65 bytes
    (`asyncpay.wire.signature.decode`) with `dataclasses.replace`. To check one: `signature.recover` with
    `signed_text` and `signature` returns the node id of the signer.
    """

    signature: Annotated[bytes, Record(_SIGNATURE_RECORD, sized(65))]

    def __post_init__(self) -> None:
        for number, _ in self.unknown_records:
            if number > _SIGNATURE_RECORD:
                raise WireError(f"{type(self).__name__}: record {number} is after the signature, so it is not signed")

    @property
    def digest(self) -> bytes:
        """SHA256 (32 bytes) of the TLV bytes before the signature, without `kind`."""
        return sha256(tlv.encode(self.to_records(without=_SIGNATURE_RECORD))).digest()

    def signed_text(self, lsp_node_id: bytes) -> str:
        """Return the ASCII text for the node's `signmessage`, bound to the LSP (33 bytes) that receives the request."""
        lsp = _NODE_ID.encode(lsp_node_id).hex()
        return f"async-payments:{self.kind.name.lower()}:{lsp}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest(_SignedRequest):
    """Payer to its LSP: hold the parts with these payment hashes until `pid` (32 secret bytes) is seen in a release.

    unblock_hash: SHA256(pid), 32 bytes.
    courier: the onion message that the LSP sends towards the payee once all parts are held.
    payment_hashes: 1 to 4 of 32 bytes.
    invoice: BOLT 11 text, so that the LSP can pay on the payer's behalf; only with a single hash.
    amount_msat: the amount that the payee is to receive.
    release_by_height: the last block height at which the LSP may release.
    hold_until: Unix time in seconds after which the LSP fails the parts back.
    """

    kind: ClassVar = Kind.BLOCK_REQUEST
    unblock_hash: Annotated[bytes, Record(0, _HASH)]
    courier: Annotated[Courier | None, Record(1, nested(Courier))] = None
    payment_hashes: Annotated[tuple[bytes, ...], Record(2, _HASHES)]
    invoice: Annotated[str | None, Record(3, utf8(MAX_INVOICE_BYTES))] = None
    amount_msat: Annotated[int, Record(4, _MSAT)]
    release_by_height: Annotated[int, Record(6, _HEIGHT)]
    hold_until: Annotated[int, Record(8, _UNIX_SECONDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReply(_Message):
    """LSP to payer: whether it accepts the block."""

    kind: ClassVar = Kind.BLOCK_REPLY
    unblock_hash: Annotated[bytes, Record(0, _HASH)]
    reason: Annotated[str | None, Record(1, _REASON)] = None
    status: Annotated[BlockStatus, Record(2, enum8(BlockStatus))]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockUpdate(_Message):
    """LSP to payer: the progress of the block. parts: the number of HTLCs that it counts."""

    kind: ClassVar = Kind.BLOCK_UPDATE
    unblock_hash: Annotated[bytes, Record(0, _HASH)]
    state: Annotated[BlockState, Record(2, enum8(BlockState))]
    parts: Annotated[int, Record(4, tu(TU32_BYTES))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPending(_Message):
    """Payer to payee: all parts are held; release them with `pid` (32 bytes) when ready for them.

    payer_lsp_node_id and payer_node_id (33 bytes each) are present only when the onion carries no reply_path.
    invoice_proof: 32 bytes (see `invoice_proof`) that prove to the payee that the sender has its invoices. Record 9:
    odd, so that a payee that does not know it ignores it; the highest, because like a signature it follows the records
    that it authenticates.
    """

    kind: ClassVar = Kind.PAYMENT_PENDING
    pid: Annotated[bytes, Record(0, _PID)]
    payer_lsp_node_id: Annotated[bytes | None, Record(1, _NODE_ID)] = None
    payment_hashes: Annotated[tuple[bytes, ...], Record(2, _HASHES)]
    payer_node_id: Annotated[bytes | None, Record(3, _NODE_ID)] = None
    amount_msat: Annotated[int, Record(4, _MSAT)]
    release_by_height: Annotated[int, Record(6, _HEIGHT)]
    hold_until: Annotated[int, Record(8, _UNIX_SECONDS)]
    invoice_proof: Annotated[bytes | None, Record(9, _PROOF)] = None

    def is_proven_by(self, payment_secrets: Sequence[bytes | None]) -> bool:
        """Return whether `invoice_proof` was made with these payment secrets, in the order of the payment hashes.

        An element is None where the payee has no such invoice. Then the result is False, as it is for a secret that
        does not have 32 bytes. The comparison takes constant time.
        """
        secrets = tuple(secret for secret in payment_secrets if secret is not None and len(secret) == 32)
        if self.invoice_proof is None or len(secrets) != len(self.payment_hashes):
            return False
        return hmac.compare_digest(invoice_proof(self.pid, self.payment_hashes, secrets), self.invoice_proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRelease(_Message):
    """Payee to payer through the payer's LSP: release the parts."""

    kind: ClassVar = Kind.PAYMENT_RELEASE
    pid: Annotated[bytes, Record(0, _PID)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReply(_Message):
    """Payer's LSP, or payer, to payee: the result of a release. unblock_hash: SHA256 of the release's pid."""

    kind: ClassVar = Kind.RELEASE_REPLY
    unblock_hash: Annotated[bytes, Record(0, _HASH)]
    status: Annotated[ReleaseStatus, Record(2, enum8(ReleaseStatus))]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest(_SignedRequest):
    """Payer to its LSP: fail the parts back, unless they are already forwarded."""

    kind: ClassVar = Kind.CANCEL_REQUEST
    unblock_hash: Annotated[bytes, Record(0, _HASH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRefused(_Message):
    """Payee to payer through the payer's LSP: the payee will never release. Stop the courier, inform the payer."""

    kind: ClassVar = Kind.PAYMENT_REFUSED
    pid: Annotated[bytes, Record(0, _PID)]
    reason: Annotated[str | None, Record(1, _REASON)] = None


Message = (
    BlockRequest
    | BlockReply
    | BlockUpdate
    | PaymentPending
    | PaymentRelease
    | ReleaseReply
    | CancelRequest
    | PaymentRefused
)

_BY_KIND: dict[int, type[Message]] = {cls.kind: cls for cls in get_args(Message)}


def decode(data: bytes) -> Message:
    """Read the value of onionmsg_tlv `async_payment`; WireError if it is malformed (see the module)."""
    if not 0 < len(data) <= MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(data)} bytes; it must have 1 to {MAX_MESSAGE_BYTES}")
    cls = _BY_KIND.get(data[0])
    if cls is None:
        raise WireError(f"unknown message kind {data[0]}")
    return cls.decode(data[1:])


def unblock_hash(pid: bytes) -> bytes:
    """Return the identifier of a block, SHA256 of its pid; both have 32 bytes."""
    return sha256(pid).digest()


def release_path_id(pid: bytes) -> bytes:
    """Return the path_id (32 bytes) of the payer's own hop, the last hop of a release path through its LSP."""
    return sha256(b"async-payments:path" + pid).digest()


def invoice_proof(pid: bytes, payment_hashes: Sequence[bytes], payment_secrets: Sequence[bytes]) -> bytes:
    """Prove that the sender of a payment_pending has the invoices that it names.

    HMAC-SHA256 over `async-payments:pending:`, the pid and the payment hashes, keyed with the payment_secrets (BOLT 11,
    `s`) of these invoices: 32 bytes each, concatenated, the secrets in the order of the hashes. Return 32 bytes;
    WireError for any other length. Every node on the route of an HTLC knows the payment hash, and only holders of the
    invoice know its payment_secret.
    """
    key = b"".join(_SECRET.encode(secret) for secret in payment_secrets)
    vouched_for = b"async-payments:pending:" + _PID.encode(pid) + _HASHES.encode(tuple(payment_hashes))
    return hmac.digest(key, vouched_for, "sha256")
