"""C, a client of LSP_a with its own channel, who knows a payment hash of A and tries every attack with it.

It does not use what it cannot know: a pid, or an unblock_hash before a block with that name exists.

Strangers who exhaust shared resources, and the share that an honest payer must get nevertheless.

C sends HTLCs of minimal value to an offline payee, and they wait in the same slots as A's payment later. Guests,
nodes with a connection and no channel, fill the payee's mailbox. Both use only what a real node can do.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from asyncpay.engine.lsp.records import Delivered, Htlc, StoredMessage
from asyncpay.lightning import HtlcKey, NodeId, Resolution
from asyncpay.wire.blinding import HopData
from asyncpay.wire.messages import (
    UNSIGNED,
    BlockRequest,
    BlockState,
    BlockUpdate,
    CancelRequest,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
)
from asyncpay.wire.messages import unblock_hash as block_name
from asyncpay.wire.onion import OnionMessage, Payload

from .channels import DELTA_BLOCKS, FEE_MSAT, HopPayload, SimHtlc
from .node import SimNode
from .onions import Messenger, plain_hops
from .wallet import signed

if TYPE_CHECKING:
    from .lsp import LspProcess
    from .simulation import Simulation

AMOUNT_MSAT = 50_000_000


class Attacker:
    """C, with one method for each attack. announced: the pids of the payments that it announced to the payee."""

    def __init__(self, node: SimNode, lsp: SimNode, messenger: Messenger, payment_hash: bytes) -> None:
        self.node, self._lsp, self._messenger, self._payment_hash = node, lsp, messenger, payment_hash
        self.payee: SimNode
        self.announced: set[bytes] = set()
        self._number = 0

    def request(self) -> None:
        """Request a hold for A's payment from the LSP as if it were C's own."""
        self._send(self._block_request(sha256(b"pid of C").digest()))

    def guess(self) -> None:
        """Send an invalid pid."""
        self._number += 1
        self._send(PaymentRelease(pid=sha256(b"guess %d" % self._number).digest()))

    def refuse(self) -> None:
        """Send a refusal with an invalid pid."""
        self._send(PaymentRefused(pid=bytes(32)))

    def cancel(self, unblock_hash: bytes) -> None:
        """Cancel A's block, whose name C is assumed to know."""
        request = CancelRequest(unblock_hash=unblock_hash, signature=UNSIGNED)
        self._send(signed(request, self.node, self._lsp.id))

    def request_under(self, unblock_hash: bytes) -> None:
        """Request a block with the name of A's block, which C is assumed to know."""
        self._send(self._block_request_named(unblock_hash))

    def claim_held(self, payer: NodeId, unblock_hash: bytes) -> None:
        """Tell A in the LSP's name that its parts are held; onion messages are not authenticated."""
        self._number += 1
        update = BlockUpdate(unblock_hash=unblock_hash, state=BlockState.HELD, parts=self._number % 3 + 1)
        self._messenger.send_to(self.node, payer, update)

    def pay(self, route: list[SimNode]) -> None:
        """Send an HTLC with A's payment hash over C's own channel; C lacks the payment secret."""
        channels = [each for each in self.node.channels(self._lsp.id) if each.usable_by(self.node)]
        if not channels or not self.node.running:
            return
        final = self.node.height + 30
        steps = [
            HopPayload(
                each.id,
                AMOUNT_MSAT + (len(route) - 1 - place) * FEE_MSAT,
                final + (len(route) - 1 - place) * DELTA_BLOCKS,
            )
            for place, each in enumerate(route)
        ]
        first, *rest = steps
        htlc = SimHtlc(
            channel=channels[0],
            number=0,
            offerer=self.node,
            payment_hash=self._payment_hash,
            amount_msat=first.amount_msat,
            expiry=first.expiry,
            route=tuple(rest),
            total_msat=1,
        )
        channels[0].add(htlc)

    def announce(self, seal: Callable[[PaymentPending], OnionMessage], proof: bytes | None) -> None:
        """Announce three times to the payee that its invoice's payment is held, without a valid proof."""
        for _ in range(3):
            self._number += 1
            pid = sha256(b"announced %d" % self._number).digest()
            self.announced.add(pid)
            message = PaymentPending(
                pid=pid,
                payment_hashes=(self._payment_hash,),
                amount_msat=2**40,
                release_by_height=self.node.height + 400,
                hold_until=int(self.node.kernel.now) + 86_400,
                invoice_proof=proof,
            )
            self._messenger.send(self.node, self._lsp.id, seal(message))

    def flood(self, seal: Callable[[int], OnionMessage], count: int) -> None:
        """Send many messages to the payee."""
        for _ in range(count):
            self._number += 1
            self._messenger.send(self.node, self._lsp.id, seal(self._number))

    def _block_request(self, pid: bytes) -> BlockRequest:
        return self._block_request_named(sha256(pid).digest())

    def _block_request_named(self, unblock_hash: bytes) -> BlockRequest:
        request = BlockRequest(
            unblock_hash=unblock_hash,
            payment_hashes=(self._payment_hash,),
            amount_msat=AMOUNT_MSAT,
            release_by_height=self.node.height + 20,
            hold_until=int(self.node.kernel.now) + 3600,
            signature=UNSIGNED,
        )
        return signed(request, self.node, self._lsp.id)  # type: ignore[no-any-return]

    def _send(self, message: BlockRequest | CancelRequest | PaymentRelease | PaymentRefused) -> None:
        self._messenger.send_to_peer(self.node, self._lsp.id, message)


SMALL_MSAT = 1000
"""LND's smallest HTLC (lncfg/htlcswitch.go and chainreg/chainregistry.go: DefaultBitcoinMinHTLCInMSat is 1, its
channels' own default 1000); CLN accepts less.
"""
SMALL_HTLCS = 32
JAM_SLOTS = "sends B many small HTLCs"
FLOOD = 12
GUESTS = 60
FINAL_BLOCKS = 60
GRACE_SECONDS = 0.5


def jam_slots(sim: "Simulation") -> None:
    """Send many small HTLCs from C to the payee, with C's own payment hashes."""
    source, line = sim.c, sim.line[1:]
    channel = next((each for each in source.channels() if each.usable_by(source)), None)
    if channel is None or not source.running:
        return
    for number in range(SMALL_HTLCS):
        last = len(line) - 1
        steps = [
            HopPayload(
                node.id,
                SMALL_MSAT + (last - place) * FEE_MSAT,
                source.height + FINAL_BLOCKS + (last - place) * DELTA_BLOCKS,
            )
            for place, node in enumerate(line)
        ]
        channel.add(
            SimHtlc(
                channel=channel,
                number=0,
                offerer=source,
                payment_hash=sha256(b"small %d" % number).digest(),
                amount_msat=steps[0].amount_msat,
                expiry=steps[0].expiry,
                route=tuple(steps[1:]),
                total_msat=SMALL_MSAT,
            )
        )


def flood_mailbox(sim: "Simulation") -> None:
    """Send one message from each guest of the payee's LSP."""
    node = sim.lsp_b_node
    if not node.implementation.takes_onions_without_channel:
        return
    for number in range(GUESTS):
        guest = b"\x02" + sha256(b"guest %d" % number).digest()
        route = plain_hops([node.id, sim.b.id], HopData())
        message = sim.onions.seal(route, Payload(async_payment=b"\xfe%d" % number))
        node.relay.take(guest, message)


class FairShare:
    """The checks of A's share. turned_away: HTLCs that did not get a slot although they should have."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self.turned_away: list[str] = []
        self._messages: dict[bytes, NodeId] = {}

    def answered(self, lsp: "LspProcess", key: HtlcKey, resolution: Resolution) -> None:
        """The payee's LSP answers an HTLC; as the payee is offline, an honest one should have waited."""
        htlc, record = lsp.node.held.get(key), lsp.record(Htlc, key)
        if htlc is None or record is None or record.block is not None or resolution is Resolution.SETTLE:
            return
        if not lsp.node.running:
            return  # it has died during this answer, and the payee was connected until then
        sim, link = self._sim, self._sim.b_link
        now = sim.kernel.now
        open_ = [each for each in link.channels if not each.closed]
        away = bool(open_) and not any(each.usable_by(lsp.node) for each in open_)
        waited = lsp.clock.now() >= record.offered_at + lsp.policy.wake_timeout_seconds
        late = htlc.expiry - lsp.node.height <= lsp.policy.min_margin_blocks + 1
        settled = now > max(link.changed_at, lsp.attached_at) + GRACE_SECONDS
        through = htlc.offerer is not sim.a  # otherwise A's block decides
        honest = through and htlc.route[0].to == sim.b.id and _sender(htlc) in (sim.a, sim.lsp_a_node)
        if honest and away and settled and not waited and not late:
            self.turned_away.append(f"{lsp.name} let no slot to HTLC {key} of {htlc.amount_msat} msat, B being away")
            sim.kernel.changed()

    def pushed_out(self) -> Iterator[str]:
        """Yield messages that were dropped for guests' messages while their own source had fewer in the mailbox."""
        lsp, client = self._sim.lsp_b, self._sim.b.id
        here = {each.message_id: each.source for each in lsp.records(StoredMessage) if each.client == client}
        channels = {peer for peer, each in lsp.node.connections.items() if not all(one.closed for one in each.channels)}
        share = Counter(source if source in channels else None for source in here.values())
        for message_id, source in self._messages.items():
            gone = message_id not in here and lsp.record(Delivered, (client, message_id)) is None
            if gone and source in channels and share[source] + 1 < share[None]:
                yield "guests without a channel have pushed a message out of B's mailbox"
        self._messages = here


def _sender(htlc: SimHtlc) -> object:
    while htlc.incoming is not None:
        htlc = htlc.incoming
    return htlc.offerer


def _flood(sim: "Simulation") -> None:
    route = plain_hops([node.id for node in sim.line[1:]], HopData())
    sim.attacker.flood(lambda number: sim.onions.seal(route, Payload(async_payment=b"\xff%d" % number)), FLOOD)


def _announce(sim: "Simulation", proof: bytes | None) -> None:
    route = plain_hops([node.id for node in sim.line[1:]], HopData())
    back = sim.onions.path(plain_hops([sim.lsp_a_node.id, sim.c.id], HopData()))
    sim.attacker.announce(
        lambda pending: sim.onions.seal(route, Payload(async_payment=pending.encode(), reply_path=back)), proof
    )


ATTACKS: dict[str, Callable[["Simulation"], None]] = {
    "asks LSP_a to hold A's payment": lambda sim: sim.attacker.request(),
    "shows LSP_a a guessed pid": lambda sim: sim.attacker.guess(),
    "refuses under a guessed pid": lambda sim: sim.attacker.refuse(),
    "cancels A's block": lambda sim: sim.attacker.cancel(block_name(sim.pid)),
    "asks for a block under the name of A's": lambda sim: sim.if_blocked(sim.attacker.request_under),
    "tells A in LSP_a's name that all is held": lambda sim: sim.if_blocked(
        lambda name: sim.attacker.claim_held(sim.a.id, name)
    ),
    "sends an HTLC with A's payment hash": lambda sim: sim.attacker.pay(sim.line[1:]),
    "floods B with messages": _flood,
    JAM_SLOTS: jam_slots,
    "fills B's mailbox, from many nodes without a channel": flood_mailbox,
    "announces A's payment to B": lambda sim: _announce(sim, None),
    "announces A's payment to B with a made-up proof": lambda sim: _announce(sim, bytes(32)),
}
