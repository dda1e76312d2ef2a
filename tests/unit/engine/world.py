"""A world for the LSP engine: a node that obeys LND's or CLN's rules, phones, money, and crashes.

The shell around the engine is played here as `asyncpay.engine.lsp.engine` demands it: store first, then act.
`crash_at` stops it between any two of its actions, after which it starts again from what was stored.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from asyncpay.engine.changes import Put, Step
from asyncpay.engine.events import Detached, Tick
from asyncpay.engine.lsp.effects import (
    Answer,
    Deliver,
    Effect,
    Notify,
    PayOnBehalf,
    Relay,
    SendToClient,
    TakeCensus,
    TrackPayment,
)
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.events import (
    BlockRequested,
    CancelRequested,
    Census,
    Delivery,
    DeliveryReported,
    LspEvent,
    NotificationReported,
    PaymentReported,
    RefusalSeen,
    ReleaseSeen,
    UpdateSent,
    WebhookSet,
)
from asyncpay.engine.lsp.policy import Policy
from asyncpay.engine.lsp.records import Block, Delivered, Letter, Record
from asyncpay.engine.lsp.stages import Stage
from asyncpay.lightning import (
    Capabilities,
    Capability,
    HeldHtlc,
    HtlcKey,
    Invoice,
    Link,
    NodeId,
    PaymentResult,
    PaymentStatus,
    PendingHtlc,
    ShortChannelId,
    Verdict,
)
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.wire.messages import BlockRequest, BlockState, BlockUpdate, CancelRequest, Courier, unblock_hash


def node_id(name: str) -> NodeId:
    """A point of the curve for each name, the same every time."""
    from coincurve import PrivateKey

    return PrivateKey(sha256(name.encode()).digest()).public_key.format()


A, B, ROUTER, STRANGER = (node_id(name) for name in ("A", "B", "router", "stranger"))
CHANNEL_A, CHANNEL_A2, CHANNEL_B, CHANNEL_ROUTER = (
    ShortChannelId.parse(name) for name in ("100x1x0", "100x2x0", "100x3x0", "100x4x0")
)
PID = b"p" * 32
PREIMAGE = b"s" * 32
HASH = sha256(PREIMAGE).digest()
START = 1_000_000.0
HEIGHT = 500
FINAL_EXPIRY = HEIGHT + 600


def lnd() -> Capabilities:
    return Capabilities(
        transit_release=Capability(True, "SubscribeOnionMessages shows what is forwarded"),
        forwards_with_payer_offline=Capability(False, "a RESUME without the incoming link fails"),
        reoffers_without_payer=Capability(False, "replayed at channel_reestablish"),
        pays_on_behalf=Capability(True, "tried"),
        cutoff_blocks=19,
    )


def cln() -> Capabilities:
    return Capabilities(
        transit_release=Capability(False, "forwarded messages are invisible"),
        forwards_with_payer_offline=Capability(True, "tried"),
        reoffers_without_payer=Capability(True, "htlc_accepted is called again at start"),
        pays_on_behalf=Capability(False, "not needed"),
        cutoff_blocks=None,
    )


@dataclass
class NodeHtlc:
    """An HTLC on the LSP's incoming channel, as its node sees it."""

    htlc: HeldHtlc
    in_memory: bool = True  # in LND's held set, or with CLN's plugin
    forwarded: bool = False
    fate: str = "held"  # held, forwarded, failed, settled; the latter two are on their way to the payer
    answers: list[Verdict] = field(default_factory=list)


class CrashError(Exception):
    """The LSP's process is killed here."""


class World:
    """One LSP between A, B and a router. A and B are phones with a webhook."""

    def __init__(
        self,
        capabilities: Capabilities | None = None,
        policy: Policy | None = None,
        *,
        clients: Iterable[NodeId] = (A, B),
    ) -> None:
        self.capabilities = lnd() if capabilities is None else capabilities
        self.policy = Policy() if policy is None else policy
        self.now, self.height = START, HEIGHT
        self.links = {
            link.short_channel_id: link
            for link in (
                Link(short_channel_id=CHANNEL_A, peer=A, usable=True),
                Link(short_channel_id=CHANNEL_A2, peer=A, usable=True),
                Link(short_channel_id=CHANNEL_B, peer=B, usable=True),
                Link(short_channel_id=CHANNEL_ROUTER, peer=ROUTER, usable=True),
            )
        }
        self.online = {A, B, ROUTER}
        self.htlcs: dict[HtlcKey, NodeHtlc] = {}
        self.paid: dict[bytes, PaymentResult] = {}
        self.pay_orders: list[PayOnBehalf] = []
        self.stored: dict[tuple[type, Any], Record] = {}
        self.effects: list[Any] = []
        self.pushes_work = True
        self.deliveries_work = True
        self.deliveries_hang = False
        self.losses: list[str] = []
        self.actions = 0
        self.crash_at: int | None = None
        self.on_crash: Callable[[], None] = lambda: None
        self.attached = False
        self._queue: deque[LspEvent] = deque()
        self._awaited: set[bytes] = set()
        self._own_expiry: dict[bytes, int] = {}
        self._next_id = 0
        self.start()
        for client in clients:
            self.feed(WebhookSet(client, "phone", "https://push.example/x"))
        self.effects.clear()

    # --- the shell ---

    def start(self) -> None:
        """The LSP's process starts, and attaches to the node if that runs."""
        self._queue.clear()
        self._awaited.clear()
        self.lsp = Lsp(self.policy, self.capabilities, sorted(self.stored.values(), key=_in_order))
        self.attach()

    def attach(self) -> None:
        self.attached = True
        self._queue.append(
            Attached(
                node_id=node_id("LSP"),
                network="regtest",
                height=self.height,
                links=tuple(self.links.values()),
                online=frozenset(self.online),
            )
        )
        for each in self.htlcs.values():
            if each.in_memory and each.fate == "held":
                self._queue.append(HtlcOffered(each.htlc))
        self.run()

    def restart(self) -> None:
        """Kill the LSP's process and start it again."""
        self.start()

    def feed(self, event: LspEvent) -> list[Any]:
        """Give the engine an event and do all that follows; the effects in order."""
        before = len(self.effects)
        self._queue.append(event)
        self.run()
        return self.effects[before:]

    def run(self) -> None:
        while True:
            try:
                while self._queue:
                    self._perform(self.lsp.handle(self.now, self._queue.popleft()))
                return
            except CrashError:
                self.crash_at = None
                self.attached = False
                self.on_crash()
                self.start()

    def _perform(self, step: Step[Record, Effect]) -> None:
        self._act()
        assert self.lsp.next_deadline > self.now, "the engine would be woken again and again"
        for change in step.changes:
            key = type(change.record), change.record.key
            if isinstance(change, Put):
                self.stored[key] = change.record
            else:
                self.stored.pop(key, None)
        for effect in step.effects:
            self._act()
            self.effects.append(effect)
            self._carry_out(effect)

    def _act(self) -> None:
        self.actions += 1
        if self.actions == self.crash_at:
            raise CrashError

    def _carry_out(self, effect: Any) -> None:
        match effect:
            case Answer():
                self._answer(effect)
            case TakeCensus(number):
                self._queue.append(Census(number, tuple(self._pending())))
            case PayOnBehalf(payment_hash=payment_hash):
                self.pay_orders.append(effect)
                if payment_hash not in self.paid:
                    self._own_expiry[payment_hash] = self.height + effect.cltv_limit_blocks
                    self.paid[payment_hash] = PaymentResult(status=PaymentStatus.IN_FLIGHT)
                self._await(payment_hash)
            case TrackPayment(payment_hash):
                self._await(payment_hash)
            case Deliver(client, letter_id, _):
                if self.deliveries_hang:
                    return
                works = client in self.online and self.deliveries_work
                delivery = Delivery.DONE if works else Delivery.NOT_CONNECTED
                self._queue.append(DeliveryReported(client, letter_id, delivery))
            case SendToClient(client, BlockUpdate() as update) if client in self.online:
                self._queue.append(UpdateSent(update.unblock_hash, update.state))
            case Notify(client, method):
                self._queue.append(NotificationReported(client, method, self.pushes_work))
            case Relay() | _:
                pass

    def _await(self, payment_hash: bytes) -> None:
        """The shell has asked about a payment: it hears once it is decided, or at once if there is none."""
        result = self.paid.get(payment_hash, PaymentResult(status=PaymentStatus.UNKNOWN))
        if result.status is PaymentStatus.IN_FLIGHT:
            self._awaited.add(payment_hash)
        else:
            self._queue.append(PaymentReported(payment_hash, result))

    # --- time ---

    def sleep(self, seconds: float) -> None:
        """Time passes, and the engine is woken when it asked for it."""
        end = self.now + seconds
        while self.lsp.next_deadline <= end:
            self.now = max(self.now, self.lsp.next_deadline)
            self.feed(Tick())
        self.now = end
        self.feed(Tick())

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.height += 1
            if self.capabilities.cutoff_blocks is not None:
                self._cut_off(self.capabilities.cutoff_blocks)
            self._tell(BlockConnected(self.height))
            for payment_hash, expiry in self._own_expiry.items():
                if self.height > expiry and self.paid[payment_hash].status is PaymentStatus.IN_FLIGHT:
                    self.finish_own_payment(preimage=None, payment_hash=payment_hash)

    def mine_to(self, height: int) -> None:
        self.mine(height - self.height)

    def _cut_off(self, blocks: int) -> None:
        for each in self.htlcs.values():
            if each.fate == "held" and each.htlc.incoming_expiry - self.height <= blocks:
                each.fate = "failed"
                if self.attached and each.in_memory:
                    self.losses.append(f"the node cut off {each.htlc.key}")

    # --- the node ---

    def _answer(self, answer: Answer) -> None:
        each = self.htlcs[answer.key]
        each.answers.append(answer.verdict)
        if answer.verdict is Verdict.RESUME:
            if each.fate == "held":
                self._forward(each)
            return
        if each.forwarded:
            self.losses.append(f"{answer.verdict} of {answer.key}, which was forwarded")
        if answer.verdict is Verdict.SETTLE:
            assert answer.preimage is not None
            assert sha256(answer.preimage).digest() == each.htlc.payment_hash
            each.fate = "settled"
        else:
            each.fate = "failed"
        self._resolve(each)

    def _forward(self, each: NodeHtlc) -> None:
        outgoing = next(
            (link for link in self.links.values() if link.short_channel_id == each.htlc.outgoing_channel), None
        )
        incoming = self.links[each.htlc.key.short_channel_id]
        payer_ok = incoming.usable or self.capabilities.forwards_with_payer_offline
        if outgoing is None or not outgoing.usable or not payer_ok:
            each.fate = "failed"
            self._queue.append(HtlcFailed(each.htlc.key))
            self._resolve(each)
        else:
            each.forwarded = True
            each.fate = "forwarded"

    def _resolve(self, each: NodeHtlc) -> None:
        """What is failed or settled leaves the channel when its payer is there."""
        link = self.links.get(each.htlc.key.short_channel_id)
        if each.fate in ("failed", "settled") and (link is None or link.usable):
            each.fate = f"{each.fate} and gone"
            self._queue.append(HtlcGone(each.htlc.key))

    def _pending(self) -> Iterable[PendingHtlc]:
        for each in self.htlcs.values():
            if not each.fate.endswith("gone"):
                htlc = each.htlc
                yield PendingHtlc(
                    key=htlc.key,
                    peer=htlc.peer,
                    incoming=True,
                    payment_hash=htlc.payment_hash,
                    amount_msat=htlc.incoming_amount_msat,
                    expiry=htlc.incoming_expiry,
                )
            if each.fate == "forwarded" and each.htlc.outgoing_channel in self.links:
                yield PendingHtlc(
                    key=HtlcKey(each.htlc.outgoing_channel, 1000 + each.htlc.key.htlc_id),
                    peer=self.links[each.htlc.outgoing_channel].peer,
                    incoming=False,
                    payment_hash=each.htlc.payment_hash,
                    amount_msat=each.htlc.outgoing_amount_msat,
                    expiry=each.htlc.outgoing_expiry,
                )

    def detach(self) -> None:
        """The node goes away, or its stream does."""
        self.attached = False
        self.feed(Detached())

    def restart_node(self) -> None:
        """The node is killed and starts again, its peers still away."""
        self.detach()
        for peer in list(self.online):
            self._set_links(peer, usable=False)
        self.online.clear()
        for each in self.htlcs.values():
            each.in_memory = bool(self.capabilities.reoffers_without_payer)
        self.attach()

    def connect(self, peer: NodeId) -> None:
        self.online.add(peer)
        self._set_links(peer, usable=True)
        self._tell(PeerConnected(peer))
        for link in self.links.values():
            if link.peer == peer:
                self._tell(LinkChanged(link))
        for each in self.htlcs.values():
            if each.htlc.peer == peer:
                if not each.in_memory and each.fate == "held":
                    each.in_memory = True
                    self._tell(HtlcOffered(each.htlc))
                self._resolve(each)
        self.run()

    def disconnect(self, peer: NodeId) -> None:
        self.online.discard(peer)
        self._set_links(peer, usable=False)
        self._tell(PeerDisconnected(peer))
        for link in self.links.values():
            if link.peer == peer:
                self._tell(LinkChanged(link))

    def close_channel(self, short_channel_id: ShortChannelId) -> None:
        """Somebody closes a channel; its HTLCs go on chain with it."""
        del self.links[short_channel_id]
        for each in self.htlcs.values():
            if each.htlc.key.short_channel_id == short_channel_id:
                each.fate += " and gone"
        self._tell(LinkClosed(short_channel_id))

    def replay(self, key: HtlcKey) -> None:
        """Offer an HTLC again that was answered long ago (lnd#5115)."""
        self.feed(HtlcOffered(self.htlcs[key].htlc))

    def _set_links(self, peer: NodeId, *, usable: bool) -> None:
        for name, link in self.links.items():
            if link.peer == peer:
                self.links[name] = Link(short_channel_id=name, peer=peer, usable=usable)

    def _tell(self, event: LspEvent) -> None:
        if self.attached:
            self.feed(event)

    # --- people ---

    def block(self, client: NodeId = A, **changes: Any) -> list[Any]:
        """A asks for a block; the effects."""
        return self.feed(BlockRequested(client, request(**changes), _invoice(**changes)))

    def cancel(self, client: NodeId = A, pid: bytes = PID) -> list[Any]:
        return self.feed(CancelRequested(client, CancelRequest(unblock_hash=unblock_hash(pid), signature=bytes(65))))

    def release(self, pid: bytes = PID) -> list[Any]:
        return self.feed(ReleaseSeen(pid))

    def refuse(self, pid: bytes = PID) -> list[Any]:
        return self.feed(RefusalSeen(pid, "no"))

    def pay(self, amount_msat: int = 1000, **changes: Any) -> HtlcKey:
        """A sends a part; its key."""
        key = HtlcKey(changes.pop("channel", CHANNEL_A), self._next_id)
        self._next_id += 1
        values: dict[str, Any] = {
            "key": key,
            "payment_hash": HASH,
            "peer": A,
            "incoming_amount_msat": amount_msat + 10,
            "outgoing_amount_msat": amount_msat,
            "incoming_expiry": FINAL_EXPIRY + 80,
            "outgoing_expiry": FINAL_EXPIRY + 40,
            "outgoing_channel": CHANNEL_ROUTER,
        }
        htlc = HeldHtlc(**(values | changes))
        self.htlcs[key] = NodeHtlc(htlc)
        self._tell(HtlcOffered(htlc))
        return key

    def payee_settles(self, preimage: bytes = PREIMAGE) -> None:
        """Whoever has the forwarded parts takes them."""
        for each in self.htlcs.values():
            if each.fate == "forwarded" and each.htlc.payment_hash == sha256(preimage).digest():
                each.fate = "settled"
                self._tell(HtlcSettled(each.htlc.key, preimage))
                if self.attached:
                    self._resolve(each)
        self.run()

    def payee_fails(self, *keys: HtlcKey) -> None:
        for key in keys:
            self.htlcs[key].fate = "failed"
            self._tell(HtlcFailed(key))
            self._resolve(self.htlcs[key])
        self.run()

    def finish_own_payment(self, *, preimage: bytes | None, payment_hash: bytes = HASH) -> None:
        """The LSP's own payment is decided: with a preimage it succeeded."""
        status = PaymentStatus.FAILED if preimage is None else PaymentStatus.SUCCEEDED
        self.paid[payment_hash] = PaymentResult(status=status, preimage=preimage)
        if payment_hash in self._awaited:
            self._awaited.discard(payment_hash)
            self.feed(PaymentReported(payment_hash, self.paid[payment_hash]))

    # --- questions ---

    def stage(self, pid: bytes = PID) -> Stage | None:
        block = self.stored.get((Block, unblock_hash(pid)))
        return block.stage if isinstance(block, Block) else None

    def fates(self) -> list[str]:
        return [each.fate.split()[0] for each in self.htlcs.values()]

    def answered(self, *keys: HtlcKey) -> list[list[Verdict]]:
        return [self.htlcs[key].answers for key in keys]

    def updates(self, client: NodeId = A) -> list[tuple[BlockState, int]]:
        """What the client was told of its blocks."""
        return [
            (effect.message.state, effect.message.parts)
            for effect in self.effects
            if isinstance(effect, SendToClient) and effect.client == client and isinstance(effect.message, BlockUpdate)
        ]

    def pushes(self, client: NodeId) -> list[str]:
        return [
            effect.method.value for effect in self.effects if isinstance(effect, Notify) and effect.client == client
        ]

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


def _in_order(record: Record) -> float:
    """As the store gives records back: those whose order matters in that order."""
    match record:
        case Letter():
            return record.number
        case Delivered():
            return record.delivered_at
    return 0


def request(pid: bytes = PID, **changes: Any) -> BlockRequest:
    """A's block_request; the signature is not looked at by the engine."""
    values: dict[str, Any] = {
        "unblock_hash": unblock_hash(pid),
        "payment_hashes": (HASH,),
        "amount_msat": 1000,
        "release_by_height": HEIGHT + 432,
        "hold_until": int(START) + 86_400,
        "signature": bytes(65),
    }
    changes.pop("read_as", None)
    return BlockRequest(**(values | changes))


def invoice(**changes: Any) -> Invoice:
    values: dict[str, Any] = {
        "text": "lnbcrt1",
        "payment_hash": HASH,
        "payee": B,
        "amount_msat": 1000,
        "network": "regtest",
        "expires_at": int(START) + 100_000,
        "min_final_cltv_expiry": 80,
    }
    return Invoice(**(values | changes))


def _invoice(**changes: Any) -> Invoice | None:
    if "read_as" in changes:
        read: Invoice | None = changes["read_as"]
        return read
    return invoice() if changes.get("invoice") else None


def courier() -> Courier:
    return Courier(path_key=B, onion=bytes(1366))
