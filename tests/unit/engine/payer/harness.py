"""A world for the payer's engine: a node that pays a hash once, an LSP that holds, losses and crashes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from asyncpay.engine.core import Detached, Put
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import (
    CancelOrdered,
    Effect,
    LookUp,
    Ordered,
    Pay,
    PayerEvent,
    PaymentReported,
    PaymentSeen,
    PendingSent,
    RefusalSeen,
    ReleaseSeen,
    Replied,
    SendAlong,
    SendPending,
    SendToLsp,
    Track,
    Updated,
)
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import State
from asyncpay.engine.policy import PayerPolicy
from asyncpay.lightning import ChannelId, Link, PaymentResult
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    LinkChanged,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.wire.messages import (
    BlockReply,
    BlockRequest,
    BlockState,
    BlockStatus,
    BlockUpdate,
    CancelRequest,
    PaymentRelease,
)
from tests.support.engine_harness import EngineHarness

from .factories import (
    AMOUNT,
    BLOCK,
    CHANNEL,
    FAILED,
    HASH,
    HEIGHT,
    IN_FLIGHT,
    LSP,
    PATH,
    PAYER,
    PID,
    PREIMAGE,
    START,
    SUCCEEDED,
    UNKNOWN,
    NodePayment,
    order,
)


class PayerHarness(EngineHarness[PayerEvent, OutgoingPayment, Effect]):
    """One payer behind one LSP."""

    engine: Payer

    def __init__(
        self, policy: PayerPolicy | None = None, *, online: bool = True, parts: Sequence[int] = (AMOUNT,)
    ) -> None:
        super().__init__(START)
        self.policy = PayerPolicy() if policy is None else policy
        self.height = HEIGHT
        self.online = online
        self.parts = list(parts)
        # the LSP
        self.status = BlockStatus.ACCEPTED
        self.reason: str | None = None
        self.blackhole_to_lsp = False  # what is sent to it is lost
        self.blackhole_from_lsp = False  # what it sends is lost
        self.block_state: BlockState | None = None
        self.known = False  # it has accepted the block
        self.over = False  # ... and ended it
        # the node
        self.node: dict[bytes, NodePayment] = {}
        self.begun: list[bytes] = []
        self.attached = False
        self.pending_left = 0
        self._awaited: set[bytes] = set()
        self.start()

    # --- the shell ---

    def start(self) -> None:
        """The wallet's process starts and attaches to its node."""
        self._queue.clear()
        self._awaited.clear()
        self.engine = Payer(self.policy, self.stored.values())
        self.attach()

    def attach(self) -> None:
        self.attached = True
        self.feed(
            Attached(
                node_id=PAYER,
                network="regtest",
                height=self.height,
                links=(self.link(),),
                online=frozenset({LSP} if self.online else ()),
            )
        )

    def detach(self) -> None:
        """The node goes away: what it was asked is not answered, as the performer reports."""
        self.attached = False
        lost = list(self._awaited)
        self._awaited.clear()
        self.feed(Detached())
        for payment_hash in lost:
            self.feed(PaymentReported(payment_hash, PaymentResult(status=IN_FLIGHT)))

    def store(self, change: Any) -> None:
        assert isinstance(change, Put), "a payment is never forgotten"
        super().store(change)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case SendToLsp(lsp, message):
                assert lsp == LSP
                if self.online and self.attached and not self.blackhole_to_lsp:
                    self._lsp_gets(message)
            case SendPending(payment_hash):
                if self.online and self.attached:
                    self.pending_left += 1
                    self._queue.append(PendingSent(payment_hash))
            case Pay(payment_hash=payment_hash):
                if self.attached:
                    self._pay(effect)
                self._await(payment_hash)
            case Track(payment_hash):
                self._await(payment_hash)
            case LookUp(payment_hash):
                if self.attached:
                    self._queue.append(PaymentSeen(payment_hash, self._known(payment_hash).result()))

    # --- the node ---

    def _known(self, payment_hash: bytes) -> NodePayment:
        return self.node.get(payment_hash, NodePayment(UNKNOWN))

    def _await(self, payment_hash: bytes) -> None:
        if not self.attached:
            self._queue.append(PaymentReported(payment_hash, PaymentResult(status=IN_FLIGHT)))
        elif self._known(payment_hash).status is IN_FLIGHT:
            self._awaited.add(payment_hash)
        else:
            self._queue.append(PaymentReported(payment_hash, self._known(payment_hash).result()))

    def _pay(self, effect: Pay) -> None:
        """A hash is paid once."""
        if effect.payment_hash in self.node:
            return
        self.begun.append(effect.payment_hash)
        self.node[effect.payment_hash] = NodePayment()
        if not self.online:
            self.node_fails("no route", effect.payment_hash)
            return
        self.node[effect.payment_hash].parts = list(self.parts)
        self._lsp_gets_parts(effect.payment_hash)

    def _decide(self, payment_hash: bytes) -> None:
        if payment_hash in self._awaited and self.attached:
            self._awaited.discard(payment_hash)
            self._queue.append(PaymentReported(payment_hash, self.node[payment_hash].result()))

    def node_fails(self, failure: str, payment_hash: bytes = HASH) -> None:
        """The node has nothing in flight any more."""
        self.node[payment_hash] = NodePayment(FAILED, failure=failure)
        self._decide(payment_hash)

    def node_succeeds(self, preimage: bytes = PREIMAGE, payment_hash: bytes = HASH) -> None:
        self.node[payment_hash] = NodePayment(SUCCEEDED, preimage=preimage)
        self._decide(payment_hash)

    def link(self) -> Link:
        return Link(channel_id=ChannelId.from_name(CHANNEL), short_channel_id=CHANNEL, peer=LSP, usable=self.online)

    # --- the LSP ---

    def _say(self, event: PayerEvent) -> None:
        if self.online and self.attached and not self.blackhole_from_lsp:
            self._queue.append(event)

    def _lsp_gets(self, message: BlockRequest | CancelRequest | PaymentRelease) -> None:
        match message:
            case BlockRequest(unblock_hash=name):
                if self.status is BlockStatus.ACCEPTED:
                    self.known = True
                self._say(Replied(BlockReply(unblock_hash=name, status=self.status, reason=self.reason)))
                self.lsp_tells()
            case CancelRequest(unblock_hash=name):
                if not self.known:
                    nothing = BlockUpdate(unblock_hash=name, state=BlockState.FAILED_BACK, parts=0)
                    self._say(Updated(nothing))
                elif self.block_state in (None, BlockState.HELD) and not self.over:
                    self.lsp_returns()
                else:
                    self.lsp_tells()
            case PaymentRelease():
                self.lsp_releases()

    def _lsp_gets_parts(self, payment_hash: bytes) -> None:
        if not self.known or self.over:
            self.node_fails("temporary channel failure", payment_hash)
        elif sum(self.parts) >= AMOUNT:
            self.block_state = BlockState.HELD
            self.lsp_tells()

    def lsp_tells(self, state: BlockState | None = None, parts: int | None = None) -> None:
        """The LSP says how the block stands, if there is anything to say."""
        state = self.block_state if state is None else state
        if state is not None:
            told = BlockUpdate(unblock_hash=BLOCK, state=state, parts=len(self.parts) if parts is None else parts)
            self._say(Updated(told))

    def lsp_returns(self) -> None:
        """All parts go back, at once and together."""
        self.block_state, self.over = BlockState.FAILED_BACK, True
        self.lsp_tells()
        if HASH in self.node and self.node[HASH].status is IN_FLIGHT:
            self.node_fails("temporary channel failure")

    def lsp_releases(self, *, taken: bool = True) -> None:
        """The pid has come by; the payee takes the parts, or fails them."""
        if self.block_state is BlockState.HELD:
            self.block_state, self.over = BlockState.RELEASED, True
            self.lsp_tells()
            if taken:
                self.block_state = BlockState.SETTLED
                self.lsp_tells()
                self.node_succeeds()

    # --- what happens ---

    def connect(self) -> None:
        self.online = True
        self._tell(PeerConnected(LSP), LinkChanged(self.link()))

    def disconnect(self) -> None:
        self.online = False
        self._tell(PeerDisconnected(LSP), LinkChanged(self.link()))

    def _tell(self, *events: PayerEvent) -> None:
        if self.attached:
            self._queue.extend(events)
            self.run()

    def sleep(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        super().sleep(seconds, self.lsp_minds_deadlines)

    def mine(self, blocks: int = 1) -> None:
        self.height += blocks
        self._tell(BlockConnected(self.height))
        self.lsp_minds_deadlines()

    def lsp_minds_deadlines(self) -> None:
        payment = self.stored.get(HASH)
        if payment is None or not self.known or self.over:
            return
        if self.now >= payment.hold_until + 1 or self.height > payment.release_by_height:
            self.lsp_returns()
            self.run()

    def order(self, **changes: Any) -> list[Any]:
        return self.feed(Ordered(order(**changes)))

    def cancel(self) -> list[Any]:
        return self.feed(CancelOrdered(HASH))

    def release_seen(self, pid: bytes = PID) -> list[Any]:
        return self.feed(ReleaseSeen(pid, PATH))

    def refusal_seen(self, reason: str | None = "not mine") -> list[Any]:
        return self.feed(RefusalSeen(PID, reason))

    def reply(self, status: BlockStatus, reason: str | None = None) -> list[Any]:
        return self.feed(Replied(BlockReply(unblock_hash=BLOCK, status=status, reason=reason)))

    def lsp_accepts(self) -> list[Any]:
        """The LSP has got the request before, and its answer comes."""
        self.known = True
        return self.reply(BlockStatus.ACCEPTED)

    def update(self, state: BlockState, parts: int = 1) -> list[Any]:
        return self.feed(Updated(BlockUpdate(unblock_hash=BLOCK, state=state, parts=parts)))

    # --- what is seen ---

    @property
    def payment(self) -> OutgoingPayment:
        return self.stored[HASH]

    @property
    def state(self) -> State:
        return self.payment.state

    def sent(self, kind: type) -> list[Any]:
        """Messages of this kind that were sent to the LSP, or along a path."""
        messages = [each.message for each in self.effects if isinstance(each, (SendToLsp, SendAlong))]
        return [each for each in messages if isinstance(each, kind)]

    def __repr__(self) -> str:
        return (
            f"PayerHarness({replace(self.payment, request=b'', cancel=b'')})"
            if HASH in self.stored
            else "PayerHarness()"
        )


def in_state(state: State) -> PayerHarness:
    """A payment that has come this far."""
    harness = PayerHarness(online=state not in (State.REQUESTED, State.BLOCKED))
    harness.blackhole_from_lsp = state in (State.PAYING, State.HELD)
    harness.order()
    match state:
        case State.BLOCKED | State.PAYING:
            harness.lsp_accepts()
        case State.HELD:
            harness.lsp_accepts()
            harness.disconnect()
            harness.update(BlockState.HELD)
        case State.SETTLED:
            harness.lsp_releases()
            harness.run()
        case State.FAILED:
            harness.lsp_returns()
            harness.run()
    assert harness.state is state
    return harness
