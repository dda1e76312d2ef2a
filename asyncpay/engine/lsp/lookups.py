"""The records of an LSP in memory, with the indexes by which the engine finds them.

The cost of an event must not grow with the number of records. So the records of a client, a peer, a channel or a hash
are found by an index, and those that wait for a time or a height by schedule.py. Indexes are derived from the records,
and rebuilt when these are loaded; tests/support/full_scan.py compares them with a scan of all records.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from asyncpay.engine.core import Change, Put
from asyncpay.engine.indexes import Index
from asyncpay.engine.lsp.archive import NOTHING, Archive, Summary
from asyncpay.engine.lsp.records import (
    BLOCK_BYTES,
    Attempt,
    AttemptState,
    Block,
    Delivered,
    Htlc,
    Method,
    PushAttempt,
    Record,
    StoredMessage,
    Target,
    Webhook,
    target,
)
from asyncpay.engine.lsp.states import FINISHED, PROPERTIES, State
from asyncpay.engine.lsp.totals import Totals
from asyncpay.lightning import ChannelId, HtlcKey, NodeId, Resolution


@dataclass
class LspRecords:
    """The content of the store, except archived blocks. Change it only by `apply`, so that the indexes are correct."""

    blocks: dict[bytes, Block] = field(default_factory=dict)
    htlcs: dict[HtlcKey, Htlc] = field(default_factory=dict)
    attempts: dict[bytes, Attempt] = field(default_factory=dict)
    messages: dict[tuple[NodeId, bytes], StoredMessage] = field(default_factory=dict)
    delivered: dict[tuple[NodeId, bytes], Delivered] = field(default_factory=dict)
    push_attempts: dict[tuple[NodeId, Method], PushAttempt] = field(default_factory=dict)
    webhooks: dict[tuple[NodeId, str], Webhook] = field(default_factory=dict)
    archive: Archive = field(default_factory=Archive)
    totals: Totals = field(default_factory=Totals)

    _in_flight: dict[bytes, None] = field(default_factory=dict)
    _by_payment: dict[tuple[NodeId, bytes], bytes] = field(default_factory=dict)
    _blocks_of: Index[NodeId, bytes] = field(default_factory=Index)
    _parts: Index[bytes, HtlcKey] = field(default_factory=Index)
    _waiting: dict[HtlcKey, None] = field(default_factory=dict)
    _messages_of: Index[NodeId, bytes] = field(default_factory=Index)
    _delivered_to: Index[NodeId, bytes] = field(default_factory=Index)
    _webhooks_of: Index[NodeId, str] = field(default_factory=Index)
    _due_of: Index[NodeId, bytes] = field(default_factory=Index)
    _untold_of: Index[NodeId, bytes] = field(default_factory=Index)
    _outgoing: Index[Target, HtlcKey] = field(default_factory=Index)
    _waiting_from: Index[NodeId, HtlcKey] = field(default_factory=Index)
    _on_channel: Index[ChannelId, HtlcKey] = field(default_factory=Index)
    _results_of: Index[NodeId, HtlcKey] = field(default_factory=Index)
    _decided: Counter[NodeId] = field(default_factory=Counter)
    _in_force: Counter[NodeId] = field(default_factory=Counter)
    _held: Counter[NodeId] = field(default_factory=Counter)
    _held_msat: Counter[NodeId] = field(default_factory=Counter)
    _claimed_msat: Counter[NodeId] = field(default_factory=Counter)
    _all_claimed_msat: int = 0
    _block_bytes: Counter[NodeId] = field(default_factory=Counter)
    _all_block_bytes: int = 0
    _invoiced: Counter[bytes] = field(default_factory=Counter)

    @classmethod
    def load(cls, records: Iterable[Record], archived: Summary = NOTHING) -> "LspRecords":
        """Build the tables from the store's records, in any order except that messages are ordered by number.

        archived: the summary of the blocks that the store has archived.
        """
        loaded = cls(archive=Archive.begin(archived))
        for _, state, number in archived.blocks:
            loaded.totals.blocks[state] += number
        for record in records:
            loaded.apply(Put(record))
        loaded.archive.candidates = {key: None for key, block in loaded.blocks.items() if block.state in FINISHED}
        return loaded

    @property
    def empty(self) -> bool:
        """Whether there are no records: in a new store, or one whose records were all deleted."""
        return not self.archive.total and not any(self._table(kind) for kind in _TABLES)

    def apply(self, change: Change[Record]) -> Record | None:
        """Apply one change; return the record that it replaced or deleted."""
        record = change.record
        table = self._table(type(record))
        old = table.pop(record.key, None) if not isinstance(change, Put) else table.get(record.key)
        if old is not None:
            self._unlist(old)
            self.totals.remove(old)
        if isinstance(change, Put):
            table[record.key] = record
            self._list(record)
            self.totals.add(record)
        return old

    def block_for(self, client: NodeId, payment_hash: bytes) -> Block | None:
        """Return the client's block for this hash, finished or not; an archived one only if it was recalled."""
        unblock_hash = self._by_payment.get((client, payment_hash))
        if unblock_hash is not None:
            return self.blocks[unblock_hash]
        archived = (each.block for each in self.archive.outlines.values())
        return next((each for each in archived if each.client == client and payment_hash in each.payment_hashes), None)

    def block(self, unblock_hash: bytes) -> Block | None:
        """Return the block, finished or not; an archived one only if it, or its outline, was recalled."""
        outline = self.archive.outlines.get(unblock_hash)
        return self.blocks.get(unblock_hash) if outline is None else outline.block

    def number_of_parts(self, block: Block) -> int:
        """Return the number of the HTLCs of a block, including those that are resolved or gone."""
        outline = self.archive.outlines.get(block.key)
        return self._parts.size(block.key) if outline is None else outline.parts

    def blocks_of(self, client: NodeId) -> Iterator[Block]:
        """Iterate over the client's blocks, finished or not, except archived ones."""
        return (self.blocks[key] for key in self._blocks_of.of(client))

    def number_of_blocks(self, client: NodeId) -> int:
        """Return the number of the client's blocks, finished or not, archived or not."""
        return self._blocks_of.size(client) + self.archive.blocks_of[client]

    def in_force(self, client: NodeId) -> int:
        """Return the number of the client's blocks that are not finished."""
        return self._in_force[client]

    def due_of(self, client: NodeId) -> list[Block]:
        """Return the client's blocks that are due to be released."""
        return [self.blocks[key] for key in self._due_of.of(client)]

    def clients_with_due_blocks(self) -> list[NodeId]:
        """Return the clients that have blocks that are due to be released."""
        return self._due_of.groups()

    def untold_of(self, client: NodeId) -> tuple[bytes, ...]:
        """Return the unblock_hashes of the client's blocks for which it gets an update when it connects."""
        return self._untold_of.of(client)

    def held(self, client: NodeId) -> tuple[int, int]:
        """Return the number of held parts of the client, and the sum of their incoming amounts in msat."""
        return self._held[client], self._held_msat[client]

    def block_bytes(self, client: NodeId | None = None) -> int:
        """Return the size of a client's blocks, also finished and archived ones; without a client, that of all."""
        if client is None:
            return self._all_block_bytes + BLOCK_BYTES * self.archive.total
        return self._block_bytes[client] + BLOCK_BYTES * self.archive.blocks_of[client]

    def parts(self, block: Block) -> list[Htlc]:
        """Return the HTLCs of a block, including those that are resolved or gone."""
        return [self.htlcs[key] for key in self._parts.of(block.key)]

    def attempts_of(self, block: Block) -> list[Attempt]:
        """Return the payments on behalf that were made for a block."""
        made = (self.attempts.get(payment_hash) for payment_hash in block.payment_hashes)
        return [attempt for attempt in made if attempt is not None and attempt.block == block.key]

    def may_be_paid_on_behalf(self, payment_hash: bytes) -> bool:
        """Return whether there is an unfinished block with an invoice of this hash."""
        return payment_hash in self._invoiced

    def count_archived(self, block: Block, sign: int) -> None:
        """Count an archived block that was removed from memory (sign 1), or recalled (sign -1)."""
        self.archive.count(block.client, sign)
        self.totals.blocks[block.state] += sign

    def in_flight(self) -> list[Attempt]:
        """Return the payments on behalf that are not decided."""
        return [self.attempts[payment_hash] for payment_hash in self._in_flight]

    def claimed_msat(self, client: NodeId | None = None) -> int:
        """Return the sum of the parts that are claimed with the preimage but still on the channel of the payer's node;
        without a client, that of all clients.
        """
        return self._all_claimed_msat if client is None else self._claimed_msat[client]

    def waiting(self) -> list[Htlc]:
        """Return the HTLCs that are held for an offline client, outside any block."""
        return [self.htlcs[key] for key in self._waiting]

    def waiting_from(self, peer: NodeId) -> list[Htlc]:
        """Return the HTLCs held for an offline client that came from this peer."""
        return [self.htlcs[key] for key in self._waiting_from.of(peer)]

    def outgoing(self, targets: Iterable[Target]) -> list[Htlc]:
        """Return the HTLCs to forward to one of these now: they wait for an offline client, or their block is due."""
        return [self.htlcs[key] for each in targets for key in self._outgoing.of(each)]

    def has_outgoing(self, targets: Iterable[Target]) -> bool:
        """Return whether `outgoing` would find an HTLC."""
        return any(each in self._outgoing for each in targets)

    def all_targets(self) -> list[Target]:
        """Return the next hops of all HTLCs that are to be forwarded now (see `outgoing`)."""
        return self._outgoing.groups()

    def on_channel(self, channel_id: ChannelId) -> list[Htlc]:
        """Return the HTLCs that came in on this channel."""
        return [self.htlcs[key] for key in self._on_channel.of(channel_id)]

    def has_decided(self, peer: NodeId) -> bool:
        """Return whether an HTLC of this peer is resolved and, as far as is known, still on its channel."""
        return self._decided[peer] > 0

    def has_result(self, peer: NodeId) -> bool:
        """Return whether such an HTLC is settled, claimed or failed: the peer must connect to receive that."""
        return peer in self._results_of

    def peers_with_results(self) -> list[NodeId]:
        """Return the peers for which `has_result` is true."""
        return self._results_of.groups()

    def messages_for(self, client: NodeId) -> list[StoredMessage]:
        """Return the messages in the client's mailbox, in order."""
        return [self.messages[client, message_id] for message_id in self._messages_of.of(client)]

    def has_messages(self, client: NodeId) -> bool:
        """Return whether there is a message in the client's mailbox."""
        return client in self._messages_of

    def clients_with_messages(self) -> list[NodeId]:
        """Return the clients with messages in their mailboxes."""
        return self._messages_of.groups()

    def delivered_beyond(self, client: NodeId, most: int) -> list[Delivered]:
        """Return the client's oldest delivered messages beyond the `most` latest ones."""
        surplus = max(0, self._delivered_to.size(client) - most)
        return [self.delivered[client, message_id] for message_id in self._delivered_to.first(client, surplus)]

    def is_client(self, node: NodeId) -> bool:
        """Return whether this node has registered a webhook."""
        return node in self._webhooks_of

    def clients(self) -> list[NodeId]:
        """Return the nodes that have registered a webhook."""
        return self._webhooks_of.groups()

    def webhooks_of(self, client: NodeId) -> list[Webhook]:
        """Return the webhooks that a client has registered."""
        return [self.webhooks[client, app_name] for app_name in self._webhooks_of.of(client)]

    def _table(self, kind: type[Record]) -> dict[Any, Any]:
        table: dict[Any, Any] = getattr(self, _TABLES[kind])
        return table

    def _list(self, record: Record) -> None:
        match record:
            case Block():
                self._list_block(record)
            case Htlc():
                self._list_htlc(record)
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
                self._unlist_block(record)
            case Htlc():
                self._unlist_htlc(record)
            case Attempt():
                self._in_flight.pop(record.key, None)
            case StoredMessage():
                self._messages_of.discard(record.client, record.message_id)
            case Delivered():
                self._delivered_to.discard(record.client, record.message_id)
            case Webhook():
                self._webhooks_of.discard(record.client, record.app_name)

    def _list_block(self, block: Block) -> None:
        self._blocks_of.add(block.client, block.key)
        self._count_block(block, 1)
        for payment_hash in block.payment_hashes:
            self._by_payment[block.client, payment_hash] = block.key
        if is_untold(block):
            self._untold_of.add(block.client, block.key)
        if block.state is State.DUE:
            self._due_of.add(block.client, block.key)
            for part in self.parts(block):
                self._list_outgoing(part)

    def _unlist_block(self, block: Block) -> None:
        self._blocks_of.discard(block.client, block.key)
        self._count_block(block, -1)
        for payment_hash in block.payment_hashes:
            self._by_payment.pop((block.client, payment_hash), None)
        self._untold_of.discard(block.client, block.key)
        if block.state is State.DUE:
            self._due_of.discard(block.client, block.key)
            for part in self.parts(block):
                self._unlist_outgoing(part)

    def _list_htlc(self, htlc: Htlc) -> None:
        peer = htlc.htlc.peer
        self._on_channel.add(htlc.key.channel_id, htlc.key)
        self._count_htlc(htlc, 1)
        if has_result(htlc):
            self._results_of.add(peer, htlc.key)
        if htlc.block is not None:
            self._parts.add(htlc.block, htlc.key)
            block = self.blocks.get(htlc.block)
            if block is not None and block.state is State.DUE:
                self._list_outgoing(htlc)
        elif htlc.resolution is None:
            self._waiting[htlc.key] = None
            self._waiting_from.add(peer, htlc.key)
            self._list_outgoing(htlc)

    def _unlist_htlc(self, htlc: Htlc) -> None:
        peer = htlc.htlc.peer
        self._on_channel.discard(htlc.key.channel_id, htlc.key)
        self._count_htlc(htlc, -1)
        self._results_of.discard(peer, htlc.key)
        self._unlist_outgoing(htlc)
        if htlc.block is not None:
            self._parts.discard(htlc.block, htlc.key)
        elif htlc.resolution is None:
            self._waiting.pop(htlc.key, None)
            self._waiting_from.discard(peer, htlc.key)

    def _list_outgoing(self, htlc: Htlc) -> None:
        to = target(htlc.htlc)
        if to is not None:
            self._outgoing.add(to, htlc.key)

    def _unlist_outgoing(self, htlc: Htlc) -> None:
        to = target(htlc.htlc)
        if to is not None:
            self._outgoing.discard(to, htlc.key)

    def _count_block(self, block: Block, sign: int) -> None:
        self._all_block_bytes += sign * block.size_bytes
        _count(self._block_bytes, block.client, sign * block.size_bytes)
        if block.state not in FINISHED:
            _count(self._in_force, block.client, sign)
            for payment_hash in block.payment_hashes if block.invoice is not None else ():
                _count(self._invoiced, payment_hash, sign)

    def _count_htlc(self, htlc: Htlc, sign: int) -> None:
        peer, value_msat = htlc.htlc.peer, sign * htlc.htlc.incoming_amount_msat
        if htlc.resolution is not None and not htlc.gone:
            _count(self._decided, peer, sign)
        if htlc.block is None:
            return
        if htlc.resolution is None:
            _count(self._held, peer, sign)
            _count(self._held_msat, peer, value_msat)
        elif htlc.resolution is Resolution.SETTLE and not htlc.gone:
            self._all_claimed_msat += value_msat
            _count(self._claimed_msat, peer, value_msat)


def is_untold(block: Block) -> bool:
    """Return whether the payer gets an update of this block when it connects: unless it was told how it ended."""
    state = PROPERTIES[block.state].update
    return state is not None and block.told is not state


def has_result(htlc: Htlc) -> bool:
    """Return whether the peer must connect to receive the result of this HTLC."""
    ended = htlc.outcome is not None or htlc.resolution in (Resolution.FAIL, Resolution.SETTLE)
    return ended and not htlc.gone


def _count(counter: Counter[bytes], key: bytes, change: int) -> None:
    """Change the count of a client or hash. A key whose count is zero is removed."""
    counter[key] += change
    if not counter[key]:
        del counter[key]


_TABLES: dict[type[Record], str] = {
    Block: "blocks",
    Htlc: "htlcs",
    Attempt: "attempts",
    StoredMessage: "messages",
    Delivered: "delivered",
    PushAttempt: "push_attempts",
    Webhook: "webhooks",
}
