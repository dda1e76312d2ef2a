"""Ordered indexes of everything that waits for a time or a height: an event looks only at what is due.

They are derived from the records, like the indexes of lookups.py. When something is due, conditions.py decides whether
it is really over: an index may list something too early, never too late.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from asyncpay.engine.indexes import Deadlines, Index
from asyncpay.engine.lsp.lookups import LspRecords
from asyncpay.engine.lsp.records import (
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
from asyncpay.engine.lsp.states import COLLECTING, UNDECIDED, State
from asyncpay.engine.policy import DAY_SECONDS, LspPolicy
from asyncpay.lightning import HtlcKey, NodeId, Resolution

T = TypeVar("T")

SLICE = 500
"""The maximum number of items of one kind that one event handles, if many are due. The others follow after a pause."""
PAUSE_SECONDS = 0.01
"""The pause between two slices, during which other events are handled."""


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Return the items in slices of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


class ClientTurns:
    """Couriers that are due for one next hop. Their clients take turns: the client served longest ago is next."""

    def __init__(self) -> None:
        self._due_of: dict[NodeId, Deadlines[bytes]] = {}
        self._turns: Deadlines[NodeId] = Deadlines()
        self._served: tuple[NodeId, float] = (b"", -math.inf)

    def __len__(self) -> int:
        return len(self._due_of)

    def set(self, block: Block, due_at: float) -> None:
        """Record since when the block's courier is due."""
        if block.client not in self._due_of:
            client, served_at = self._served
            self._due_of[block.client] = Deadlines()
            self._turns.set(block.client, served_at if client == block.client else -math.inf)
        self._due_of[block.client].set(block.key, due_at)

    def get(self, block: Block) -> float:
        """Return since when the block's courier is due; infinity if it is not."""
        theirs = self._due_of.get(block.client)
        return math.inf if theirs is None else theirs.get(block.key)

    def discard(self, block: Block) -> None:
        """Remove the block's courier, which is no longer due."""
        theirs = self._due_of.get(block.client)
        if theirs is not None:
            theirs.discard(block.key)
            if not len(theirs):
                del self._due_of[block.client]
                self._turns.discard(block.client)

    def served(self, client: NodeId, now: float) -> None:
        """Record that a courier of this client was sent."""
        self._served = client, now
        if client in self._due_of:
            self._turns.set(client, now)

    @property
    def first(self) -> bytes | None:
        """The block whose courier is next."""
        turn = self._turns.earliest
        return None if turn is None else self._due_of[turn].earliest


UNKNOWN_HOP: NodeId = b""
"""The next hop of couriers for which the node has not reported it: they are paced as if they had the same one."""


class CourierQueue:
    """Couriers, by the time at which they are due. Each next hop has its own pace, and next hops take turns.

    The state of a next hop is deleted with its last courier, or with the next courier sent after its pause is over. So
    there are never more next hops than couriers.
    """

    def __init__(self, pace_seconds: float) -> None:
        self._pace_seconds = pace_seconds
        self.later: Deadlines[bytes] = Deadlines()
        self._due: dict[NodeId, ClientTurns] = {}
        self._next_hops: dict[bytes, NodeId] = {}
        self._ready_at: Deadlines[NodeId] = Deadlines()
        self._paused_until: Deadlines[NodeId] = Deadlines()
        self._now = -math.inf

    def set(self, block: Block) -> None:
        """Record when the block's courier is due next, if it is."""
        if block.courier is None or block.courier_next_at is None:
            self.discard(block)
        else:
            self._unlist(block)
            self.later.set(block.key, block.courier_next_at)

    def discard(self, block: Block) -> None:
        """Remove the block's courier, which is not to be sent."""
        self._unlist(block)
        self._next_hops.pop(block.key, None)

    def next_hop(self, block: Block) -> NodeId:
        """Return the next hop of the block's courier; UNKNOWN_HOP if the node has not reported it."""
        return self._next_hops.get(block.key, UNKNOWN_HOP)

    def learn_next_hop(self, block: Block, next_hop: NodeId) -> None:
        """Record the next hop of the block's courier, as the node reports it."""
        if block in self and self.next_hop(block) != next_hop:
            due_at = min(self.later.get(block.key), self._due_since(block))
            self._unlist(block)
            self._next_hops[block.key] = next_hop
            self.later.set(block.key, due_at)

    def collect(self, blocks: Iterable[Block], now: float) -> None:
        """Queue the couriers of these blocks, which have become due, for their next hops."""
        if now < self._now:  # the clock was set back: pauses that end at a time read before are over
            self._paused_until.clear()
            for each in self._due:
                self._ready_at.set(each, now)
        self._now = now
        for block in blocks:
            next_hop, due_at = self.next_hop(block), self.later.get(block.key)
            self.later.discard(block.key)
            if next_hop not in self._due:
                paused_until = self._paused_until.get(next_hop)
                self._due[next_hop] = ClientTurns()
                self._ready_at.set(next_hop, now if paused_until == math.inf else max(now, paused_until))
            self._due[next_hop].set(block, due_at)

    def next(self, now: float) -> bytes | None:
        """Return the block whose courier is to be sent now, to the next hop that has waited longest; None: no block."""
        next_hop = self._ready_at.earliest
        return None if next_hop is None or self._ready_at.first > now else self._due[next_hop].first

    def sent(self, next_hop: NodeId, client: NodeId, now: float) -> None:
        """Record that a courier of this client was sent to this next hop."""
        for each in self._paused_until.due(now):
            self._paused_until.discard(each)
        self._paused_until.set(next_hop, now + self._pace_seconds)
        if next_hop in self._due:
            self._due[next_hop].served(client, now)
            self._ready_at.set(next_hop, now + self._pace_seconds)

    def first(self, now: float) -> float:
        """Return when one is due, or may be sent. If the clock was set back, none waits for longer than the pace."""
        return min(self.later.first, self._ready_at.first if now >= self._now else now + self._pace_seconds)

    @property
    def known(self) -> frozenset[bytes]:
        """The blocks whose couriers have a known next hop."""
        return frozenset(self._next_hops)

    def __contains__(self, block: Block) -> bool:
        return min(self.later.get(block.key), self._due_since(block)) < math.inf

    def _due_since(self, block: Block) -> float:
        turns = self._due.get(self.next_hop(block))
        return math.inf if turns is None else turns.get(block)

    def _unlist(self, block: Block) -> None:
        self.later.discard(block.key)
        next_hop = self.next_hop(block)
        turns = self._due.get(next_hop)
        if turns is not None:
            turns.discard(block)
            if not len(turns):
                del self._due[next_hop]
                self._ready_at.discard(next_hop)


class StuckHtlcs:
    """Released parts that the node has offered again, and whose channels are not usable.

    They wait for these channels, or for their block's deadlines.
    """

    def __init__(self) -> None:
        self._by_height: Deadlines[HtlcKey] = Deadlines()
        self._by_hold_until: Deadlines[HtlcKey] = Deadlines()
        self._needs: Index[Target, HtlcKey] = Index()
        self._htlcs: dict[HtlcKey, Htlc] = {}

    def __contains__(self, key: HtlcKey) -> bool:
        return key in self._htlcs

    def add(self, part: Htlc, height: float, hold_until: int) -> None:
        """Add a part. Its block is over at this height, and after this Unix second."""
        self._htlcs[part.key] = part
        self._by_height.set(part.key, height)
        self._by_hold_until.set(part.key, hold_until)
        for each in _needs(part):
            self._needs.add(each, part.key)

    def discard(self, key: HtlcKey) -> None:
        """Remove a part that no longer waits."""
        part = self._htlcs.pop(key, None)
        if part is not None:
            self._by_height.discard(key)
            self._by_hold_until.discard(key)
            for each in _needs(part):
                self._needs.discard(each, key)

    def clear(self) -> None:
        """Remove all parts."""
        for index in (self._by_height, self._by_hold_until, self._needs):
            index.clear()
        self._htlcs.clear()

    def that_need(self, targets: Iterable[Target]) -> list[HtlcKey]:
        """Return the parts that came from one of these targets, or are to go to one."""
        return sorted({key for each in targets for key in self._needs.of(each)})

    def peers(self) -> list[NodeId]:
        """Return the peers of the parts."""
        return list({part.htlc.peer: None for part in self._htlcs.values()})

    def due(self, height: int | None, last_past_second: int, most: int) -> list[HtlcKey]:
        """Return the parts whose block may be over."""
        by_height = [] if height is None else self._by_height.due(height, most)
        return sorted({*by_height, *self._by_hold_until.due(last_past_second, most)})

    @property
    def first_hold_until(self) -> float:
        """The first Unix second after which a block of these parts is over."""
        return self._by_hold_until.first


def _needs(part: Htlc) -> set[Target]:
    to = target(part.htlc)
    return {part.htlc.peer} if to is None else {part.htlc.peer, to}


class Schedule:
    """The indexes of all records that become due at a time or a height. Heights are the first at which a record is due.

    by_height, by_hold_until: undecided blocks; by height, and by the last Unix second in which they may be held.
    complete_by: blocks with missing parts, from their first part on.
    wait_ends, wait_height: HTLCs that wait for an offline client.
    forget_after, forget_at_height: finished blocks; by Unix second first, then by height.
    claimed: claimed parts that the payer's node has not taken, by their incoming expiry.
    couriers, messages, delivered, pushes, webhooks: the time of the next action for each.
    """

    def __init__(self, policy: LspPolicy, records: LspRecords) -> None:
        self._policy, self._records = policy, records
        self.by_height: Deadlines[bytes] = Deadlines()
        self.by_hold_until: Deadlines[bytes] = Deadlines()
        self.complete_by: Deadlines[bytes] = Deadlines()
        self.wait_ends: Deadlines[HtlcKey] = Deadlines()
        self.wait_height: Deadlines[HtlcKey] = Deadlines()
        self.forget_after: Deadlines[bytes] = Deadlines()
        self.forget_at_height: Deadlines[bytes] = Deadlines()
        self.claimed: Deadlines[HtlcKey] = Deadlines()
        self.couriers = CourierQueue(policy.courier_pace_seconds)
        self.messages: Deadlines[tuple[NodeId, bytes]] = Deadlines()
        self.delivered: Deadlines[tuple[NodeId, bytes]] = Deadlines()
        self.pushes: Deadlines[tuple[NodeId, Method]] = Deadlines()
        self.webhooks: Deadlines[tuple[NodeId, str]] = Deadlines()
        for table in (records.blocks, records.htlcs, records.messages, records.delivered, records.push_attempts):
            for record in table.values():
                self.put(record)
        for webhook in records.webhooks.values():
            self.put(webhook)

    def put(self, record: Record) -> None:
        """Add a stored record, which is in the records already."""
        policy = self._policy
        match record:
            case Block():
                self._put_block(record)
            case Htlc():
                self._put_htlc(record)
            case StoredMessage():
                self.messages.set(record.key, record.arrived_at + policy.mailbox_seconds)
            case Delivered():
                self.delivered.set(record.key, record.delivered_at + policy.delivered_seconds)
            case PushAttempt():
                self.pushes.set(record.key, math.inf if record.next_at is None else record.next_at)
            case Webhook():
                self.webhooks.set(record.key, record.used_at + DAY_SECONDS)

    def drop(self, record: Record) -> None:
        """Remove a deleted record."""
        match record:
            case Block():
                for index in (self.by_height, self.by_hold_until, self.complete_by):
                    index.discard(record.key)
                for index in (self.forget_after, self.forget_at_height):
                    index.discard(record.key)
                self.couriers.discard(record)
            case Htlc():
                for waits in (self.wait_ends, self.wait_height, self.claimed):
                    waits.discard(record.key)
            case StoredMessage():
                self.messages.discard(record.key)
            case Delivered():
                self.delivered.discard(record.key)
            case PushAttempt():
                self.pushes.discard(record.key)
            case Webhook():
                self.webhooks.discard(record.key)

    def kept_until(self, unblock_hash: bytes) -> tuple[int | None, int | None]:
        """Return the Unix second after which a finished block may be forgotten, and the height; None: no limit."""
        after, height = self.forget_after.get(unblock_hash), self.forget_at_height.get(unblock_hash)
        return None if after == math.inf else int(after), None if height == math.inf else int(height)

    def keep_until(self, unblock_hash: bytes, unix_second: int | None, height: int | None) -> None:
        """Set the Unix second and the height of `kept_until`, for a block from the archive."""
        self.forget_after.set(unblock_hash, math.inf if unix_second is None else unix_second)
        self.forget_at_height.set(unblock_hash, math.inf if height is None else height)

    def over_at_height(self, block: Block) -> float:
        """Return the first height at which the block is over: past its release_by_height, or a part near its expiry."""
        expiries = (part.htlc.incoming_expiry for part in self._records.parts(block) if not part.gone)
        return min(block.release_by_height + 1, min(expiries, default=math.inf) - self._policy.min_margin_blocks)

    def _put_block(self, block: Block) -> None:
        key, undecided = block.key, block.state in UNDECIDED
        self.by_height.set(key, self.over_at_height(block) if undecided else math.inf)
        self.by_hold_until.set(key, block.hold_until if undecided else math.inf)
        complete_by = math.inf
        if block.state in COLLECTING and block.first_part_at is not None:
            complete_by = block.first_part_at + self._policy.incomplete_seconds
        self.complete_by.set(key, complete_by)
        self.couriers.set(block)
        decided = not undecided and block.state is not State.PAYING
        self.forget_after.set(key, block.hold_until if decided else math.inf)
        self.forget_at_height.discard(key)

    def _put_htlc(self, htlc: Htlc) -> None:
        key, expiry = htlc.key, htlc.htlc.incoming_expiry
        waits = htlc.block is None and htlc.resolution is None
        self.wait_ends.set(key, htlc.offered_at + self._policy.wake_timeout_seconds if waits else math.inf)
        self.wait_height.set(key, expiry - self._policy.min_margin_blocks if waits else math.inf)
        claimed = htlc.block is not None and htlc.resolution is Resolution.SETTLE and not htlc.gone
        self.claimed.set(key, expiry if claimed else math.inf)
        block = None if htlc.block is None else self._records.blocks.get(htlc.block)
        if block is None:
            return
        if block.state in UNDECIDED:
            known = self.by_height.get(block.key)
            over = self.over_at_height(block) if htlc.gone else min(known, expiry - self._policy.min_margin_blocks)
            self.by_height.set(block.key, over)
        elif self.forget_at_height.get(block.key) < math.inf:
            self.forget_at_height.set(block.key, block.release_by_height + 1)
