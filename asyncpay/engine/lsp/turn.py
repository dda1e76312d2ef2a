"""One turn of the engine: what it knows, and the two lists that it fills while it thinks."""

import math
from collections import deque
from dataclasses import dataclass, field

from asyncpay.engine.core import Change, Drop, Put, UnixTime
from asyncpay.engine.lsp.effects import Answer, Effect, Log
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Block, Record
from asyncpay.engine.lsp.tables import Tables
from asyncpay.engine.node_view import Channels
from asyncpay.lightning import Capabilities, ChannelId, HtlcKey, NodeId


@dataclass
class Visit:
    """A client is connected. What there is for it goes out piece by piece: updates first, then messages."""

    next_at: float
    updates: deque[bytes] = field(default_factory=deque)
    delivering: bytes | None = None


@dataclass
class OwnPayments:
    """What this process knows of payments on behalf, beside what is stored. By payment hash, unless stated otherwise.

    queried_at: by unblock_hash, when the node was last asked for the terms of a block's channels.
    query_again_at: by unblock_hash, when to ask for them again, because the node did not tell.
    ordered: payments whose order was given by this process, by a call that has neither returned nor broken.
    unsure_until: payments of which an order may still be on its way to the node, over a connection that broke or that
        belonged to an earlier process; and until when.
    repeated: those among them that were ordered again.
    track_at: when to ask the node again.
    force_closing: channels whose force-close the node was asked for and has not answered.
    """

    queried_at: dict[bytes, float] = field(default_factory=dict)
    query_again_at: dict[bytes, float] = field(default_factory=dict)
    ordered: set[bytes] = field(default_factory=set)
    unsure_until: dict[bytes, float] = field(default_factory=dict)
    repeated: set[bytes] = field(default_factory=set)
    track_at: dict[bytes, float] = field(default_factory=dict)
    force_closing: set[ChannelId] = field(default_factory=set)

    def decided(self, payment_hash: bytes) -> None:
        """Nothing can change any more about this payment."""
        self.ordered.discard(payment_hash)
        self.repeated.discard(payment_hash)
        self.unsure_until.pop(payment_hash, None)
        self.track_at.pop(payment_hash, None)


@dataclass
class State:
    """What the engine knows. `tables` is stored; the rest is what the node last said, lost with the process.

    unix: the time of this turn, and Unix time as far as the clock is to be believed.
    height: of the last block heard of, None until the node was attached for the first time.
    on_offer: HTLCs that the node waits for and that were not answered on this stream.
    untried: HTLCs decided by this process, whose answer certainly never reached the node.
    tried_once: those whose answer was given once, by this process; it may turn out that it never left.
    newborn: nothing was stored when this process began, and no census has been taken since.
    census, census_under_way, census_wanted: the number of the latest; its answer has not come; another is to follow it.
    moved: HTLCs offered or answered after the census under way was begun, which so may show them as they were.
    own: payments on behalf.
    resolved_ahead: resumed HTLCs that are still on their incoming channel, but on no other any more.
    next_message: the number that the next message gets.
    soonest_expiry: of all HTLCs on a peer's channels, both ways, by the last census.
    courier_free_at: before that no courier is sent.
    courier_served: when each client with a courier due had its turn last.
    """

    tables: Tables
    newborn: bool
    unix: UnixTime = field(default_factory=UnixTime)
    attached: bool = False
    network: str = ""
    height: int | None = None
    channels: Channels = field(default_factory=Channels)
    online: set[NodeId] = field(default_factory=set)
    on_offer: set[HtlcKey] = field(default_factory=set)
    untried: set[HtlcKey] = field(default_factory=set)
    tried_once: set[HtlcKey] = field(default_factory=set)
    census: int = 0
    census_under_way: bool = False
    census_wanted: bool = False
    moved: set[HtlcKey] = field(default_factory=set)
    own: OwnPayments = field(default_factory=OwnPayments)
    next_message: int = 0
    resolved_ahead: set[HtlcKey] = field(default_factory=set)
    soonest_expiry: dict[NodeId, int] = field(default_factory=dict)
    visits: dict[NodeId, Visit] = field(default_factory=dict)
    courier_free_at: float = -math.inf
    courier_served: dict[NodeId, float] = field(default_factory=dict)

    def tried(self, key: HtlcKey) -> None:
        """An answer is being given."""
        if key in self.untried:
            self.untried.discard(key)
            self.tried_once.add(key)
        else:
            self.tried_once.discard(key)

    def forget_htlc(self, key: HtlcKey) -> None:
        """The HTLC is gone, or too old to matter."""
        for keys in (self.on_offer, self.untried, self.tried_once, self.moved, self.resolved_ahead):
            keys.discard(key)


@dataclass
class Turn:
    """The handling of one event. Changes show in `state` at once; effects wait until they are stored."""

    state: State
    policy: LspPolicy
    capabilities: Capabilities
    changes: list[Change[Record]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    @property
    def tables(self) -> Tables:
        """What is or will be stored."""
        return self.state.tables

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self.state.unix.now

    def put(self, record: Record) -> None:
        """Store this record."""
        self._change(Put(record))

    def drop(self, record: Record) -> None:
        """Forget this record."""
        self._change(Drop(record))

    def _change(self, change: Change[Record]) -> None:
        self.tables.apply(change)
        self.changes.append(change)

    def do(self, effect: Effect) -> None:
        """Have this done. Answers go before everything else, back to back."""
        if isinstance(effect, Answer):
            self.answers.append(effect)
        else:
            self.effects.append(effect)

    def log(self, what: str, block: Block | None = None, because: str = "") -> None:
        """Leave a line for the operator."""
        if block is None:
            self.do(Log(what, because=because))
        else:
            self.do(Log(what, block.unblock_hash, block.payment_hashes, because))
