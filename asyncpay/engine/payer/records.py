"""The stored records of a payer, one for each payment and replaced as a whole, and their indexes."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.payer.states import FINISHED, UNPAID, State
from asyncpay.lightning import NodeId
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockState
from asyncpay.wire.onion import OnionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPayment:
    """A payment of this wallet. See states.py.

    All its messages are created, signed and stored with the order, so that repetitions have the same bytes.

    payment_hash, pid: 32 bytes each. lsp, payee: node ids, 33 bytes each.
    invoice: BOLT 11 text. description: that of the invoice.
    max_parts, max_part_msat: the most parts, and the largest part, into which the node may split it; None: any size.
    slack_blocks: added to the final hop's CLTV delta: the time to release, and the payer's time to come back online.
    release_by_height, hold_until: the block's deadlines, a height and Unix seconds.
    request, cancel: the signed BlockRequest and CancelRequest, encoded.
    pending: the onion message with payment_pending, for the LSP to forward.
    requests_sent, request_next_at: how often the request was sent (since the node pays), and when it is due again.
    cancelled: the user, or the wallet for lack of answers, has cancelled the payment.
    cancels_sent, cancel_next_at: the same for the cancel; None while there is none, or once it is answered.
    begun: whether the node was, or may have been, ordered to pay.
    unsure_until: Unix seconds, None if no order to pay can be in transit unnoticed. Before that time such an order may
        still reach the node, so its report of no payment, or of a failed one only, does not count (payments.py).
    told: the last update of the block from the LSP; told_parts: its number of parts.
    preimage: 32 bytes, once SETTLED. failure: for users, once FAILED.
    created_at, ended_at: Unix seconds.
    """

    payment_hash: bytes
    pid: bytes
    lsp: NodeId
    payee: NodeId
    invoice: str
    description: str
    amount_msat: int
    fee_limit_msat: int
    slack_blocks: int
    cltv_limit_blocks: int
    max_parts: int
    max_part_msat: int | None = None
    release_by_height: int
    hold_until: int
    request: bytes
    cancel: bytes
    pending: OnionMessage
    created_at: float
    state: State = State.REQUESTED
    requests_sent: int = 0
    request_next_at: float | None = None
    cancelled: bool = False
    cancels_sent: int = 0
    cancel_next_at: float | None = None
    told: BlockState | None = None
    told_parts: int = 0
    preimage: bytes | None = None
    fee_msat: int = 0
    failure: str = ""
    ended_at: float | None = None
    begun: bool = False
    unsure_until: float | None = None

    @property
    def key(self) -> bytes:
        """payment_hash, 32 bytes."""
        return self.payment_hash

    @property
    def may_be_ordered_again(self) -> bool:
        """Whether it failed before anything was sent, and the LSP keeps no block of it that must be cancelled."""
        return self.state is State.FAILED and not self.begun and self.cancel_next_at is None


class PaymentRecords:
    """All payments that were ever ordered, in their order. Change it only with `put`.

    A payment is live if it is not finished, or its cancel is not answered.
    unpaid_until: the Unix time in seconds at which the blocks of payments end of which nothing was sent.
    """

    def __init__(self, records: Iterable[OutgoingPayment] = ()) -> None:
        self._by_hash: dict[bytes, OutgoingPayment] = {}
        self._by_block: dict[bytes, bytes] = {}
        self._by_release_path: dict[bytes, bytes] = {}
        self._live: dict[bytes, int] = {}
        self._live_of: dict[NodeId, dict[bytes, None]] = {}
        self._blocked_of: dict[NodeId, dict[bytes, None]] = {}
        self._in_doubt: dict[bytes, None] = {}
        self._numbered = 0
        self.unpaid_until: Deadlines[bytes] = Deadlines()
        for record in records:
            self.put(record)

    def __iter__(self) -> Iterator[OutgoingPayment]:
        return iter(self._by_hash.values())

    def __getitem__(self, payment_hash: bytes) -> OutgoingPayment:
        return self._by_hash[payment_hash]

    def get(self, payment_hash: bytes) -> OutgoingPayment | None:
        """Return the payment with this hash (32 bytes)."""
        return self._by_hash.get(payment_hash)

    def of_block(self, unblock_hash: bytes) -> OutgoingPayment | None:
        """Return the payment whose block has this unblock_hash (32 bytes)."""
        payment_hash = self._by_block.get(unblock_hash)
        return None if payment_hash is None else self._by_hash[payment_hash]

    def of_release_path(self, path_id: bytes) -> OutgoingPayment | None:
        """Return the payment whose release path has this path_id (32 bytes)."""
        payment_hash = self._by_release_path.get(path_id)
        return None if payment_hash is None else self._by_hash[payment_hash]

    def live(self) -> list[OutgoingPayment]:
        """Return all live payments."""
        return [self._by_hash[key] for key in self._live]

    def live_of(self, lsp: NodeId) -> list[OutgoingPayment]:
        """Return the live payments through this LSP."""
        return [self._by_hash[key] for key in self._live_of.get(lsp, ())]

    def live_among(self, payment_hashes: Iterable[bytes]) -> list[bytes]:
        """Return the hashes among these whose payments are live, each once, in the order of `live`."""
        return sorted({key for key in payment_hashes if key in self._live}, key=self._live.__getitem__)

    def is_live(self, payment_hash: bytes) -> bool:
        """Return whether this payment is live."""
        return payment_hash in self._live

    def blocked_of(self, lsp: NodeId) -> list[bytes]:
        """Return the hashes of payments that wait for a usable channel to this LSP."""
        return list(self._blocked_of.get(lsp, ()))

    def in_doubt(self) -> list[bytes]:
        """Return the hashes of failed payments that the node may have been ordered to pay: few, one for each crash."""
        return list(self._in_doubt)

    def put(self, payment: OutgoingPayment) -> None:
        """Replace the payment with the same hash, or add this one."""
        key, known = payment.key, self._by_hash.get(payment.key)
        if known is not None and known.pid != payment.pid:
            # Ordered again: late answers to the earlier order must not count for this one.
            del self._by_block[messages.unblock_hash(known.pid)]
            del self._by_release_path[messages.release_path_id(known.pid)]
        self._by_hash[key] = payment
        self._by_block[messages.unblock_hash(payment.pid)] = key
        self._by_release_path[messages.release_path_id(payment.pid)] = key
        live = payment.state not in FINISHED or payment.cancel_next_at is not None
        if live and key not in self._live:
            self._numbered += 1
            self._live[key] = self._numbered
        elif not live:
            self._live.pop(key, None)
        _list(self._live_of, payment, live)
        _list(self._blocked_of, payment, payment.state is State.BLOCKED)
        if payment.state is State.FAILED and payment.unsure_until is not None:
            self._in_doubt[key] = None
        else:
            self._in_doubt.pop(key, None)
        self.unpaid_until.set(key, payment.hold_until if payment.state in UNPAID else math.inf)


def _list(index: dict[NodeId, dict[bytes, None]], payment: OutgoingPayment, listed: bool) -> None:
    """List a payment under its LSP, or remove it. While it is listed its LSP does not change."""
    if listed:
        index.setdefault(payment.lsp, {})[payment.key] = None
    elif payment.lsp in index:
        index[payment.lsp].pop(payment.key, None)
        if not index[payment.lsp]:
            del index[payment.lsp]
