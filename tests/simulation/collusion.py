"""A payer and a payee who collude against the nodes between them, and choose every number that the protocol allows.

Together they know the preimage and the pid, and want the money of the nodes between them. They break no rule that
their peers' nodes check by themselves; node.py refuses what a node would refuse.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from asyncpay.wire.messages import UNSIGNED, BlockRequest, PaymentRelease, unblock_hash

from .channels import DELTA_BLOCKS, DUST_MSAT, FEE_MSAT, HopPayload, SimHtlc
from .invoices import Invoices
from .node import SimNode
from .wallet import signed

if TYPE_CHECKING:
    from .simulation import Simulation

SECONDS_TO_BLOCK = 0.5
"""The time from the block_request to the payment: a colluder does not wait for the answer."""
RESTART_SECONDS = 8.0


LONGEST_HOLD_SECONDS = 14 * 86_400 - 600


LEAST_PART_MSAT = 1_000_000
"""The smallest part for which an LSP pays on behalf: see LSP_POLICY in simulation.py."""


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One HTLC of the payer. Blocks are counted from the height at which it is sent.

    brings_msat, brings_blocks: amount and expiry of the HTLC itself. asks_msat, asks_blocks: amount and expiry that its
    onion requests for the outgoing HTLC of the payer's LSP.
    """

    brings_msat: int
    brings_blocks: int
    asks_msat: int
    asks_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollusionPlan:
    """amount_msat: of the invoice and of the block_request. final_blocks: the invoice's min_final_cltv_expiry.
    blinded_blocks: the invoice has a blinded path with only an introduction node, which requests this CLTV delta.
    hold_blocks, hold_seconds: release_by_height and hold_until, from now. with_invoice: the LSP receives it.
    shows_pid_after, payer_leaves_after, payer_returns_after, payer_closes_after: seconds from the payment.
    payer_returns_blocks: the payer returns this many blocks before its first HTLC expires.
    restart_blocks: LSP_a's node is restarted this many blocks before that; colluders can wait for such an event.
    takes_before_blocks: how long before its expiry the payee takes an HTLC, or after it if negative; None: it fails
    every HTLC immediately. payee_leaves: it is offline after it has received the HTLC.
    congestion_blocks: how long a claim on the payee's channel waits for its confirmation.
    """

    parts: tuple[PlannedPart, ...]
    amount_msat: int
    final_blocks: int
    blinded_blocks: int | None
    hold_blocks: int
    hold_seconds: int
    with_invoice: bool
    shows_pid_after: float
    payer_leaves_after: float | None
    payer_returns_after: float | None
    payer_closes_after: float | None
    payer_returns_blocks: int | None
    restart_blocks: int | None
    takes_before_blocks: int | None
    payee_leaves: bool
    congestion_blocks: int

    @classmethod
    def draw(cls, random: Random, hops: int) -> "CollusionPlan":
        """Draw any plan; most numbers are equal or close to those of an honest payment. hops: channels behind the LSP.

        The LSP's own money is the easiest target. So in every second plan the LSP has to pay on behalf: it has the
        invoice and enough time, and the payer is offline when the pid is sent.
        """
        on_behalf = random.random() < 0.5
        odd = not on_behalf or random.random() < 0.3
        amount = random.choice([1_000, DUST_MSAT - 1, LEAST_PART_MSAT, 50_000_000, 50_000_000])
        count = random.choice([1, 1, 1, 2, 3])
        slack = random.choice([60, 100] if on_behalf else [3, 30, 60, 100, 100])
        final = random.choice([18, 24, 24, 80])
        return cls(
            parts=tuple(cls._part(random, amount // count, final + slack, hops, odd=odd) for _ in range(count)),
            amount_msat=amount // count * count,
            final_blocks=final,
            blinded_blocks=random.choice([None] * (9 if on_behalf else 3) + [0, final + 60, 400]),
            hold_blocks=slack,
            hold_seconds=random.choice([120, LONGEST_HOLD_SECONDS, LONGEST_HOLD_SECONDS]),
            with_invoice=on_behalf or random.random() < 0.9,
            shows_pid_after=random.choice([3.0, 30.0] if on_behalf else [0.5, 3.0, 30.0]),
            payer_leaves_after=random.choice([0.2, 1.0] if on_behalf else [None, 0.2, 1.0, 1.0, 20.0]),
            payer_returns_after=random.choice([None, None, 40.0, 3000.0]),
            payer_closes_after=random.choice([None, None, None, 2.0, 60.0, 3000.0]),
            payer_returns_blocks=random.choice([None, None, 20, 17]),
            restart_blocks=random.choice([None, 43, 25]),
            takes_before_blocks=random.choice([None, 30, 17, 1, 0, -1]),
            payee_leaves=random.random() < 0.4,
            congestion_blocks=random.choice([0, 6, 30]),
        )

    @staticmethod
    def _part(random: Random, amount_msat: int, final_blocks: int, hops: int, *, odd: bool) -> PlannedPart:
        """odd: also use numbers, other than fees, that no honest payer would choose."""
        fees = FEE_MSAT * random.choice([hops - 1, hops - 1, hops, 10 * hops])
        brings_msat = amount_msat + fees + random.choice([FEE_MSAT, FEE_MSAT, FEE_MSAT, 0, 0, 20 * FEE_MSAT])
        asks_blocks = final_blocks + DELTA_BLOCKS * (hops - 1)
        if not odd:
            return PlannedPart(brings_msat, asks_blocks + DELTA_BLOCKS, amount_msat + fees, asks_blocks)
        asks_msat = random.choice([amount_msat + fees] * 8 + [2**64 - 1, 0])
        asks_blocks += random.choice([0, 0, 0, 0, -20, 200])
        brings_blocks = asks_blocks + random.choice([DELTA_BLOCKS] * 6 + [0, -10, 100])
        return PlannedPart(
            brings_msat=brings_msat,
            brings_blocks=max(1, brings_blocks),
            asks_msat=asks_msat,
            asks_blocks=random.choice([asks_blocks] * 9 + [2**32 - 1, 0]),
        )


class Colluders:
    """`sent`: the payer's HTLCs."""

    def __init__(self, sim: "Simulation", plan: CollusionPlan) -> None:
        self._sim, self._plan = sim, plan
        self.sent: list[SimHtlc] = []
        sim.phone_a.wakes_after = sim.phone_b.wakes_after = None
        sim.b.invoices = WithholdingInvoices(sim.b, plan, sim)
        for channel in sim.b_link.channels:
            channel.congestion_blocks = plan.congestion_blocks
        self._text = "lnbcrt1collusion"
        invoice = sim.decode["lnbcrt1"]
        sim.decode[self._text] = replace(
            invoice,
            text=self._text,
            amount_msat=plan.amount_msat,
            min_final_cltv_expiry=plan.final_blocks,
            has_blinded_paths=plan.blinded_blocks is not None,
        )
        if plan.blinded_blocks is not None:
            for node in sim.chain.nodes:
                node.payments.blinded_blocks[self._text] = plan.blinded_blocks

    def begin(self) -> None:
        """Start the plan; everything else follows from it."""
        plan, sim = self._plan, self._sim
        sim.phone_b.wake(None)
        self._request()
        call_later = sim.kernel.call_later
        call_later(SECONDS_TO_BLOCK, self._pay)
        call_later(SECONDS_TO_BLOCK + plan.shows_pid_after, self._show_pid)
        sim.chain.on_height.append(self._keep_dates)
        for seconds, deed in (
            (plan.payer_leaves_after, sim.phone_a.sleep),
            (plan.payer_returns_after, lambda: sim.phone_a.wake(None)),
            (plan.payer_closes_after, self._close),
        ):
            if seconds is not None:
                call_later(SECONDS_TO_BLOCK + seconds, deed)

    def _keep_dates(self, height: int) -> None:
        left_blocks = self.sent[0].expiry - height if self.sent else None
        if left_blocks is None:
            return
        if left_blocks == self._plan.restart_blocks:
            self._sim.lsp_a_node.kill()
            self._sim.kernel.call_later(RESTART_SECONDS, self._sim.lsp_a_node.start)
        if left_blocks == self._plan.payer_returns_blocks:
            self._sim.phone_a.wake(None)

    def _request(self) -> None:
        plan, sim = self._plan, self._sim
        request = BlockRequest(
            unblock_hash=unblock_hash(sim.pid),
            payment_hashes=(sim.payment_hash,),
            invoice=self._text if plan.with_invoice else None,
            amount_msat=plan.amount_msat,
            release_by_height=sim.a.height + plan.hold_blocks,
            hold_until=int(sim.kernel.now) + plan.hold_seconds,
            signature=UNSIGNED,
        )
        sim.messenger.send_to_peer(sim.a, sim.lsp_a_node.id, signed(request, sim.a, sim.lsp_a_node.id))

    def _pay(self) -> None:
        channels = [each for each in self._sim.a_link.channels if each.usable_by(self._sim.a)]
        for number, part in enumerate(self._plan.parts):
            if channels:
                channel = channels[number % len(channels)]
                if channel.balance_msat["A"] >= part.brings_msat:
                    self.sent.append(self._htlc(part))
                    self.sent[-1].channel = channel
                    channel.add(self.sent[-1])

    def _htlc(self, part: PlannedPart) -> SimHtlc:
        """Behind the LSP the numbers are honest: the nodes there have no component that holds."""
        sim, height = self._sim, self._sim.a.height
        steps = [
            HopPayload(
                node.id,
                max(0, part.asks_msat - place * FEE_MSAT),
                min(2**32 - 1, height + part.asks_blocks) - place * DELTA_BLOCKS,
            )
            for place, node in enumerate(sim.line[2:])
        ]
        return SimHtlc(
            channel=sim.a_link.channels[0],
            number=0,
            offerer=sim.a,
            payment_hash=sim.payment_hash,
            amount_msat=part.brings_msat,
            expiry=height + part.brings_blocks,
            route=tuple(steps),
            total_msat=self._plan.amount_msat,
        )

    def _show_pid(self) -> None:
        sim = self._sim
        sim.phone_b.wallet.shown.add(sim.pid)
        sim.messenger.send_to(sim.b, sim.lsp_a_node.id, PaymentRelease(pid=sim.pid))
        sim.messenger.send_to_peer(sim.a, sim.lsp_a_node.id, PaymentRelease(pid=sim.pid))

    def _close(self) -> None:
        for channel in self._sim.a_link.channels:
            channel.close()


class WithholdingInvoices(Invoices):
    """Invoices of a payee that takes an HTLC according to the plan, not when its invoice allows it."""

    def __init__(self, node: SimNode, plan: CollusionPlan, sim: "Simulation") -> None:
        super().__init__(node)
        self._plan, self._sim = plan, sim
        self._withheld: list[SimHtlc] = []
        node.chain.on_height.append(self._take_due)

    def take(self, htlc: SimHtlc) -> None:
        """See Invoices.take."""
        if htlc.payment_hash != self._sim.payment_hash or self._plan.takes_before_blocks is None:
            htlc.channel.resolve(htlc, None)
            return
        self._withheld.append(htlc)
        if self._plan.payee_leaves:
            self._node.kernel.call_later(1.0, self._sim.phone_b.sleep)

    def _take_due(self, height: int) -> None:
        before = self._plan.takes_before_blocks
        for htlc in list(self._withheld):
            if before is not None and htlc.expiry - height <= before:
                self._withheld.remove(htlc)
                if htlc.gone:  # its offerer's claim after the expiry came first
                    continue
                self._node.kernel.log("B", "takes what it withheld, %d blocks before its expiry", htlc.expiry - height)
                self._sim.invoice.times_paid += 1
                self._sim.invoice.paid_msat += htlc.amount_msat
                htlc.channel.resolve(htlc, self._sim.preimage)
