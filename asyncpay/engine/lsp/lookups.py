"""The records of an LSP in memory, with the ways in which the engine looks them up."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asyncpay.engine.core import Change, Put
from asyncpay.engine.lsp.records import (
    Attempt,
    AttemptState,
    Block,
    Delivered,
    Htlc,
    Method,
    PushAttempt,
    Record,
    StoredMessage,
    Webhook,
)
from asyncpay.lightning import HtlcKey, NodeId, Resolution

K = TypeVar("K")
V = TypeVar("V")


class Index(dict[K, dict[V, None]]):
    """Keys of records, grouped by something they share, in the order in which they came."""

    def add(self, group: K, key: V) -> None:
        """Put `key` into `group`."""
        self.setdefault(group, {})[key] = None

    def discard(self, group: K, key: V) -> None:
        """Take `key` out of `group`; empty groups are not kept."""
        members = self.get(group, {})
        members.pop(key, None)
        if not members:
            self.pop(group, None)

    def of(self, group: K) -> tuple[V, ...]:
        """The members of `group`, oldest first."""
        return tuple(self.get(group, ()))


@dataclass
class LspRecords:
    """What the store holds. Change it by `apply` only, so that the indexes stay right."""

    blocks: dict[bytes, Block] = field(default_factory=dict)
    htlcs: dict[HtlcKey, Htlc] = field(default_factory=dict)
    attempts: dict[bytes, Attempt] = field(default_factory=dict)
    messages: dict[tuple[NodeId, bytes], StoredMessage] = field(default_factory=dict)
    delivered: dict[tuple[NodeId, bytes], Delivered] = field(default_factory=dict)
    push_attempts: dict[tuple[NodeId, Method], PushAttempt] = field(default_factory=dict)
    webhooks: dict[tuple[NodeId, str], Webhook] = field(default_factory=dict)

    _in_flight: dict[bytes, None] = field(default_factory=dict)
    _by_payment: dict[tuple[NodeId, bytes], bytes] = field(default_factory=dict)
    _blocks_of: Index[NodeId, bytes] = field(default_factory=Index)
    _parts: Index[bytes, HtlcKey] = field(default_factory=Index)
    _waiting: dict[HtlcKey, None] = field(default_factory=dict)
    _messages_of: Index[NodeId, bytes] = field(default_factory=Index)
    _delivered_to: Index[NodeId, bytes] = field(default_factory=Index)
    _webhooks_of: Index[NodeId, str] = field(default_factory=Index)
    _claimed: list[tuple[int, HtlcKey]] = field(default_factory=list)
    _claimed_msat: Counter[NodeId] = field(default_factory=Counter)
    _block_bytes: Counter[NodeId] = field(default_factory=Counter)
    _all_block_bytes: int = 0

    @classmethod
    def load(cls, records: Iterable[Record]) -> "LspRecords":
        """The tables as a store gives them back, in any order but messages by number."""
        tables = cls()
        for record in records:
            tables.apply(Put(record))
        return tables

    @property
    def empty(self) -> bool:
        """Nothing is known: a new store, or one in which everything is finished and forgotten."""
        return not any(self._table(kind) for kind in _TABLES)

    def apply(self, change: Change[Record]) -> None:
        """Make one change."""
        record = change.record
        table = self._table(type(record))
        old = table.pop(record.key, None) if not isinstance(change, Put) else table.get(record.key)
        if old is not None:
            self._unlist(old)
        if isinstance(change, Put):
            table[record.key] = record
            self._list(record)

    def block_for(self, client: NodeId, payment_hash: bytes) -> Block | None:
        """The client's block for this hash, finished or not."""
        unblock_hash = self._by_payment.get((client, payment_hash))
        return None if unblock_hash is None else self.blocks[unblock_hash]

    def blocks_of(self, client: NodeId) -> Iterator[Block]:
        """The client's blocks, finished or not."""
        return (self.blocks[key] for key in self._blocks_of.of(client))

    def block_bytes(self, client: NodeId | None = None) -> int:
        """What the blocks of a client take up, finished or not; without a client, those of all."""
        return self._all_block_bytes if client is None else self._block_bytes[client]

    def parts(self, block: Block) -> list[Htlc]:
        """The HTLCs that a block counts, also those that are decided or gone."""
        return [self.htlcs[key] for key in self._parts.of(block.key)]

    def in_flight(self) -> list[Attempt]:
        """Payments on behalf that are not decided."""
        return [self.attempts[payment_hash] for payment_hash in self._in_flight]

    def claimed_msat(self, client: NodeId | None = None) -> int:
        """Parts that are claimed with the preimage, and that the payer's node has not let go of yet; without a client,
        those of all.
        """
        return self._claimed_msat.total() if client is None else self._claimed_msat[client]

    def claimed_until(self, height: int) -> list[Htlc]:
        """Those of them that expire at this height or before, the first to expire first."""
        until = bisect_right(self._claimed, height, key=lambda each: each[0])
        return [self.htlcs[key] for _, key in self._claimed[:until]]

    def waiting(self) -> list[Htlc]:
        """HTLCs that are held for an offline client, outside any block."""
        return [self.htlcs[key] for key in self._waiting]

    def messages_for(self, client: NodeId) -> list[StoredMessage]:
        """The client's mailbox, in order."""
        return [self.messages[client, message_id] for message_id in self._messages_of.of(client)]

    def has_messages(self, client: NodeId) -> bool:
        """Whether anything lies in the client's mailbox."""
        return client in self._messages_of

    def delivered_to(self, client: NodeId) -> list[Delivered]:
        """What the client got of late, in order."""
        return [self.delivered[client, message_id] for message_id in self._delivered_to.of(client)]

    def is_client(self, node: NodeId) -> bool:
        """Whether this node has registered a device."""
        return node in self._webhooks_of

    def clients(self) -> list[NodeId]:
        """Nodes that have registered a device."""
        return list(self._webhooks_of)

    def webhooks_of(self, client: NodeId) -> list[Webhook]:
        """The devices, or apps, that a client has registered."""
        return [self.webhooks[client, app_name] for app_name in self._webhooks_of.of(client)]

    def _table(self, kind: type[Record]) -> dict[Any, Any]:
        table: dict[Any, Any] = getattr(self, _TABLES[kind])
        return table

    def _list(self, record: Record) -> None:
        match record:
            case Block():
                self._blocks_of.add(record.client, record.key)
                self._count_bytes(record.client, record.size_bytes)
                for payment_hash in record.payment_hashes:
                    self._by_payment[record.client, payment_hash] = record.key
            case Htlc(block=None, resolution=None):
                self._waiting[record.key] = None
            case Htlc(block=bytes(block)):
                self._parts.add(block, record.key)
                self._count_claimed(record, 1)
            case Attempt(state=AttemptState.IN_FLIGHT):
                self._in_flight[record.key] = None
            case StoredMessage():
                self._messages_of.add(record.client, record.message_id)
            case Delivered():
                self._delivered_to.add(record.client, record.message_id)
            case Webhook():
                self._webhooks_of.add(record.client, record.app_name)

    def _unlist(self, record: Record) -> None:
        match record:
            case Block():
                self._blocks_of.discard(record.client, record.key)
                self._count_bytes(record.client, -record.size_bytes)
                for payment_hash in record.payment_hashes:
                    self._by_payment.pop((record.client, payment_hash), None)
            case Htlc():
                self._waiting.pop(record.key, None)
                if record.block is not None:
                    self._parts.discard(record.block, record.key)
                    self._count_claimed(record, -1)
            case Attempt():
                self._in_flight.pop(record.key, None)
            case StoredMessage():
                self._messages_of.discard(record.client, record.message_id)
            case Delivered():
                self._delivered_to.discard(record.client, record.message_id)
            case Webhook():
                self._webhooks_of.discard(record.client, record.app_name)

    def _count_claimed(self, part: Htlc, sign: int) -> None:
        if part.resolution is Resolution.SETTLE and not part.gone:
            expiring = part.htlc.incoming_expiry, part.key
            if sign > 0:
                insort(self._claimed, expiring)
            else:
                del self._claimed[bisect_left(self._claimed, expiring)]
            self._claimed_msat[part.htlc.peer] += sign * part.htlc.incoming_amount_msat
            if not self._claimed_msat[part.htlc.peer]:
                del self._claimed_msat[part.htlc.peer]

    def _count_bytes(self, client: NodeId, change: int) -> None:
        self._all_block_bytes += change
        self._block_bytes[client] += change
        if not self._block_bytes[client]:
            del self._block_bytes[client]


_TABLES: dict[type[Record], str] = {
    Block: "blocks",
    Htlc: "htlcs",
    Attempt: "attempts",
    StoredMessage: "messages",
    Delivered: "delivered",
    PushAttempt: "push_attempts",
    Webhook: "webhooks",
}
