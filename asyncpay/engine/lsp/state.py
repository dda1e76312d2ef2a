"""The state of the LSP's engine, and the context in which one event is handled."""

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from asyncpay.engine.context import EngineState, EventContext
from asyncpay.engine.core import Change, Drop, Put, Transition
from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.lsp.interface import Effect, Log, ResolveHtlc
from asyncpay.engine.lsp.lookups import LspRecords
from asyncpay.engine.lsp.records import Attempt, Block, Htlc, Record, Target
from asyncpay.engine.lsp.schedule import SLICE, Schedule, StuckHtlcs
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capabilities, ChannelId, HtlcKey, Link, NodeId
from asyncpay.log_events import LogEvent
from asyncpay.wire.messages import BlockReply, BlockUpdate

K = TypeVar("K")
Work: TypeAlias = Generator[None, "Context", None]
"""Work in slices: the generator is sent the context of each event in which it may do one slice."""


@dataclass
class DeliverySession:
    """What a connected client is sent, one item at a time: answers and updates first, then messages.

    next_at: no message is sent before. free_at: the same, after anything was sent; answers may be sent earlier
        (sessions.EARLY_PAUSES).
    answers: what waits, oldest first, by unblock_hash and kind; None for an update that is created when it is sent.
    delivering: the message_id of the message that is being delivered, if any.
    """

    next_at: float
    free_at: float
    answers: dict[tuple[bytes, type], BlockReply | BlockUpdate | None] = field(default_factory=dict)
    delivering: bytes | None = None


@dataclass
class OwnPayments:
    """The state of payments on behalf that is not stored. By payment hash, unless stated otherwise.

    queried_at: by unblock_hash, when the node was last asked for the terms of a block's channels.
    query_again_at: by unblock_hash, when to ask for them again, because the node did not report them.
    slot_wanted: unblock_hashes of blocks that wait because too many payments are in flight, oldest first.
    ordered: payments that this process ordered by a call that has neither returned nor lost its connection.
    unsure_until: until when an order of the payment may still reach the node, over a connection that broke or that
        belonged to an earlier process.
    repeated: those among these payments that were ordered again.
    track_at: when to ask the node again.
    force_closing: channels whose force-close was requested from the node, which has not answered yet.
    """

    queried_at: dict[bytes, float] = field(default_factory=dict)
    query_again_at: Deadlines[bytes] = field(default_factory=Deadlines)
    slot_wanted: dict[bytes, None] = field(default_factory=dict)
    ordered: set[bytes] = field(default_factory=set)
    unsure_until: dict[bytes, float] = field(default_factory=dict)
    repeated: set[bytes] = field(default_factory=set)
    track_at: Deadlines[bytes] = field(default_factory=Deadlines)
    force_closing: set[ChannelId] = field(default_factory=set)

    def forget(self, unblock_hash: bytes) -> None:
        """Forget a block that is deleted or was answered: no more queries are needed for it."""
        self.queried_at.pop(unblock_hash, None)
        self.query_again_at.discard(unblock_hash)
        self.slot_wanted.pop(unblock_hash, None)

    def decided(self, payment_hash: bytes) -> None:
        """Forget a payment that cannot change any more."""
        self.ordered.discard(payment_hash)
        self.repeated.discard(payment_hash)
        self.unsure_until.pop(payment_hash, None)
        self.track_at.discard(payment_hash)


@dataclass
class LspState(EngineState):
    """The engine's state. `records` is stored, and `schedule` is derived from it; the rest is lost with the process.

    intercepted: HTLCs for which the node awaits a resolution, and that were not resolved on this stream.
    unsent: HTLCs decided by this process, whose resolution certainly never reached the node.
    sent_once: HTLCs whose resolution was sent once, by this process; it may turn out that it never left.
    first_start: nothing was stored when this process started, and there has been no HTLC snapshot since.
    snapshot_number, snapshot_pending, snapshot_wanted: the number of the latest HTLC snapshot that was requested;
        whether it has not arrived yet; whether another is to follow it.
    changed_since_snapshot: HTLCs offered or resolved since it was requested: it may show their earlier state.
    own: payments on behalf.
    resolved_ahead: by peer, resumed HTLCs that are still on their incoming channel, but no longer on any other.
    next_message_number: the number of the next message.
    soonest_expiry: by peer, the soonest expiry of all HTLCs on its channels, in both directions, in the last snapshot.
    session_at: when to send the next item to each connected client for which there is one.
    retransmit_free_at: no courier is sent before this time, to any next hop.
    snapshot_at: when to request an HTLC snapshot, because a client has disconnected; infinity: not at all.
    snapshot_requested_at: when the last one was requested for that reason.
    reconciliation, review: work that is done in slices (reconcile.py, notifications.py); None: there is none.
    """

    records: LspRecords
    schedule: Schedule
    first_start: bool
    intercepted: set[HtlcKey] = field(default_factory=set)
    stuck: StuckHtlcs = field(default_factory=StuckHtlcs)
    unsent: set[HtlcKey] = field(default_factory=set)
    sent_once: set[HtlcKey] = field(default_factory=set)
    snapshot_number: int = 0
    snapshot_pending: bool = False
    snapshot_wanted: bool = False
    changed_since_snapshot: set[HtlcKey] = field(default_factory=set)
    own: OwnPayments = field(default_factory=OwnPayments)
    next_message_number: int = 0
    resolved_ahead: dict[NodeId, set[HtlcKey]] = field(default_factory=dict)
    soonest_expiry: dict[NodeId, int] = field(default_factory=dict)
    sessions: dict[NodeId, DeliverySession] = field(default_factory=dict)
    session_at: Deadlines[NodeId] = field(default_factory=Deadlines)
    retransmit_free_at: float = -math.inf
    snapshot_at: float = math.inf
    snapshot_requested_at: float = -math.inf
    reconciliation: Work | None = None
    review: Work | None = None

    def resolution_sent(self, key: HtlcKey) -> None:
        """Record that a resolution is being sent to the node."""
        if key in self.unsent:
            self.unsent.discard(key)
            self.sent_once.add(key)
        else:
            self.sent_once.discard(key)

    def forget_htlc(self, key: HtlcKey) -> None:
        """Forget an HTLC that is gone, or too old to matter."""
        for keys in (self.intercepted, self.unsent, self.sent_once, self.changed_since_snapshot):
            keys.discard(key)
        self.stuck.discard(key)

    def new_stream(self) -> None:
        """Reset the stream's state, with everything unsent: the node offers everything again, or nothing any more."""
        self.intercepted.clear()
        self.stuck.clear()
        self.sessions.clear()
        self.session_at.clear()
        self.reconciliation = self.review = None
        self.snapshot_at = math.inf


@dataclass
class Context(EventContext[LspState, LspPolicy, Record, Effect]):
    """The handling of one event. Changes are visible in `state` immediately; effects wait until the changes are stored.

    slice_size: the maximum number of items of one kind that are handled. backlog: more of them were due.
    former_link: the channel that the event changes or closes, in its earlier state.
    """

    capabilities: Capabilities
    slice_size: int = SLICE
    backlog: bool = False
    former_link: Link | None = None
    answers: list[ResolveHtlc] = field(default_factory=list)

    @property
    def records(self) -> LspRecords:
        """The records, including changes that are not stored yet."""
        return self.state.records

    def put(self, record: Record) -> None:
        """Store this record."""
        self._change(Put(record))

    def drop(self, record: Record) -> None:
        """Delete this record."""
        self._change(Drop(record))

    def take_back(self, unblock_hash: bytes) -> None:
        """Take a block out of the archive, if it is archived: it changes, or it must be loaded at the start."""
        archive = self.records.archive
        archive.candidates[unblock_hash] = None
        entry = archive.loaded.pop(unblock_hash, None)
        if entry is not None:
            self.changes.append(Drop(entry))
            archive.taken_back.add(unblock_hash)

    def _change(self, change: Change[Record]) -> None:
        match change.record:
            case Htlc(block=bytes() as name) | Block(unblock_hash=name) | Attempt(block=name):
                self.take_back(name)
        self.records.apply(change)
        if isinstance(change, Drop) and isinstance(change.record, Block):
            self.records.archive.candidates.pop(change.record.key, None)
        if isinstance(change, Put):
            self.state.schedule.put(change.record)
        else:
            self.state.schedule.drop(change.record)
        self.changes.append(change)

    def due(self, index: Deadlines[K], reached: float) -> list[K]:
        """Return a slice of what is due in this index."""
        due = index.due(reached, self.slice_size)
        self.backlog |= len(due) == self.slice_size
        return due

    def targets(self, peer: NodeId) -> list[Target]:
        """Return all targets by which an onion may address this peer, including those valid before this event."""
        former = () if self.former_link is None or self.former_link.peer != peer else self.former_link.names
        return list(dict.fromkeys([peer, *former, *self.node.channels.names_of(peer)]))

    def emit(self, effect: Effect) -> None:
        """Add an effect. Resolutions of HTLCs precede all other effects, back to back."""
        if isinstance(effect, ResolveHtlc):
            self.answers.append(effect)
        else:
            self.effects.append(effect)

    def transition(self) -> Transition[Record, Effect]:
        """Return what was decided: resolutions first."""
        return Transition(tuple(self.changes), (*self.answers, *self.effects))

    def log(self, what: LogEvent, block: Block | None = None, because: str = "") -> None:
        """Write a line for the operator."""
        if block is None:
            self.emit(Log(what, because=because))
        else:
            self.emit(Log(what, block.unblock_hash, block.payment_hashes, because))
