"""The LSP's node, which obeys LND's or CLN's rules: channels, peers, held HTLCs, and payments of its own."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from asyncpay.engine.lsp.interface import (
    ForceCloseReported,
    LspEvent,
    PaymentReported,
    PayOnBehalf,
    QueryTerms,
    ResolveHtlc,
    TermsReported,
)
from asyncpay.lightning import (
    Capabilities,
    ChannelId,
    ChannelTerms,
    ForwardingPolicy,
    HeldHtlc,
    HtlcKey,
    Link,
    NodeId,
    PaymentResult,
    PaymentStatus,
    PendingHtlc,
    Resolution,
    ShortChannelId,
)
from asyncpay.node_events import (
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

from .factories import (
    CHANNEL_A,
    CHANNEL_A2,
    CHANNEL_B,
    CHANNEL_ROUTER,
    FINAL_EXPIRY,
    HASH,
    HEIGHT,
    PREIMAGE,
    ROUTER,
    A,
    B,
    link,
)

OFFERED_BLOCKS = 22
"""What comes back nearer to its expiry LND fails by itself."""
FREE = ForwardingPolicy(fee_base_msat=0, fee_ppm=0, cltv_delta_blocks=0)


@dataclass
class NodeHtlc:
    """An HTLC on the LSP's incoming channel, as its node sees it."""

    htlc: HeldHtlc
    in_memory: bool = True  # in LND's held set, or with CLN's plugin
    forwarded: bool = False
    fate: str = "held"  # held, forwarded, failed, settled; the latter two are on their way to the payer
    answers: list[Resolution] = field(default_factory=list)


class ScriptedLspNode(ABC):
    """What happens is put into `queue`; who runs it comes from the harness, which is built upon this."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.height = HEIGHT
        self.attached = False
        self.links = {
            each.channel_id: each
            for each in (
                link(CHANNEL_A, A),
                link(CHANNEL_A2, A),
                link(CHANNEL_B, B),
                link(CHANNEL_ROUTER, ROUTER),
            )
        }
        self.online = {A, B, ROUTER}
        self.htlcs: dict[HtlcKey, NodeHtlc] = {}
        self.policies = dict.fromkeys((each.short_channel_id for each in self.links.values()), FREE)
        self.dust_msat = 0
        self.tells_terms = True
        self.paid: dict[bytes, PaymentResult] = {}
        self.pay_orders: list[PayOnBehalf] = []
        self.force_closes: list[ChannelId] = []
        self.closes_channels = self.tells_closes = True
        self.losses: list[str] = []
        self._queue: deque[LspEvent] = deque()
        self.tells_payments = True
        self._awaited: dict[bytes, bool] = {}
        """Payments that the shell waits for, and whether by the order itself."""
        self._own_expiry: dict[bytes, int] = {}
        self._next_id = 0

    @abstractmethod
    def attach(self) -> None:
        """The LSP's process attaches."""

    @abstractmethod
    def detach(self) -> None:
        """The node goes away, or its stream does."""

    @abstractmethod
    def run(self) -> None:
        """Have the engine decide on all that is in the queue."""

    def _tell(self, event: LspEvent) -> None:
        """Have it decide on this now, if it is attached."""
        if self.attached:
            self._queue.append(event)
            self.run()

    # --- HTLCs ---

    def _answer(self, answer: ResolveHtlc) -> None:
        each = self.htlcs[answer.key]
        each.answers.append(answer.resolution)
        if answer.resolution is Resolution.RESUME:
            if each.fate == "held":
                self._forward(each)
            return
        if each.forwarded:
            self.losses.append(f"{answer.resolution} of {answer.key}, which was forwarded")
        if answer.resolution is Resolution.SETTLE:
            assert answer.preimage is not None
            assert sha256(answer.preimage).digest() == each.htlc.payment_hash
            each.fate = "settled"
        else:
            each.fate = "failed"
        self._resolve(each)

    def _forward(self, each: NodeHtlc) -> None:
        outgoing = self.link_named(each.htlc.outgoing_channel)
        incoming = self.links[each.htlc.key.channel_id]
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
        link = self.links.get(each.htlc.key.channel_id)
        there = link is None or link.usable or (link.closing and link.peer in self.online)
        if each.fate in ("failed", "settled") and there:
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
            outgoing = self.link_named(each.htlc.outgoing_channel)
            if each.fate == "forwarded" and outgoing is not None:
                yield PendingHtlc(
                    key=HtlcKey(outgoing.channel_id, 1000 + each.htlc.key.htlc_id),
                    peer=outgoing.peer,
                    incoming=False,
                    payment_hash=each.htlc.payment_hash,
                    amount_msat=each.htlc.outgoing_amount_msat,
                    expiry=each.htlc.outgoing_expiry,
                )

    def pay(self, amount_msat: int = 1000, **changes: Any) -> HtlcKey:
        """A sends a part; its key."""
        key = HtlcKey(ChannelId.from_name(changes.pop("channel", CHANNEL_A)), self._next_id)
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

    # --- peers and channels ---

    def restart_node(self) -> None:
        """The node is killed and starts again, its peers still away."""
        self.detach()
        for peer in list(self.online):
            self._set_links(peer, usable=False)
        self.online.clear()
        for each in self.htlcs.values():
            if each.fate == "settled" and not each.forwarded and not self.capabilities.keeps_settlements:
                each.fate = "held"
            each.in_memory = bool(self.capabilities.reoffers_without_payer)
        self.attach()

    def connect(self, peer: NodeId) -> None:
        self.online.add(peer)
        self._set_links(peer, usable=True)
        self._tell(PeerConnected(peer))
        for channel in self.links.values():
            if channel.peer == peer:
                self._tell(LinkChanged(channel))
        for each in self.htlcs.values():
            if each.htlc.peer == peer:
                if not each.in_memory and each.fate == "held":
                    self._offer_again(each)
                self._resolve(each)
        self.run()

    def _offer_again(self, each: NodeHtlc) -> None:
        """An HTLC of a payer who is back; near its expiry LND fails it by itself, and does not ask."""
        each.in_memory = True
        if each.htlc.incoming_expiry >= self.height + OFFERED_BLOCKS:
            self._tell(HtlcOffered(each.htlc))
            return
        each.fate = "failed"
        if Resolution.SETTLE in each.answers:
            self.losses.append(f"{each.htlc.key} was claimed, and the node has failed it")

    def disconnect(self, peer: NodeId) -> None:
        self.online.discard(peer)
        self._set_links(peer, usable=False)
        self._tell(PeerDisconnected(peer))
        for channel in self.links.values():
            if channel.peer == peer:
                self._tell(LinkChanged(channel))

    def change_link(self, first_name: ShortChannelId, **changes: Any) -> None:
        """A channel gets other names, or another state."""
        channel_id = ChannelId.from_name(first_name)
        self.links[channel_id] = replace(self.links[channel_id], **changes)
        self._tell(LinkChanged(self.links[channel_id]))

    def close_channel(self, short_channel_id: ShortChannelId) -> None:
        """Somebody closes a channel; its HTLCs go on chain with it."""
        closed = ChannelId.from_name(short_channel_id)
        del self.links[closed]
        for each in self.htlcs.values():
            if each.htlc.key.channel_id == closed:
                each.fate += " and gone"
        self._tell(LinkClosed(closed))

    def force_close(self, channel_id: ChannelId) -> None:
        """The LSP has asked for it."""
        self.force_closes.append(channel_id)
        if self.closes_channels and channel_id in self.links:
            self.close_channel(self.links[channel_id].short_channel_id)
        if self.tells_closes:
            self._queue.append(ForceCloseReported(channel_id))

    def replay(self, key: HtlcKey) -> None:
        """Offer an HTLC again that was answered long ago (lnd#5115)."""
        self._queue.append(HtlcOffered(self.htlcs[key].htlc))
        self.run()

    def _set_links(self, peer: NodeId, *, usable: bool) -> None:
        for channel_id, each in self.links.items():
            if each.peer == peer:
                self.links[channel_id] = replace(each, usable=usable and not each.closing)

    def link_named(self, name: ShortChannelId | None) -> Link | None:
        return next((each for each in self.links.values() if name in each.names), None)

    # --- blocks ---

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
            forgotten = Resolution.SETTLE in each.answers and not each.in_memory
            if each.fate == "held" and not forgotten and each.htlc.incoming_expiry - self.height <= blocks:
                each.fate = "failed"
                if self.attached and each.in_memory:
                    self.losses.append(f"the node cut off {each.htlc.key}")

    # --- payments of its own ---

    def terms(self, query: QueryTerms) -> None:
        """Tell the terms of its channels, and what it knows of the payment."""
        known = self.paid.get(query.payment_hash, PaymentResult(status=PaymentStatus.UNKNOWN)).status
        channels = tuple(
            ChannelTerms(
                peer=each.peer,
                names=each.aliases | {each.short_channel_id},
                policy=self.policies.get(each.short_channel_id),
                dust_msat=self.dust_msat,
            )
            for each in self.links.values()
            if each.peer in query.peers
        )
        self._queue.append(TermsReported(query.block, channels if self.tells_terms else None, known))

    def pay_on_behalf(self, order: PayOnBehalf) -> None:
        """A hash is paid once."""
        self.pay_orders.append(order)
        if order.payment_hash not in self.paid:
            self._own_expiry[order.payment_hash] = order.latest_expiry
            self.paid[order.payment_hash] = PaymentResult(status=PaymentStatus.IN_FLIGHT)
        self._await(order.payment_hash, of_order=True)

    def _await(self, payment_hash: bytes, *, of_order: bool = False) -> None:
        """The shell has asked about a payment: it hears once it is decided, or at once if there is none."""
        if not self.tells_payments:
            return
        result = self.paid.get(payment_hash, PaymentResult(status=PaymentStatus.UNKNOWN))
        if result.status is PaymentStatus.IN_FLIGHT:
            self._awaited[payment_hash] = of_order or self._awaited.get(payment_hash, False)
        else:
            self._queue.append(PaymentReported(payment_hash, result, of_order))

    def lose_sight(self) -> None:
        """The call that carries the LSP's own order breaks; the shell asks again."""
        if HASH in self._awaited:
            self._awaited[HASH] = False
        self._tell(PaymentReported(HASH, PaymentResult(status=PaymentStatus.IN_FLIGHT), of_order=True))

    def finish_own_payment(self, *, preimage: bytes | None, payment_hash: bytes = HASH) -> None:
        """The LSP's own payment is decided: with a preimage it succeeded."""
        status = PaymentStatus.FAILED if preimage is None else PaymentStatus.SUCCEEDED
        self.paid[payment_hash] = PaymentResult(status=status, preimage=preimage)
        if payment_hash in self._awaited:
            self._tell(PaymentReported(payment_hash, self.paid[payment_hash], self._awaited.pop(payment_hash)))
