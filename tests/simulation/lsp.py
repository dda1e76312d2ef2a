"""An LSP's component in a simulation: the real engine and the real store with a simulated node."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp import requests
from asyncpay.engine.lsp.archive import Found, Lookup
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Archived, Attempt, Htlc
from asyncpay.engine.lsp.sessions import EARLY_PAUSES
from asyncpay.engine.lsp.state import LspState
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import HtlcKey, Invoice, NodeId, PaymentResult, PaymentStatus, Resolution
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    CustomMessage,
    NodeEvent,
    OnionInTransit,
    OnionReceived,
    PeerConnected,
)
from asyncpay.nodes.base import Payment
from asyncpay.store import LspStore
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockReply, BlockStatus, BlockUpdate, ReleaseStatus
from tests.support.full_scan import differences

from .channels import terms_view
from .node import SimNode
from .onions import Messenger
from .process import Cell, Disk, Process

ENGINE = "lsp"
NOTHING = "nothing yet"

Push = Callable[[NodeId, str, Callable[[bool], None]], None]
"""Push to a client's phone; reports whether the push service accepted it."""
Notified = Callable[[NodeId, str, float], None]
"""Called when a push to a client's phone is decided, with the time at which this process last saw it connected."""


SLICE_SIZE = 2
"""Small slices, so that lists, which are short in a simulation, are still processed in several slices."""


class LspProcess(Process):
    """`asyncpay lsp`. `decode`: invoices by BOLT 11 text, like its node.

    For checks: joined: HTLCs that were ever held for a block. heard_height: the last height that the engine received.
    replies: the statuses of block_replies, by client. ended_because: the logged reason when a block was failed back.
    attached_at: the last time its node answered. connected_at: when its engine last saw that a peer is connected.
    on_answer: called with every answer to an HTLC. on_notify: with every decision to notify a client.
    promised: blocks that a release_reply reported as released or about to be.
    couriers_to: by next hop, when the last couriers were sent there, three at most, since the process runs.
    next_hops: what the engine was told of its blocks' couriers since then.
    sent_to: by client, when it was last sent an answer or a stored message; as many as may never leave at once.
    """

    def __init__(
        self,
        node: SimNode,
        disk: Disk,
        policy: LspPolicy,
        messenger: Messenger,
        decode: dict[str, Invoice],
        push: Push,
    ) -> None:
        super().__init__(node.name, node, disk, LspStore)
        self.policy = policy
        self.joined: set[HtlcKey] = set()
        self.heard_height = 0
        self.replies: dict[NodeId, set[BlockStatus]] = {}
        self.ended_because: dict[bytes, str] = {}
        self.promised: set[bytes] = set()
        self.attached_at = 0.0
        self.couriers_to: defaultdict[NodeId, deque[float]] = defaultdict(partial(deque, maxlen=3))
        self.next_hops: dict[bytes, NodeId] = {}
        self.sent_to: defaultdict[NodeId, deque[float]] = defaultdict(partial(deque, maxlen=EARLY_PAUSES + 2))
        self.connected_at: dict[NodeId, float] = {}
        self.on_answer: Callable[[LspProcess, HtlcKey, Resolution], None] = lambda *_: None
        self.on_notify: Notified = lambda *_: None
        self._engine: Lsp
        self._messenger, self._decode, self._push = messenger, decode, push

    @property
    def engine_state(self) -> LspState:
        """The engine's state in memory."""
        return self._engine.state

    def _begin(self, records: list[Any]) -> None:
        store = self._disk.store
        assert isinstance(store, LspStore)
        self._store = store
        self._engine = Lsp(self.policy, self.node.implementation.capabilities, records, store.archived())
        self._engine.slice_size = SLICE_SIZE
        self.couriers_to.clear()
        self.next_hops.clear()
        self.sent_to.clear()

    def _known(self) -> Iterable[Any]:
        records = self._engine.state.records
        first: list[Any] = [records.blocks, records.htlcs, records.attempts, records.messages]
        for table in (*first, records.delivered, records.push_attempts, records.webhooks):
            yield from table.values()

    def _cells(self, event: Any) -> Iterable[Cell]:
        totals = self._engine.state.records.totals
        states = [state.value for state in totals.blocks.elements()]
        return [(ENGINE, state, type(event).__name__) for state in states or [NOTHING]]

    def _archived(self) -> Iterator[Any]:
        store = self._disk.store
        assert isinstance(store, LspStore)
        for each in store.latest_archived(most=-1):
            yield each.entry
            yield from each.records

    def _recall(self, wanted: Lookup) -> Found:
        return self._store.recall(wanted)

    def index_differences(self) -> Iterator[str]:
        """Yield the differences between the engine's indexes and its records."""
        if self.running:
            yield from differences(self._engine.state, self.policy, self.records(Archived), self.records(Attempt))

    def _committed(self, record: Any) -> None:
        if isinstance(record, Htlc) and record.block is not None:
            self.joined.add(record.key)

    # --- in ---

    def _take(self, event: NodeEvent) -> None:
        """Handle an event like asyncpay.service.lsp.session: onion messages are read first."""
        if isinstance(event, Attached):
            self.attached_at = self.kernel.now
        if isinstance(event, (Attached, BlockConnected)):
            self.heard_height = event.height
        match event:
            case OnionReceived():
                self._read(event)
            case CustomMessage():
                pass
            case _:
                self.enqueue(event)

    def _seen(self, events: Iterable[Any]) -> Iterator[Any]:
        for event in super()._seen(events):
            online = event.online if isinstance(event, Attached) else ()
            for peer in (event.peer,) if isinstance(event, PeerConnected) else online:
                self.connected_at[peer] = self.kernel.now
            yield event

    def _read(self, onion: OnionReceived) -> None:
        try:
            asked = requests.parse_onion(onion, self.node.id)
        except WireError as error:
            self.kernel.log(self.name, "drops a message: %s", error)
            return
        if isinstance(asked, lsp_io.BlockRequested) and asked.request.invoice is not None:
            asked = lsp_io.BlockRequested(asked.client, asked.request, self._decode.get(asked.request.invoice))
        if asked is not None:
            self.enqueue(asked)

    # --- out ---

    def _do(self, effect: lsp_io.Effect) -> None:
        if isinstance(effect, lsp_io.Notify):
            connected_at = self.connected_at.get(effect.client, -math.inf)
            self.on_notify(effect.client, effect.method.value, connected_at)
        elif isinstance(effect, lsp_io.SendToClient | lsp_io.Deliver):
            self._count(effect.client)
        super()._do(effect)

    def _count(self, client: NodeId) -> None:
        """Count a message to a client. The count restarts when the client connects."""
        connected_at = self.connected_at.get(client, self.kernel.now)
        if connected_at == self.kernel.now or client not in self._engine.state.sessions:
            return
        sent = self.sent_to[client]
        while sent and sent[0] <= connected_at:
            sent.popleft()
        sent.append(self.kernel.now)
        self.kernel.changed()

    def _perform(self, effect: lsp_io.Effect) -> None:  # noqa: C901 - one case for each effect
        match effect:
            case lsp_io.ResolveHtlc():
                self.kernel.log(self.name, "answers HTLC %s: %s", effect.key, effect.resolution.value)
                self.on_answer(self, effect.key, effect.resolution)
                if not self.node.answer(effect.key, effect.resolution, effect.preimage):
                    self.enqueue(lsp_io.ResolutionUndelivered(effect.key))
            case lsp_io.Log():
                self.kernel.log(self.name, "%s (%s)", effect.what, effect.because)
                if effect.what == State.FAILED_BACK.value and effect.block is not None:
                    self.ended_because[effect.block] = effect.because
            case lsp_io.SendToClient():
                if isinstance(effect.message, BlockReply):
                    self.kernel.changed()
                    self.replies.setdefault(effect.client, set()).add(effect.message.status)
                sent = self._messenger.send_to_peer(self.node, effect.client, effect.message)
                if sent and isinstance(effect.message, BlockUpdate):
                    self.enqueue(lsp_io.UpdateSent(effect.message.unblock_hash, effect.message.state))
            case lsp_io.SendAlong():
                if effect.message.status is ReleaseStatus.RELEASED:
                    self.promised.add(effect.message.unblock_hash)
                    self.kernel.changed()
                self._messenger.send_along(self.node, effect.path, effect.message)
            case lsp_io.Deliver():
                self._deliver(effect)
            case lsp_io.Relay():
                self._relay(effect)
            case lsp_io.Notify():
                self._notify(effect)
            case lsp_io.QueryTerms():
                self._tell_terms(effect)
            case lsp_io.PayOnBehalf():
                self._pay(effect)
            case lsp_io.TrackPayment(payment_hash):
                self._track(payment_hash)
            case lsp_io.ForceClose(channel_id):
                if self.node.running:
                    self.node.force_close(channel_id)
                self.enqueue(lsp_io.ForceCloseReported(channel_id))
            case lsp_io.RequestHtlcSnapshot(number):
                if self.node.running:
                    self.enqueue(lsp_io.HtlcSnapshot(number, self.node.pending_htlcs()))

    def _deliver(self, effect: lsp_io.Deliver) -> None:
        there = self.node.running and self.node.relay.handle(self.node.id, effect.message) is None
        delivery = lsp_io.Delivery.DONE if there else lsp_io.Delivery.NOT_CONNECTED
        self.enqueue(lsp_io.DeliveryReported(effect.client, effect.message_id, delivery))

    def _relay(self, effect: lsp_io.Relay) -> None:
        if not self.node.running:
            return
        next_hop = self.node.relay.next_hop(effect.message)
        absent = self.node.relay.handle(self.node.id, effect.message)
        if next_hop is not None:
            self.kernel.changed()
            self.couriers_to[next_hop].append(self.kernel.now)
            if absent or self.node.implementation.capabilities.tells_next_hop:
                self.next_hops[effect.block] = next_hop
                self.enqueue(lsp_io.CourierSent(effect.block, next_hop))
        if absent is not None:
            self.enqueue(
                OnionInTransit(source=effect.client, message=effect.message, next_node_id=absent, undelivered=True)
            )

    def _notify(self, effect: lsp_io.Notify) -> None:
        lifetime = self.lifetime

        def report(delivered: bool) -> None:
            if not lifetime.over:
                self.enqueue(lsp_io.NotificationReported(effect.client, effect.method, delivered))

        self._push(effect.client, effect.method.value, report)

    def _tell_terms(self, effect: lsp_io.QueryTerms) -> None:
        channels = terms_view(self.node, effect.peers) if self.node.running else None
        known = self.node.payments.look_up(effect.payment_hash).status
        self.enqueue(lsp_io.TermsReported(effect.block, channels, known))

    def _pay(self, effect: lsp_io.PayOnBehalf) -> None:
        self.kernel.log(self.name, "pays on behalf, for at most %d msat of fees", effect.fee_limit_msat)
        if not self.node.running:
            lost = PaymentResult(status=PaymentStatus.IN_FLIGHT)
            self.enqueue(lsp_io.PaymentReported(effect.payment_hash, lost, of_order=True))
            return
        order = Payment(
            invoice=self._decode[effect.invoice],
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            latest_expiry=effect.latest_expiry,
            incoming_msat=effect.incoming_msat,
            incoming_expiry=effect.incoming_expiry,
            timeout_seconds=effect.timeout_seconds,
        )
        self.node.payments.pay(
            order, self.lifetime, lambda result: self._paid(effect.payment_hash, result, of_order=True)
        )

    def _track(self, payment_hash: bytes) -> None:
        if not self.node.running:
            self.enqueue(lsp_io.PaymentReported(payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT)))
            return
        self.node.payments.track(payment_hash, self.lifetime, lambda result: self._paid(payment_hash, result))

    def _paid(self, payment_hash: bytes, result: PaymentResult, *, of_order: bool = False) -> None:
        self.kernel.log(self.name, "its own payment: %s", result.status.value)
        self.enqueue(lsp_io.PaymentReported(payment_hash, result, of_order))
