"""An LSP's engine with the people around it, time, and crashes. Its node is in scripted_lsp_node.py."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from asyncpay.engine.core import Detached, Put, Tick
from asyncpay.engine.lsp.archive import Found, Lookup
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    CourierSent,
    Deliver,
    Delivery,
    DeliveryReported,
    Effect,
    ForceClose,
    HtlcSnapshot,
    LspEvent,
    NotificationReported,
    Notify,
    PayOnBehalf,
    QueryTerms,
    RefusalSeen,
    Relay,
    ReleaseSeen,
    RequestHtlcSnapshot,
    ResolveHtlc,
    SendToClient,
    TrackPayment,
    UpdateSent,
    WebhookSet,
)
from asyncpay.engine.lsp.records import Block, Delivered, Record, StoredMessage
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import (
    Capabilities,
    HtlcKey,
    Invoice,
    NodeId,
    Resolution,
)
from asyncpay.node_events import (
    Attached,
    HtlcOffered,
)
from asyncpay.wire.messages import BlockState, BlockUpdate, CancelRequest, unblock_hash
from tests.support.engine_harness import CrashError, EngineHarness
from tests.support.keys import node_id
from tests.support.stored_archive import StoredArchive

from .factories import CHANNEL_A, CHANNEL_B, PID, START, A, B, courier, invoice, lnd, request
from .scripted_lsp_node import ScriptedLspNode


class LspHarness(EngineHarness[LspEvent, Record, Effect], ScriptedLspNode):
    """One LSP between A, B and a router. A and B are phones with a webhook, and take messages at any rate."""

    engine: Lsp

    def __init__(
        self,
        capabilities: Capabilities | None = None,
        policy: LspPolicy | None = None,
        *,
        clients: Iterable[NodeId] = (A, B),
    ) -> None:
        EngineHarness.__init__(self, START)
        ScriptedLspNode.__init__(self, lnd() if capabilities is None else capabilities)
        self.policy = LspPolicy(on_behalf_min_part_msat=0, pace_seconds=0) if policy is None else policy
        self.pushes_work = True
        self.deliveries_work = True
        self.deliveries_hang = False
        self.next_hop_of: Callable[[Relay], NodeId | None] = lambda _: None
        self.crash_before: type[Effect] | None = None
        self.on_crash: Callable[[], object] = lambda: None
        self.start()
        for client in clients:
            self.feed(WebhookSet(client, "phone", "https://push.example/x"))
        self.effects.clear()

    # --- the shell ---

    def start(self) -> None:
        """The LSP's process starts, and attaches to the node if that runs."""
        self._queue.clear()
        self._awaited.clear()
        archive = StoredArchive(self.stored.values())
        self.engine = Lsp(self.policy, self.capabilities, sorted(archive.loaded(), key=_in_order), archive.summary())
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

    def crashed(self) -> None:
        """See EngineHarness.crashed."""
        self.attached = False
        self.on_crash()

    def store(self, change: Any) -> None:
        """See EngineHarness.store: records of different kinds may have the same key."""
        key = type(change.record), change.record.key
        if isinstance(change, Put):
            self.stored[key] = change.record
        else:
            self.stored.pop(key, None)

    def recall(self, wanted: Lookup) -> Found:
        """See EngineHarness.recall."""
        return StoredArchive(self.stored.values()).find(wanted)

    def carry_out(self, effect: Effect) -> None:
        """See EngineHarness.carry_out."""
        if self.crash_before is not None and isinstance(effect, self.crash_before):
            self.crash_before = None
            self.effects.pop()
            raise CrashError
        self._carry_out(effect)

    def _carry_out(self, effect: Any) -> None:  # noqa: C901 - one case for each effect
        match effect:
            case ResolveHtlc():
                self._answer(effect)
            case RequestHtlcSnapshot(number):
                self._queue.append(HtlcSnapshot(number, tuple(self._pending())))
            case QueryTerms():
                self.terms(effect)
            case PayOnBehalf():
                self.pay_on_behalf(effect)
            case TrackPayment(payment_hash):
                self._await(payment_hash)
            case ForceClose(channel_id):
                self.force_close(channel_id)
            case Deliver(client, message_id, _):
                if self.deliveries_hang:
                    return
                works = client in self.online and self.deliveries_work
                delivery = Delivery.DONE if works else Delivery.NOT_CONNECTED
                self._queue.append(DeliveryReported(client, message_id, delivery))
            case SendToClient(client, BlockUpdate() as update) if client in self.online:
                self._queue.append(UpdateSent(update.unblock_hash, update.state))
            case Notify(client, method):
                self._queue.append(NotificationReported(client, method, self.pushes_work))
            case Relay():
                if (next_hop := self.next_hop_of(effect)) is not None:
                    self._queue.append(CourierSent(effect.block, next_hop))
            case _:
                pass

    # --- time ---

    def sleep(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Let time pass; in the end the engine gets one more Tick."""
        super().sleep(seconds, then)
        self.feed(Tick())

    def detach(self) -> None:
        """The node goes away, or its stream does."""
        self.attached = False
        self.feed(Detached())

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

    # --- questions ---

    def state(self, pid: bytes = PID) -> State | None:
        block = self.stored.get((Block, unblock_hash(pid)))
        return block.state if isinstance(block, Block) else None

    def fates(self) -> list[str]:
        return [each.fate.split()[0] for each in self.htlcs.values()]

    def answered(self, *keys: HtlcKey) -> list[list[Resolution]]:
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


def _in_order(record: Record) -> float:
    """As the store gives records back: those whose order matters in that order."""
    match record:
        case StoredMessage():
            return record.number
        case Delivered():
            return record.delivered_at
    return 0


def _invoice(**changes: Any) -> Invoice | None:
    if "read_as" in changes:
        read: Invoice | None = changes["read_as"]
        return read
    return invoice() if changes.get("invoice") else None


def payer_away(harness: LspHarness | None = None, **changes: Any) -> LspHarness:
    """A has blocked and paid 1100 for an invoice of 1000, and is gone."""
    harness = LspHarness() if harness is None else harness
    harness.block(invoice="lnbcrt1", **changes)
    harness.pay(1100)
    harness.disconnect(A)
    return harness


def settled(harness: LspHarness | None = None) -> LspHarness:
    """A's payment has been held, released and settled; A knows, and the HTLC has left its channel."""
    harness = LspHarness() if harness is None else harness
    harness.block(courier=courier())
    harness.pay()
    harness.release()
    harness.payee_settles()
    assert harness.state() is State.SETTLED
    return harness


def paying_on_behalf() -> LspHarness:
    """... and now the LSP pays in its place."""
    harness = payer_away()
    harness.release()
    assert harness.state() is State.PAYING
    return harness


def second_payment(harness: LspHarness, client: NodeId = A) -> bytes:
    """A payment of 1000 for another invoice, released too; its pid."""
    pid, preimage = b"2" * 32, b"t" * 32
    payment_hash = sha256(preimage).digest()
    harness.block(
        client=client,
        payment_hashes=(payment_hash,),
        unblock_hash=unblock_hash(pid),
        invoice="lnbcrt2",
        read_as=invoice(payment_hash=payment_hash),
    )
    channel = CHANNEL_A if client == A else CHANNEL_B
    harness.connect(client)
    harness.pay(1100, payment_hash=payment_hash, peer=client, channel=channel)
    harness.disconnect(client)
    harness.release(pid)
    return pid
