"""Channels: balances, HTLCs, and their resolution on chain.

The commitment protocol is not simulated, because no engine sees it: messages arrive, in order, once both sides have
reestablished the channel, even after several disconnections. HTLCs that reach their expiry, or that must be claimed
with a preimage, force the channel on chain, where the preimage is decisive if it is known in time.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncpay.lightning import (
    ChannelId,
    ChannelTerms,
    ForwardingPolicy,
    HeldHtlc,
    HtlcKey,
    Link,
    NodeId,
    PendingHtlc,
    ShortChannelId,
)

from .kernel import Kernel
from .network import LATENCY_SECONDS, Connection

if TYPE_CHECKING:
    from .node import SimNode

CONFIRMATION_SECONDS = 600.0
FEE_MSAT = 1000
DELTA_BLOCKS = 40
"""The forwarding fee and CLTV delta of every simulated node."""
DUST_MSAT = 354_000
"""Below this an HTLC has no output of its own on chain (BOLT 3, "Trimmed Outputs"), so it cannot be claimed there."""


@dataclass(frozen=True, slots=True)
class HopPayload:
    """A hop's payload in a part's onion: the amount, expiry and next node of the outgoing HTLC."""

    to: bytes
    amount_msat: int
    expiry: int


@dataclass(eq=False, slots=True)
class SimHtlc:
    """An HTLC on a channel; its two ends may learn its state at different times.

    route: the remaining hops, none at the payee. total_msat: the amount for which the payee waits.
    incoming: the HTLC that the offerer forwarded here; None for its own payment.
    arrived: the receiver has it. offered_at: the last time at which its component was offered it.
    resolved: the receiver has settled (preimage) or failed it. gone: the offerer knows that, and the money has moved.
    """

    channel: "Channel"
    number: int
    offerer: "SimNode"
    payment_hash: bytes
    amount_msat: int
    expiry: int
    route: tuple[HopPayload, ...]
    total_msat: int
    incoming: "SimHtlc | None" = None
    arrived: bool = False
    offered_at: float = 0
    resolved: bool = False
    preimage: bytes | None = None
    gone: bool = False

    @property
    def receiver(self) -> "SimNode":
        return self.channel.connection.other(self.offerer)

    @property
    def failed(self) -> bool:
        """Whether its offerer has its money back, or will. Otherwise it has paid, or may still have to."""
        return self.preimage is None and (self.resolved or self.gone)

    @property
    def key(self) -> HtlcKey:
        """Its name for the receiver."""
        return HtlcKey(ChannelId.from_name(self.channel.scid), self.number)


@dataclass(eq=False)
class Channel:
    """A channel between the two ends of a connection. `established`: the ends that regard it as usable.

    scid: its first name, by which its nodes always know it. names: the present one, and earlier ones.
    closing_since: when one side requested a mutual close, which waits until no HTLC is on the channel (BOLT 2, "Closing
    Negotiation"). first_id: the first id of its peers' HTLCs, if the other end accepts any id.
    congestion_blocks: how many blocks after the next one a claim on chain is confirmed.
    """

    kernel: Kernel
    connection: Connection
    scid: ShortChannelId
    balance_msat: dict[str, int]
    established: set[str] = field(default_factory=set)
    htlcs: list[SimHtlc] = field(default_factory=list)
    names: list[ShortChannelId] = field(default_factory=list)
    first_id: int = 0
    closed: bool = False
    closing_since: float | None = None
    congestion_blocks: int = 0
    _claimable_from: int = 0
    _sent: dict[str, deque[tuple[str, SimHtlc]]] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.names = [self.scid]

    def usable_by(self, node: "SimNode") -> bool:
        """Whether `node` can add HTLCs, as far as it knows."""
        return self.closing_since is None and self.answerable_by(node)

    def answerable_by(self, node: "SimNode") -> bool:
        """Whether `node` can fail and settle what is on it, as far as it knows."""
        return not self.closed and node.name in self.established

    def add(self, htlc: SimHtlc) -> None:
        """Its offerer adds an HTLC."""
        self.kernel.changed()
        self.balance_msat[htlc.offerer.name] -= htlc.amount_msat
        self._count += 1
        htlc.number = self._count + (self.first_id if htlc.receiver.implementation.takes_any_htlc_id else 0)
        self.htlcs.append(htlc)
        self._say(htlc.offerer, "add", htlc)

    def resolve(self, htlc: SimHtlc, preimage: bytes | None) -> None:
        """Its receiver settles (with a preimage) or fails an HTLC."""
        if htlc.resolved or htlc.gone:
            return
        htlc.resolved, htlc.preimage = True, preimage
        self.kernel.changed()
        if not self.closed:
            self._say(htlc.receiver, "remove", htlc)

    def forget_answers(self, node: "SimNode") -> list[SimHtlc]:
        """`node` loses its component's answers that its peer has not received: those HTLCs are unresolved again.

        On-chain actions continue.
        """
        if self.closed:
            return []
        said = self._sent.get(node.name, deque())
        forgotten = [each for what, each in said if what == "remove" and each.key not in node.circuits and each.route]
        for htlc in forgotten:
            said.remove(("remove", htlc))
            htlc.resolved, htlc.preimage = False, None
        return forgotten

    def reestablish(self) -> None:
        """Both ends are connected again: messages that were not received are retransmitted."""
        if self.closed:
            return
        for end in self.connection.ends:
            self.established.add(end.name)
            for _ in self._sent.get(end.name, ()):
                self._deliver_next(end)

    def _say(self, end: "SimNode", what: str, htlc: SimHtlc) -> None:
        self._sent.setdefault(end.name, deque()).append((what, htlc))
        if end.name in self.established and self.connection.up:
            self._deliver_next(end)

    def _deliver_next(self, end: "SimNode") -> None:
        other = self.connection.other(end).name
        failpoint = f"HTLC update {end.name}->{other}"
        self.kernel.call_later(LATENCY_SECONDS, lambda: self._hear(end), self.connection.lifetime, failpoint)

    def _hear(self, end: "SimNode") -> None:
        if self.closed or not self._sent[end.name]:
            return
        what, htlc = self._sent[end.name].popleft()
        if what == "add":
            htlc.arrived = True
            htlc.receiver.take_htlc(htlc)
        else:
            self._settle_up(htlc)

    def _settle_up(self, htlc: SimHtlc) -> None:
        if htlc.gone:
            return
        htlc.gone = True
        self.kernel.changed()
        self.htlcs.remove(htlc)
        winner = htlc.offerer if htlc.preimage is None else htlc.receiver
        self.balance_msat[winner.name] += htlc.amount_msat
        htlc.receiver.incoming_gone(htlc)
        htlc.offerer.outgoing_done(htlc)
        if self.closing_since is not None and not self.htlcs:
            self.close()

    # --- other names, and cooperative closes ---

    def rename(self) -> None:
        """The channel is confirmed, or spliced. Its earlier names stay valid (LND aliasmgr/aliasmgr.go; CLN
        lightningd/channel.c: channel_add_old_scid).
        """
        if not self.closed:
            self.names.insert(0, ShortChannelId(self.scid + (len(self.names) << 40)))
            self._tell_ends()

    def close_by_agreement(self) -> None:
        """One side requests a mutual close: no HTLC is added any more, and the existing ones must be removed first."""
        if self.closed or self.closing_since is not None:
            return
        self.closing_since = self.kernel.now
        self.kernel.changed()
        if self.htlcs:
            self._tell_ends()
        else:
            self.close()

    def _tell_ends(self) -> None:
        for end in self.connection.ends:
            if end.running:
                end.link_changed(self)

    # --- on chain ---

    def close(self) -> None:
        """Either end goes on chain: no messages are sent any more, HTLCs are resolved by preimage or expiry."""
        if self.closed:
            return
        self.closed = True
        self._claimable_from = self.connection.ends[0].chain.height + self.congestion_blocks
        self.established.clear()
        for end in self.connection.ends:
            self.kernel.log(end.name, "channel %s goes on chain", self.scid)
            end.channel_closed(self)
        self.kernel.call_later(CONFIRMATION_SECONDS, self._claim)

    def on_block(self, height: int) -> None:
        """Handle a block: go on chain if necessary, or claim outputs there."""
        if self.closed:
            self._claim()
        else:
            self.close_if_in_danger(height)

    def close_if_in_danger(self, height: int) -> None:
        """Go on chain if one of its ends has to, at this height."""
        if not self.closed and any(self._in_danger(htlc, height) for htlc in self.htlcs):
            self.close()

    def _in_danger(self, htlc: SimHtlc, height: int) -> bool:
        receiver = htlc.receiver
        near = htlc.expiry - height <= receiver.implementation.claims_before_blocks
        if near and receiver.running and receiver.can_claim(htlc):
            return True
        offerer = htlc.offerer
        return offerer.running and height >= htlc.expiry + offerer.implementation.closes_after_blocks

    def _claim(self) -> None:
        height = self.connection.ends[0].chain.height
        if height < self._claimable_from:
            return
        for htlc in list(self.htlcs):
            if not htlc.resolved and htlc.receiver.running and htlc.receiver.can_claim(htlc):
                self.resolve(htlc, htlc.receiver.preimages[htlc.payment_hash])
            if htlc.amount_msat < DUST_MSAT and htlc.arrived:
                self._lose(htlc)
            elif htlc.preimage is not None or not htlc.arrived or height >= htlc.expiry:
                self._settle_up(htlc)

    def _lose(self, htlc: SimHtlc) -> None:
        """Dust is lost as fees of the commitment transaction. Its offerer fails the corresponding incoming HTLC
        (LND contractcourt/channel_arbitrator.go: abandonForwards; CLN onchaind/onchaind.c: handle_missing_htlc_output).
        """
        if htlc.key in htlc.receiver.circuits:
            htlc.receiver.lost_dust.append(htlc)
        if htlc.incoming is not None or not htlc.offerer.intercepts:
            htlc.offerer.lost_dust.append(htlc)
        htlc.preimage, htlc.resolved, htlc.gone = None, True, True
        self.kernel.changed()
        self.htlcs.remove(htlc)
        htlc.receiver.incoming_gone(htlc)
        htlc.offerer.outgoing_done(htlc)


START_HEIGHT = 500
BLOCK_SECONDS = 600.0
ROW_SECONDS = 2.0


class Chain:
    """A chain with a block every ten minutes, and whenever a disturbance mines. on_height: called with every height."""

    def __init__(self, kernel: Kernel) -> None:
        self.height = START_HEIGHT
        self.nodes: list[SimNode] = []
        self.channels: list[Channel] = []
        self.on_height: list[Callable[[int], None]] = []
        self._kernel = kernel
        kernel.call_later(BLOCK_SECONDS, self._tick)

    def mine(self) -> None:
        """A block is found."""
        self.height += 1
        for node in self.nodes:
            if node.running:
                node.heights.append(self.height)
                node.on_block(self.height)
        for act in self.on_height:
            act(self.height)
        for channel in self.channels:
            channel.on_block(self.height)

    def catch_up(self, node: "SimNode") -> None:
        """A node runs again, and goes on chain for HTLCs that have become due meanwhile (LND
        contractcourt/channel_arbitrator.go: progressStateMachineAfterRestart; CLN processes block after block).
        """
        node.heights.append(self.height)
        for channel in node.channels():
            channel.close_if_in_danger(self.height)

    def mine_in_a_row(self, blocks: int) -> None:
        """This number of blocks is found, a few seconds apart."""
        for number in range(blocks):
            self._kernel.call_later(number * ROW_SECONDS, self.mine)

    def _tick(self) -> None:
        self._kernel.failpoint("a block is found")
        self.mine()
        self._kernel.call_later(BLOCK_SECONDS, self._tick)


def link_view(node: "SimNode", channel: Channel) -> Link:
    """Return a channel, as its end `node` lists it."""
    peer = channel.connection.other(node)
    return Link(
        channel_id=ChannelId.from_name(channel.scid),
        short_channel_id=channel.names[0],
        aliases=frozenset(channel.names[1:]),
        peer=peer.id,
        usable=channel.usable_by(node),
        closing=channel.closing_since is not None,
    )


def terms_view(node: "SimNode", peers: Collection[NodeId]) -> tuple[ChannelTerms, ...]:
    """Return the terms of its open channels with these peers; all forward on the same terms."""
    policy = ForwardingPolicy(fee_base_msat=FEE_MSAT, fee_ppm=0, cltv_delta_blocks=DELTA_BLOCKS)
    return tuple(
        ChannelTerms(peer=peer, names=frozenset(channel.names), policy=policy, dust_msat=DUST_MSAT)
        for peer in peers
        for channel in node.channels(peer)
        if not channel.closed
    )


def pending_view(node: "SimNode") -> tuple[PendingHtlc, ...]:
    """All HTLCs on open channels, both ways."""
    return tuple(
        PendingHtlc(
            key=htlc.key,
            peer=channel.connection.other(node).id,
            incoming=htlc.offerer is not node,
            payment_hash=htlc.payment_hash,
            amount_msat=htlc.amount_msat,
            expiry=htlc.expiry,
        )
        for channel in node.channels()
        if not channel.closed
        for htlc in channel.htlcs
        if htlc.arrived or htlc.offerer is node
    )


def held_view(node: "SimNode", htlc: SimHtlc) -> HeldHtlc:
    """An HTLC on which the node waits for its component."""
    step = htlc.route[0]
    onwards = node.channels(step.to)
    return HeldHtlc(
        key=htlc.key,
        payment_hash=htlc.payment_hash,
        peer=htlc.offerer.id,
        incoming_amount_msat=htlc.amount_msat,
        outgoing_amount_msat=step.amount_msat,
        incoming_expiry=htlc.expiry,
        outgoing_expiry=step.expiry,
        outgoing_channel=onwards[0].names[0] if onwards else None,
    )
