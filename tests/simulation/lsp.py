"""An LSP's component in the simulated world: the real engine and the real store beside a simulated node."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asyncpay.engine.lsp import Lsp, Policy, inbound
from asyncpay.engine.lsp import effects as do
from asyncpay.engine.lsp import events as on
from asyncpay.engine.lsp.records import Htlc, Put
from asyncpay.engine.lsp.stages import Stage
from asyncpay.lightning import HtlcKey, Invoice, NodeId, PaymentResult, PaymentStatus
from asyncpay.node_events import Attached, BlockConnected, CustomMessage, NodeEvent, OnionInTransit, OnionReceived
from asyncpay.nodes.base import Payment
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockReply, BlockStatus, BlockUpdate

from .letters import Letters
from .node import SimNode
from .process import Engine, Process
from .stores import Disk

ENGINE = "lsp"

Ring = Callable[[NodeId, str, Callable[[bool], None]], None]
"""Push to a client's phone; tells whether the push service took it."""


R = TypeVar("R")


@dataclass
class Seen:
    """What an onlooker notes, for the rules that must never be broken. It outlives the process.

    mirror: the store, from the changes that went into it. lost: where a restart found anything else.
    joined: HTLCs that were ever held for a block. heard_height: the last that the engine was told.
    stirred_at: when the component last had something to think about.
    replies: the statuses of block_replies, by client. ended_because: what the log said when a block was failed back.
    """

    mirror: dict[tuple[type, Any], Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    joined: set[HtlcKey] = field(default_factory=set)
    heard_height: int = 0
    stirred_at: float = 0
    replies: dict[NodeId, set[BlockStatus]] = field(default_factory=dict)
    ended_because: dict[bytes, str] = field(default_factory=dict)


class LspProcess(Process):
    """`asyncpay lsp`. `decode`: BOLT 11 text to invoice, as its node does it."""

    def __init__(
        self, node: SimNode, disk: Disk, policy: Policy, letters: Letters, decode: dict[str, Invoice], ring: Ring
    ) -> None:
        super().__init__(node.kernel, node.name)
        self.node, self.disk, self.policy = node, disk, policy
        self.engine: Lsp
        self.seen = Seen()
        self._letters, self._decode, self._ring_phone = letters, decode, ring

    def records(self, kind: type[R]) -> list[R]:
        """What is stored of one kind."""
        return [record for (each, _), record in self.seen.mirror.items() if each is kind]

    def stored(self, kind: type[R], key: object) -> R | None:
        """One record as it is stored."""
        return self.seen.mirror.get((kind, key))

    def _open(self) -> dict[str, Engine]:
        records = self.disk.open()
        self._compare("the store gives back", {(type(each), each.key): each for each in records})
        self.engine = Lsp(self.policy, self.node.implementation.capabilities, records)
        self.seen.stirred_at = self.kernel.now
        return {ENGINE: self.engine}

    def _commit(self, changes: dict[str, list[Any]]) -> None:
        self.disk.commit(changes[ENGINE])
        for change in changes[ENGINE]:
            record = change.record
            if isinstance(change, Put):
                self.seen.mirror[type(record), record.key] = record
            else:
                self.seen.mirror.pop((type(record), record.key), None)
            if isinstance(record, Htlc) and record.block is not None:
                self.seen.joined.add(record.key)

    def _stages(self, engine: str) -> list[str]:
        return [block.stage.value for block in self.engine.state.tables.blocks.values()]

    def _close(self) -> None:
        tables = self.engine.state.tables
        known = (tables.blocks, tables.htlcs, tables.attempts, tables.letters, tables.delivered, tables.calls)
        here = {(type(each), each.key): each for table in (*known, tables.webhooks) for each in table.values()}  # type: ignore[attr-defined]
        self._compare("the process knew", here)
        self.disk.close()
        self.node.detach()

    def _compare(self, who: str, records: dict[Any, Any]) -> None:
        for key in records.keys() | self.seen.mirror.keys():
            here, stored = records.get(key), self.seen.mirror.get(key)
            if here != stored:
                self.seen.lost.append(f"{who} {here or f'no {key[0].__name__}'}, and stored was {stored or 'none'}")

    def _attach(self) -> bool:
        self.seen.stirred_at = self.kernel.now
        return self.node.attach(self)

    def _tick(self, engine: str) -> on.Tick:
        return on.Tick()

    def node_died(self) -> None:
        """The stream of events has ended."""
        if self.running:
            self.enqueue(ENGINE, on.Detached())
            self.look_for_node()

    # --- in ---

    def hear(self, event: NodeEvent) -> None:
        """As in asyncpay.service.lsp: onion messages are read first."""
        self.seen.stirred_at = self.kernel.now
        if isinstance(event, (Attached, BlockConnected)):
            self.seen.heard_height = event.height
        match event:
            case OnionReceived():
                self._read(event)
            case CustomMessage():
                pass
            case _:
                self._report(event)

    def _read(self, onion: OnionReceived) -> None:
        try:
            asked = inbound.read(onion, self.node.id)
        except WireError as error:
            self.kernel.tell(self.name, "drops a message: %s", error)
            return
        if isinstance(asked, on.BlockRequested) and asked.request.invoice is not None:
            asked = on.BlockRequested(asked.client, asked.request, self._decode.get(asked.request.invoice))
        if asked is not None:
            self._report(asked)

    def _report(self, event: Any) -> None:
        self.enqueue(ENGINE, event)

    # --- out ---

    def _perform(self, engine: str, effect: do.Effect) -> None:
        match effect:
            case do.Answer():
                self.kernel.tell(self.name, "answers HTLC %s: %s", effect.key, effect.verdict.value)
                if not self.node.answer(effect.key, effect.verdict, effect.preimage):
                    self._report(on.AnswerUndelivered(effect.key))
            case do.Log():
                self.kernel.tell(self.name, "%s (%s)", effect.what, effect.because)
                if effect.what == Stage.FAILED_BACK.value and effect.block is not None:
                    self.seen.ended_because[effect.block] = effect.because
            case do.SendToClient():
                if isinstance(effect.message, BlockReply):
                    self.seen.replies.setdefault(effect.client, set()).add(effect.message.status)
                if self._letters.send_to_peer(self.node, effect.client, effect.message):
                    if isinstance(effect.message, BlockUpdate):
                        self._report(on.UpdateSent(effect.message.unblock_hash, effect.message.state))
            case do.SendAlong():
                self._letters.send_along(self.node, effect.path, effect.message)
            case do.Deliver():
                self._deliver(effect)
            case do.Relay():
                self._relay(effect)
            case do.Notify():
                self._notify(effect)
            case do.PayOnBehalf():
                self._pay(effect)
            case do.TrackPayment(payment_hash):
                self._track(payment_hash)
            case do.TakeCensus(number):
                if self.node.running:
                    self._report(on.Census(number, self.node.pending_htlcs()))

    def _deliver(self, effect: do.Deliver) -> None:
        there = self.node.running and self.node.route_onion(self.node.id, effect.message) is None
        delivery = on.Delivery.DONE if there else on.Delivery.NOT_CONNECTED
        self._report(on.DeliveryReported(effect.client, effect.letter_id, delivery))

    def _relay(self, effect: do.Relay) -> None:
        if not self.node.running:
            return
        absent = self.node.route_onion(self.node.id, effect.message)
        if absent is not None:
            self._report(
                OnionInTransit(source=effect.client, message=effect.message, next_node_id=absent, undelivered=True)
            )

    def _notify(self, effect: do.Notify) -> None:
        life = self.life

        def report(delivered: bool) -> None:
            if not life.over:
                self._report(on.NotificationReported(effect.client, effect.method, delivered))

        self._ring_phone(effect.client, effect.method.value, report)

    def _pay(self, effect: do.PayOnBehalf) -> None:
        self.kernel.tell(self.name, "pays on behalf, for at most %d msat of fees", effect.fee_limit_msat)
        if not self.node.running:
            self._report(on.PaymentReported(effect.payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT)))
            return
        order = Payment(
            invoice=self._decode[effect.invoice],
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            cltv_limit_blocks=effect.cltv_limit_blocks,
            timeout_seconds=effect.timeout_seconds,
        )
        self.node.payments.pay(order, self.life, lambda result: self._paid(effect.payment_hash, result))

    def _track(self, payment_hash: bytes) -> None:
        if not self.node.running:
            self._report(on.PaymentReported(payment_hash, PaymentResult(status=PaymentStatus.IN_FLIGHT)))
            return
        self.node.payments.track(payment_hash, self.life, lambda result: self._paid(payment_hash, result))

    def _paid(self, payment_hash: bytes, result: PaymentResult) -> None:
        self.kernel.tell(self.name, "its own payment: %s", result.status.value)
        self._report(on.PaymentReported(payment_hash, result))
