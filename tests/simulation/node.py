"""A simulated Lightning node: peers, forwarded HTLCs, and its events for its component.
It follows the rules of its `Implementation`, and answers the calls of `asyncpay.nodes.base.Node`
without waiting. State that a real node writes to disk survives `kill`; everything else does not.
"""

from hashlib import sha256
from typing import TYPE_CHECKING

from coincurve import PrivateKey

from asyncpay.lightning import ChannelId, HtlcKey, NodeId, PendingHtlc, Resolution
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    NodeEvent,
    PeerConnected,
    PeerDisconnected,
)

from .channels import DELTA_BLOCKS, FEE_MSAT, Chain, Channel, HopPayload, SimHtlc, held_view, link_view, pending_view
from .implementations import Implementation
from .invoices import Invoices
from .kernel import Kernel, Lifetime
from .network import Connection, Network
from .onions import Onions, Relay
from .payments import Payments

if TYPE_CHECKING:
    from .process import Process

FARTHEST_BLOCKS = 2016
TOLD_SECONDS = 0.001
ANSWERED_SECONDS = 0.004
NETWORK_NAME = "regtest"


class SimNode:
    """One node. `intercepts`: HTLCs that it forwards wait for its component's answer.
    heights: at which it ran, in order. preimages: of its own payments, by payment hash.
    lost_dust: HTLCs that were dust on a closed channel; not those that an LSP paid on behalf.
    """

    def __init__(
        self,
        kernel: Kernel,
        chain: Chain,
        network: Network,
        onions: Onions,
        name: str,
        implementation: type[Implementation],
    ) -> None:
        self.kernel, self.chain, self.network, self.onions = kernel, chain, network, onions
        self.name, self.implementation = name, implementation
        self.key = PrivateKey(sha256(name.encode()).digest())
        self.id: NodeId = self.key.public_key.format()
        self.connections: dict[NodeId, Connection] = {}
        self.intercepts = False
        self.replays = False
        self.running = True
        self.lifetime = Lifetime()
        self.height, self.heights = chain.height, [chain.height]
        self.held: dict[HtlcKey, SimHtlc] = {}
        self.circuits: dict[HtlcKey, SimHtlc] = {}
        self.answers: dict[HtlcKey, list[Resolution]] = {}
        self.cut_off: list[HtlcKey] = []
        self.lost_dust: list[SimHtlc] = []
        self.preimages: dict[bytes, bytes] = {}
        self.payments = Payments(self)
        self.invoices = Invoices(self)
        self.relay = Relay(self)
        self._component: Process | None = None
        self._stream, self._answering = Lifetime(), Lifetime()
        self._in_memory: dict[HtlcKey, None] = {}
        self._taken: set[HtlcKey] = set()
        self._detached_at = 0.0
        self.on_offer: set[HtlcKey] = set()
        self._untold: list[tuple[SimHtlc, NodeEvent]] = []
        self._missed: list[SimHtlc] = []
        chain.nodes.append(self)

    # --- starting and stopping ---

    def kill(self, *, silently: bool = False) -> None:
        """Kill the node's process. `silently`: its peers do not notice immediately."""
        if not self.running:
            return
        self.running = False
        self.lifetime.over = True
        for connection in self.connections.values():
            other = connection.other(self)
            connection.drop(unnoticed_by=(self, other) if silently else (self,))
            connection.forget(self)
        self._in_memory.clear()
        self._taken.clear()
        self._untold.clear()
        if self.intercepts and not self.implementation.capabilities.keeps_settlements:
            for channel in self.channels():
                self.held.update({htlc.key: htlc for htlc in channel.forget_answers(self)})
        self._answering = self._answering.end()
        self._lose_component()

    def _lose_component(self) -> None:
        component = self._component
        self.detach()
        if component is not None:
            component.node_died()

    def start(self) -> None:
        """Start it again, with its peers not connected yet."""
        if self.running:
            return
        self.running, self.lifetime = True, Lifetime()
        self.height = self.chain.height
        if self.implementation.capabilities.reoffers_without_payer:
            self._in_memory.update(dict.fromkeys(self.held))
            self._taken.update(self.held)  # as far as the node knows
        for connection in self.connections.values():
            connection.dial_soon(0.2)
        self.invoices.start()
        missed, self._missed = self._missed, []
        for htlc in missed:
            self.outgoing_done(htlc)
        self.chain.catch_up(self)

    def attach(self, component: "Process") -> bool:
        """Attach a component. Return False if the node does not run."""
        if not self.running:
            return False
        self.detach()
        self._component = component
        self.report(
            Attached(
                node_id=self.id,
                network=NETWORK_NAME,
                height=self.height,
                links=tuple(link_view(self, channel) for channel in self.channels() if not channel.closed),
                online=frozenset(peer for peer, each in self.connections.items() if each.seen_by(self)),
            )
        )
        for key in self._in_memory:
            self._offer(self.held[key])
        return True

    def detach(self) -> None:
        """The component's stream ends."""
        if self._component is not None:
            self._detached_at = self.kernel.now
        self._component = None
        self._stream = self._stream.end()
        self.on_offer.clear()

    @property
    def attached(self) -> "Process | None":
        """Who listens."""
        return self._component

    def plugin_dies(self) -> None:
        """CLN continues every held HTLC without an answer. It then stops, because the plugin is important:
        test_cln_plugin.py::test_a_plugin_that_is_killed_lets_go_of_what_it_holds_and_lightningd_stops.
        """
        self._answering = self._answering.end()
        self._lose_component()
        for htlc in list(self.held.values()):
            self._forget(htlc)
            self._forward(htlc)

    def report(self, event: NodeEvent) -> None:
        """Report to the component, in order."""
        if (component := self._component) is not None:
            self.kernel.call_later(TOLD_SECONDS, lambda: component.hear(event), self._stream)

    # --- peers, channels, blocks ---

    def channels(self, peer: NodeId | None = None) -> list[Channel]:
        """Its channels, or those with one peer."""
        return [
            channel
            for other, connection in self.connections.items()
            if peer is None or other == peer
            for channel in connection.channels
        ]

    def peer_seen(self, peer: "SimNode", connected: bool) -> None:
        """A peer connected or disconnected, as far as this node knows."""
        self.report(PeerConnected(peer.id) if connected else PeerDisconnected(peer.id))
        if not connected:
            self._tell_links(self.connections[peer.id])

    def reestablished(self, connection: Connection) -> None:
        """The channels with a peer are usable again."""
        self._tell_links(connection)
        for channel in connection.channels:
            for key, htlc in list(self.held.items()):
                if htlc.channel is channel and key not in self._in_memory:
                    self._hold(htlc)
            if self.replays and self.implementation.replays_to_interceptor:
                for htlc in channel.htlcs:
                    if htlc.key in self.circuits and not htlc.resolved and htlc.receiver is self:
                        self._offer(htlc)
        told, self._untold = self._untold, []
        for htlc, event in told:
            self._tell_outcome(htlc, event)

    def link_changed(self, channel: Channel) -> None:
        """A channel has another name, or is about to be closed by agreement."""
        self.report(LinkChanged(link_view(self, channel)))

    def channel_closed(self, channel: Channel) -> None:
        """A channel went on chain. LND offers its held HTLCs again, and then accepts only a preimage."""
        self.report(LinkClosed(ChannelId.from_name(channel.scid)))
        for key, htlc in list(self.held.items()):
            if htlc.channel is channel:
                self._forget(htlc)
                if self.implementation.offers_on_chain:
                    self.held[key] = htlc
                    self._in_memory[key] = None
                    self._offer(htlc)

    def on_block(self, height: int) -> None:
        """The chain has grown."""
        self.height = height
        for key in list(self._in_memory):
            htlc = self.held[key]
            if htlc.expiry - height <= self.implementation.fails_held_blocks and not htlc.channel.closed:
                if self._component is not None:
                    self.cut_off.append(key)
                self._fail(htlc)
        self.report(BlockConnected(height))

    def _tell_links(self, connection: Connection) -> None:
        for channel in connection.channels:
            if not channel.closed:
                self.report(LinkChanged(link_view(self, channel)))

    def pending_htlcs(self) -> tuple[PendingHtlc, ...]:
        """All HTLCs on open channels, both ways."""
        return pending_view(self)

    # --- forwarded HTLCs ---

    def take_htlc(self, htlc: SimHtlc) -> None:
        """An HTLC is irrevocably committed."""
        if not htlc.route:
            self.invoices.take(htlc)
        elif not self.intercepts:
            self._forward(htlc)
        elif self._component is None and not self.implementation.unattached_seconds:
            self._fail(htlc)
        else:
            self.held[htlc.key] = htlc
            self._hold(htlc)

    def answer(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> bool:
        """Handle the component's answer. Return False if the node cannot receive it."""
        if not self.running or key not in self.on_offer:
            return False
        self.on_offer.discard(key)
        self.kernel.call_later(ANSWERED_SECONDS, lambda: self._obey(key, resolution, preimage), self._answering)
        return True

    def _obey(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> None:
        forwarded = self.circuits.get(key)
        htlc = self.held.get(key) or (forwarded.incoming if forwarded else None)
        if htlc is None or (htlc.channel.closed and resolution is not Resolution.SETTLE):
            return  # on chain LND accepts only a preimage, and its adapter sends nothing else
        self.kernel.changed()
        self.answers.setdefault(key, []).append(resolution)
        match resolution:
            case Resolution.RESUME if forwarded is None:
                self._forget(htlc)
                self._forward(htlc)
            case Resolution.FAIL:
                self._fail(htlc)
            case Resolution.SETTLE:
                self._forget(htlc)
                htlc.channel.resolve(htlc, preimage)

    def _hold(self, htlc: SimHtlc) -> None:
        if htlc.expiry < self.height + self.implementation.offers_from_blocks:
            self._fail(htlc)
            return
        self._in_memory[htlc.key] = None
        self._offer(htlc)
        self._wait_for_component(htlc)

    def _wait_for_component(self, htlc: SimHtlc) -> None:
        """Fail the HTLC unless a component receives it in time (CLN's plugin does this by itself)."""

        def look() -> None:
            if htlc.key not in self._in_memory or htlc.key in self._taken:
                return
            away_since = self.kernel.now if self._component is not None else self._detached_at
            if self.kernel.now >= max(away_since, htlc.offered_at) + patience:
                self._fail(htlc)
            else:
                self.kernel.call_later(1.0, look, self.lifetime)

        patience = self.implementation.unattached_seconds
        if patience:
            self.kernel.call_later(patience, look, self.lifetime)

    def can_claim(self, htlc: SimHtlc) -> bool:
        """Whether it knows the preimage of an HTLC that it has received, and has not failed it."""
        if htlc.resolved:
            return htlc.preimage is not None
        known = htlc.arrived and htlc.payment_hash in self.preimages
        return known and self.implementation.claims_with_any_preimage

    def force_close(self, channel_id: ChannelId) -> None:
        """Force-close a channel for the component."""
        for channel in self.channels():
            if ChannelId.from_name(channel.scid) == channel_id:
                channel.close()

    def _offer(self, htlc: SimHtlc) -> None:
        if self._component is not None:
            htlc.offered_at = self.kernel.now
            self._taken.add(htlc.key)
            self.on_offer.add(htlc.key)
            self.report(HtlcOffered(held_view(self, htlc)))

    def _forget(self, htlc: SimHtlc) -> None:
        self.held.pop(htlc.key, None)
        self._in_memory.pop(htlc.key, None)
        self.on_offer.discard(htlc.key)

    def _fail(self, htlc: SimHtlc) -> None:
        self._forget(htlc)
        htlc.channel.resolve(htlc, None)

    def _forward(self, htlc: SimHtlc) -> None:
        if htlc.resolved:
            return
        step, *rest = htlc.route
        onward = self._onward_channel(htlc, step)
        if onward is None:
            self._fail(htlc)
            self.report(HtlcFailed(htlc.key))
            return
        outgoing = SimHtlc(
            channel=onward,
            number=0,
            offerer=self,
            payment_hash=htlc.payment_hash,
            amount_msat=step.amount_msat,
            expiry=step.expiry,
            route=tuple(rest),
            total_msat=htlc.total_msat,
            incoming=htlc,
        )
        self.circuits[htlc.key] = outgoing
        onward.add(outgoing)

    def _onward_channel(self, htlc: SimHtlc, step: HopPayload) -> Channel | None:
        """Return the channel to forward an HTLC, by the rules of the protocol and of the implementation."""
        rules = self.implementation
        payer_matters = self.intercepts and not rules.capabilities.forwards_with_payer_offline
        if payer_matters and not htlc.channel.answerable_by(self):
            return None
        if htlc.amount_msat - step.amount_msat < FEE_MSAT or htlc.expiry - step.expiry < DELTA_BLOCKS:
            return None
        if not rules.least_outgoing_blocks < step.expiry - self.height <= FARTHEST_BLOCKS:
            return None
        connection = self.connections.get(step.to)
        return None if connection is None else connection.channel_for(self, step.amount_msat)

    def outgoing_done(self, htlc: SimHtlc) -> None:
        """An HTLC that this node offered was settled or failed downstream."""
        if not self.running:
            self._missed.append(htlc)
        elif htlc.incoming is None:
            if htlc.preimage is not None:
                self.preimages[htlc.payment_hash] = htlc.preimage
            self.payments.part_done(htlc)
        else:
            incoming = htlc.incoming
            incoming.channel.resolve(incoming, htlc.preimage)
            outcome = HtlcFailed(incoming.key) if htlc.preimage is None else HtlcSettled(incoming.key, htlc.preimage)
            self._tell_outcome(incoming, outcome)

    def incoming_gone(self, htlc: SimHtlc) -> None:
        """An HTLC that this node received has left its channel."""
        self._forget(htlc)
        if self.running and htlc.route:
            self.report(HtlcGone(htlc.key))

    def _tell_outcome(self, incoming: SimHtlc, event: NodeEvent) -> None:
        payer_there = incoming.channel.connection.seen_by(self)
        if payer_there or self.implementation.tells_settlement_without_payer:
            self.report(event)
        else:
            self._untold.append((incoming, event))
