"""A world for the LSP engine: its shell, the people around it, time, and crashes. Its node is in node.py.

The shell around the engine is played here as `asyncpay.engine.lsp.engine` demands it: store first, then act.
`crash_at` stops it between any two of its actions, after which it starts again from what was stored.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from asyncpay.engine.core import Detached, Put, Tick, Transition
from asyncpay.engine.lsp.effects import (
    Deliver,
    Effect,
    ForceClose,
    Notify,
    PayOnBehalf,
    QueryTerms,
    Relay,
    RequestHtlcSnapshot,
    ResolveHtlc,
    SendToClient,
    TrackPayment,
)
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.events import (
    BlockRequested,
    CancelRequested,
    Delivery,
    DeliveryReported,
    HtlcSnapshot,
    LspEvent,
    NotificationReported,
    RefusalSeen,
    ReleaseSeen,
    UpdateSent,
    WebhookSet,
)
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Block, Delivered, Record, StoredMessage
from asyncpay.engine.lsp.states import State
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

from .given import CHANNEL_A, CHANNEL_B, PID, START, A, B, invoice, lnd, node_id, request
from .node import Node


class CrashError(Exception):
    """The LSP's process is killed here."""


class World(Node):
    """One LSP between A, B and a router. A and B are phones with a webhook."""

    def __init__(
        self,
        capabilities: Capabilities | None = None,
        policy: LspPolicy | None = None,
        *,
        clients: Iterable[NodeId] = (A, B),
    ) -> None:
        super().__init__(lnd() if capabilities is None else capabilities)
        self.policy = LspPolicy(on_behalf_min_part_msat=0) if policy is None else policy
        self.now = START
        self.stored: dict[tuple[type, Any], Record] = {}
        self.effects: list[Any] = []
        self.pushes_work = True
        self.deliveries_work = True
        self.deliveries_hang = False
        self.actions = 0
        self.crash_at: int | None = None
        self.crash_before: type[Effect] | None = None
        self.on_crash: Callable[[], None] = lambda: None
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

    def _perform(self, step: Transition[Record, Effect]) -> None:
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
            if self.crash_before is not None and isinstance(effect, self.crash_before):
                self.crash_before = None
                raise CrashError
            self.effects.append(effect)
            self._carry_out(effect)

    def _act(self) -> None:
        self.actions += 1
        if self.actions == self.crash_at:
            raise CrashError

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
            case Relay() | _:
                pass

    # --- time ---

    def sleep(self, seconds: float) -> None:
        """Time passes, and the engine is woken when it asked for it."""
        end = self.now + seconds
        while self.lsp.next_deadline <= end:
            self.now = max(self.now, self.lsp.next_deadline)
            self.feed(Tick())
        self.now = end
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

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


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


def payer_away(world: World | None = None, **changes: Any) -> World:
    """A has blocked and paid 1100 for an invoice of 1000, and is gone."""
    world = World() if world is None else world
    world.block(invoice="lnbcrt1", **changes)
    world.pay(1100)
    world.disconnect(A)
    return world


def paying_on_behalf() -> World:
    """... and now the LSP pays in its place."""
    world = payer_away()
    world.release()
    assert world.state() is State.PAYING
    return world


def second_payment(world: World, client: NodeId = A) -> bytes:
    """A payment of 1000 for another invoice, released too; its pid."""
    pid, preimage = b"2" * 32, b"t" * 32
    payment_hash = sha256(preimage).digest()
    world.block(
        client=client,
        payment_hashes=(payment_hash,),
        unblock_hash=unblock_hash(pid),
        invoice="lnbcrt2",
        read_as=invoice(payment_hash=payment_hash),
    )
    channel = CHANNEL_A if client == A else CHANNEL_B
    world.connect(client)
    world.pay(1100, payment_hash=payment_hash, peer=client, channel=channel)
    world.disconnect(client)
    world.release(pid)
    return pid
