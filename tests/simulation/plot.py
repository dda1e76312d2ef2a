"""What a payer and a payee who are accomplices have agreed on: every number that the protocol lets them choose.

They hold the preimage and the pid together, and want the money of whoever stands between them. Nothing here
breaks a rule that their peers' nodes would check by themselves; where a node refuses, node.py does.
"""

from dataclasses import dataclass
from random import Random

from .channels import DELTA_BLOCKS, DUST_MSAT, FEE_MSAT

LONGEST_HOLD_SECONDS = 14 * 86_400 - 600
LEAST_PART_MSAT = 1_000_000
"""An LSP pays on behalf for parts of so much, and for none below: see LSP_POLICY in world.py."""


@dataclass(frozen=True, slots=True)
class PlotPart:
    """One HTLC of the payer's. Blocks are counted from the height at which it leaves.

    brings_msat, brings_blocks: amount and expiry of the HTLC itself. asks_msat, asks_blocks: what its onion has
    the payer's LSP send on.
    """

    brings_msat: int
    brings_blocks: int
    asks_msat: int
    asks_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """amount_msat: of the invoice and of the block_request. final_blocks: the invoice's min_final_cltv_expiry.
    blinded_blocks: the invoice has a blinded path with nothing but an introduction node, which asks for so many.
    hold_blocks, hold_seconds: release_by_height and hold_until, from now. with_invoice: the LSP gets it.
    shows_pid_after, payer_leaves_after, payer_returns_after, payer_closes_after: seconds from the payment.
    takes_before_blocks: how long before its expiry the payee takes an HTLC, or after it if negative; None: it fails
    every HTLC at once. payee_leaves: it is away from when it has the HTLC.
    congestion_blocks: what a claim on the payee's channel waits for its confirmation.
    """

    parts: tuple[PlotPart, ...]
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
    takes_before_blocks: int | None
    payee_leaves: bool
    congestion_blocks: int

    @classmethod
    def draw(cls, random: Random, hops: int) -> "Plot":
        """Any plot; most numbers are those of an honest payment, or nearly. hops: channels behind the LSP.

        The money that is easiest to take is the LSP's own. So in every second plot it is to pay on behalf: it has the
        invoice and the time, and the payer is gone when the pid is shown.
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
            takes_before_blocks=random.choice([None, 30, 17, 1, 0, -1]),
            payee_leaves=random.random() < 0.4,
            congestion_blocks=random.choice([0, 6, 30]),
        )

    @staticmethod
    def _part(random: Random, amount_msat: int, final_blocks: int, hops: int, *, odd: bool) -> PlotPart:
        """odd: also with numbers that no honest payer would choose, beside its fees."""
        fees = FEE_MSAT * random.choice([hops - 1, hops - 1, hops, 10 * hops])
        brings_msat = amount_msat + fees + random.choice([FEE_MSAT, FEE_MSAT, FEE_MSAT, 0, 0, 20 * FEE_MSAT])
        asks_blocks = final_blocks + DELTA_BLOCKS * (hops - 1)
        if not odd:
            return PlotPart(brings_msat, asks_blocks + DELTA_BLOCKS, amount_msat + fees, asks_blocks)
        asks_msat = random.choice([amount_msat + fees] * 8 + [2**64 - 1, 0])
        asks_blocks += random.choice([0, 0, 0, 0, -20, 200])
        brings_blocks = asks_blocks + random.choice([DELTA_BLOCKS] * 6 + [0, -10, 100])
        return PlotPart(
            brings_msat=brings_msat,
            brings_blocks=max(1, brings_blocks),
            asks_msat=asks_msat,
            asks_blocks=random.choice([asks_blocks] * 9 + [2**32 - 1, 0]),
        )
