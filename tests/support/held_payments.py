"""An LSP's engine with many held payments, to measure the cost of an event.

Each payment belongs to a different client, which is offline: one part, held on the client's channel, a courier that is
due later, a webhook, a message in the mailbox, and a finished block. All are forwarded to one router.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.archive import Found
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import HtlcSnapshot, LspEvent, Notify, RequestHtlcSnapshot
from asyncpay.engine.lsp.records import Block, Htlc, Outcome, Record, StoredMessage, Webhook
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capabilities, ChannelId, HeldHtlc, HtlcKey, Link, NodeId, PendingHtlc, Resolution
from asyncpay.lightning import ShortChannelId as Scid
from asyncpay.node_events import Attached, HtlcOffered
from asyncpay.wire.messages import BlockState, unblock_hash
from asyncpay.wire.onion import OnionMessage

START = 1_700_000_000.0
HEIGHT = 800_000
ROUTER: NodeId = b"\x02" + bytes(32)
ROUTER_CHANNEL = Scid.parse("700000x1x0")
POLICY = LspPolicy(max_all_block_bytes=10**12)
DUST_MSAT = 1_000_000


def client(number: int) -> NodeId:
    """The node id of a client."""
    return b"\x03" + number.to_bytes(32, "big")


def pid(number: int) -> bytes:
    """The pid of a held payment; 32 bytes."""
    return sha256(b"pid" + number.to_bytes(8, "big")).digest()


def payment_hash(number: int) -> bytes:
    """Of a held payment; 32 bytes."""
    return sha256(preimage(number)).digest()


def preimage(number: int) -> bytes:
    """Of a held payment; 32 bytes."""
    return sha256(b"preimage" + number.to_bytes(8, "big")).digest()


def channel(number: int) -> Scid:
    """The channel with a client."""
    return Scid(600_000 << 40 | number << 16)


def link(number: int, *, usable: bool = False) -> Link:
    """The same, as the node reports it."""
    name = channel(number)
    return Link(channel_id=ChannelId.from_name(name), short_channel_id=name, peer=client(number), usable=usable)


def router_link(*, usable: bool = True) -> Link:
    """The channel with the router."""
    name = ROUTER_CHANNEL
    return Link(channel_id=ChannelId.from_name(name), short_channel_id=name, peer=ROUTER, usable=usable)


def htlc(number: int, htlc_id: int = 0) -> HeldHtlc:
    """The part of a held payment; an htlc_id other than 0 is another HTLC of the same client."""
    return HeldHtlc(
        key=HtlcKey(ChannelId.from_name(channel(number)), htlc_id),
        payment_hash=payment_hash(number) if htlc_id == 0 else sha256(bytes([htlc_id])).digest(),
        peer=client(number),
        incoming_amount_msat=DUST_MSAT + 10,
        outgoing_amount_msat=DUST_MSAT,
        incoming_expiry=HEIGHT + 700 + number % 300,
        outgoing_expiry=HEIGHT + 600,
        outgoing_channel=ROUTER_CHANNEL,
    )


def block(number: int) -> Block:
    """The block of a held payment."""
    return Block(
        unblock_hash=unblock_hash(pid(number)),
        client=client(number),
        digest=sha256(pid(number)).digest(),
        payment_hashes=(payment_hash(number),),
        amount_msat=DUST_MSAT,
        release_by_height=HEIGHT + 400 + number % 200,
        hold_until=int(START) + 500_000 + number,
        courier=number.to_bytes(1399, "big"),
        state=State.HELD,
        first_part_at=START - 1000,
        courier_sent=9,
        courier_next_at=START + 5000 + number / 1000,
    )


def records_of(number: int) -> Iterator[Record]:
    """Everything that is stored for one client."""
    held, part = block(number), htlc(number)
    yield held
    yield Htlc(htlc=part, block=held.key, offered_at=START - 1000, resolution=None)
    finished_hash = sha256(b"finished" + held.key).digest()
    yield replace(
        held,
        unblock_hash=sha256(b"finished" + pid(number)).digest(),
        payment_hashes=(finished_hash,),
        state=State.SETTLED,
        told=BlockState.SETTLED,
        courier=None,
        courier_next_at=None,
    )
    passed = replace(part, key=HtlcKey(part.key.channel_id, 1), payment_hash=finished_hash)
    yield Htlc(htlc=passed, block=None, offered_at=START, resolution=Resolution.RESUME)
    settled = replace(part, key=HtlcKey(part.key.channel_id, 2))
    yield Htlc(htlc=settled, block=None, offered_at=START, resolution=Resolution.RESUME, outcome=Outcome.FAILED)
    yield Webhook(client=held.client, app_name="wallet", url="https://push.example/1", used_at=START - number % 80_000)
    yield StoredMessage(
        client=held.client,
        message_id=sha256(held.key).digest(),
        number=number,
        source=ROUTER,
        message=OnionMessage(b"\x02" + bytes(32), bytes(1366)),
        arrived_at=START - 500,
    )


def attached(count: int) -> Attached:
    """The node answers; the router is online, and no client is."""
    links = (router_link(), *(link(number) for number in range(count)))
    return Attached(node_id=b"\x02" * 33, network="regtest", height=HEIGHT, links=links, online=frozenset({ROUTER}))


def pending(count: int) -> Iterator[PendingHtlc]:
    """The HTLCs on the node's channels."""
    for number in range(count):
        for htlc_id in range(3):
            each = htlc(number, htlc_id)
            yield PendingHtlc(
                key=HtlcKey(each.key.channel_id, htlc_id),
                peer=each.peer,
                incoming=True,
                payment_hash=each.payment_hash,
                amount_msat=each.incoming_amount_msat,
                expiry=each.incoming_expiry,
            )


class LoadedLsp:
    """The engine, and its time. Ticks are sent when it requests them.

    reminded: clients that were notified.
    """

    def __init__(self, count: int, capabilities: Capabilities, *, attach: bool = True) -> None:
        self.count, self.now = count, START
        self.lsp = Lsp(POLICY, capabilities, [record for number in range(count) for record in records_of(number)])
        self.snapshot_number = 0
        self.reminded: set[NodeId] = set()
        if attach:
            self.handle(attached(count))
            for number in range(count):
                self.handle(HtlcOffered(htlc(number)))
            self.settle()

    def handle(self, event: LspEvent) -> None:
        """Give the engine an event."""
        if (wanted := self.lsp.wanted(self.now, event)) is not None:
            assert wanted.due is None, "no finished block is over yet"
            self.lsp.recall(Found(()))  # no event is about one of these
        transition = self.lsp.handle(self.now, event)
        self.lsp.committed()
        for effect in transition.effects:
            if isinstance(effect, RequestHtlcSnapshot):
                self.snapshot_number = effect.number
            elif isinstance(effect, Notify):
                self.reminded.add(effect.client)

    def snapshot(self) -> HtlcSnapshot:
        """The answer to the last RequestHtlcSnapshot."""
        return HtlcSnapshot(self.snapshot_number, tuple(pending(self.count)))

    def settle(self) -> int:
        """Run all reviews that are done in slices; return the number of slices."""
        self.handle(self.snapshot())
        slices = 0
        while self.lsp.next_deadline < self.now + 0.5:
            self.now = max(self.now, self.lsp.next_deadline)
            self.handle(Tick())
            slices += 1
        return slices
