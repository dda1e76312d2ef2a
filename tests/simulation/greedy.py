"""Strangers who use up what others share, and what an honest payer must get nevertheless.

C sends HTLCs of hardly any value to a payee who is away, and they wait in the same slots as A's payment will. Guests,
nodes with a connection and no channel, fill the payee's mailbox. Neither does anything that a real node could not.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from asyncpay.engine.lsp.records import Delivered, Htlc, Letter
from asyncpay.lightning import HtlcKey, NodeId, Verdict
from asyncpay.wire.blinding import HopData
from asyncpay.wire.onion import Payload

from .channels import DELTA_BLOCKS, FEE_MSAT, SimHtlc, Step
from .onions import through as along

if TYPE_CHECKING:
    from .lsp import LspProcess
    from .world import World

SMALL_MSAT = 1000
"""LND's smallest HTLC (lncfg/htlcswitch.go and chainreg/chainregistry.go: DefaultBitcoinMinHTLCInMSat is 1, its
channels' own default 1000); CLN takes less.
"""
SMALL_HTLCS = 32
GUESTS = 60
FINAL_BLOCKS = 60
GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Guest:
    """A peer of an LSP's, with a connection and no channel."""

    id: NodeId


def fill_slots(world: "World") -> None:
    """C sends the payee many small HTLCs for hashes of its own."""
    source, line = world.c, world.line[1:]
    channel = next((each for each in source.channels() if each.usable_by(source)), None)
    if channel is None or not source.running:
        return
    for number in range(SMALL_HTLCS):
        last = len(line) - 1
        steps = [
            Step(
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
                way=tuple(steps[1:]),
                total_msat=SMALL_MSAT,
            )
        )


def fill_mailbox(world: "World") -> None:
    """Guests of the payee's LSP leave a message each."""
    node = world.lsp_b_node
    if not node.implementation.takes_onions_without_channel:
        return
    for number in range(GUESTS):
        guest = Guest(b"\x02" + sha256(b"guest %d" % number).digest())
        way = along([node.id, world.b.id], HopData())
        message = world.onions.seal(way, Payload(async_payment=b"\xfe%d" % number))
        node.relay.take(guest, message)


class Shares:
    """What became of A's share. turned_away: HTLCs that did not get a slot though they should have."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.turned_away: list[str] = []
        self._letters: dict[bytes, NodeId] = {}

    def answered(self, lsp: "LspProcess", key: HtlcKey, verdict: Verdict) -> None:
        """The payee's LSP answers an HTLC; the payee being away, an honest one should have waited."""
        htlc, record = lsp.node.held.get(key), lsp.record(Htlc, key)
        if htlc is None or record is None or record.block is not None or verdict is Verdict.SETTLE:
            return
        if not lsp.node.running:
            return  # it has died on this very answer, and had the payee there until then
        world, link = self._world, self._world.b_link
        now = world.kernel.now
        open_ = [each for each in link.channels if not each.closed]
        away = bool(open_) and not any(each.usable_by(lsp.node) for each in open_)
        waited = now >= record.offered_at + lsp.policy.wake_timeout_seconds
        late = htlc.expiry - lsp.node.height <= lsp.policy.min_margin_blocks + 1
        settled = now > max(link.changed_at, lsp.attached_at) + GRACE_SECONDS
        through = htlc.offerer is not world.a  # else it is a matter of A's block
        honest = through and htlc.way[0].to == world.b.id and _sender(htlc) in (world.a, world.lsp_a_node)
        if honest and away and settled and not waited and not late:
            self.turned_away.append(f"{lsp.name} let no slot to HTLC {key} of {htlc.amount_msat} msat, B being away")
            world.kernel.changed()

    def pushed_out(self) -> Iterator[str]:
        """Messages that had to go for guests' while their own source had fewer in the mailbox."""
        lsp, client = self._world.lsp_b, self._world.b.id
        here = {each.letter_id: each.source for each in lsp.records(Letter) if each.client == client}
        channels = {peer for peer, each in lsp.node.connections.items() if not all(one.closed for one in each.channels)}
        share = Counter(source if source in channels else None for source in here.values())
        for letter_id, source in self._letters.items():
            gone = letter_id not in here and lsp.record(Delivered, (client, letter_id)) is None
            if gone and source in channels and share[source] + 1 < share[None]:
                yield "guests without a channel have pushed a message out of B's mailbox"
        self._letters = here


def _sender(htlc: SimHtlc) -> object:
    while htlc.incoming is not None:
        htlc = htlc.incoming
    return htlc.offerer
