"""The setup of a run: the nodes' implementations, and how people behave. The defaults are the calmest."""

from dataclasses import dataclass, fields
from random import Random
from typing import Any

from .collusion import CollusionPlan
from .implementations import IMPLEMENTATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """
    payer, payer_lsp, payee_lsp, payee: implementations. shared: one LSP serves both.
    parts: of the payment. sends_anew: the payer's node retries failed parts at once.
    slow_seconds: the time that the payer's node needs to find a route for a part.
    private: the LSP does not receive the invoice. literal: no reply path, the payee builds it.
    courier: the payer gives its LSP a copy of its message to the payee, which the LSP retransmits.
    careless_blocks: how much too high the payer's release_by_height is.
    first_htlc_id: the first HTLC id of peers, if their other end accepts it.
    replays: an HTLC that was forwarded is offered again when its payer reconnects (lnd#5115).
    slack_blocks, return_blocks, hold_seconds: the payer's request.
    on_disk: the stores are files on the disk, not in memory.
    payer_leaves: seconds from the handover to the payer's sleep. payer_leaves_early: seconds from its order.
    hands_over_early: seconds from the order at which a payer of another implementation hands over, held or not.
    payer_wakes_after, payee_wakes_after: seconds from a push to the phone being awake; None: it ignores pushes.
    payee_stays: seconds that a push keeps the payee awake; iOS gives an app 30 or less.
    payee_awake: always, from the start. payee_willing: its invoice can be paid.
    payee_returns, payer_returns: comes online after the disturbances. payer_first: the payer before the payee.
    turbulence_seconds: for how long disturbances are injected.
    collusion: payer and payee collude against the LSPs, by this plan.
    """

    payer: str = "LND"
    payer_lsp: str = "LND"
    payee_lsp: str = "LND"
    payee: str = "LND"
    shared: bool = False
    parts: int = 1
    sends_anew: bool = False
    slow_seconds: float = 0.0
    private: bool = False
    literal: bool = False
    courier: bool = True
    careless_blocks: int = 0
    first_htlc_id: int = 0
    replays: bool = False
    slack_blocks: int = 40
    return_blocks: int = 144
    hold_seconds: int = 86_400
    on_disk: bool = False
    payer_leaves: float | None = None
    payer_leaves_early: float | None = None
    payer_wakes_after: float | None = 2.0
    hands_over_early: float | None = None
    payee_awake: bool = True
    payee_wakes_after: float | None = 2.0
    payee_stays: float = 60.0
    payee_willing: bool = True
    payee_returns: bool = True
    payer_returns: bool = True
    payer_first: bool = True
    turbulence_seconds: float = 60.0
    collusion: CollusionPlan | None = None

    def differences(self) -> dict[str, Any]:
        """Return the fields that differ from the calmest setup."""
        return {name: getattr(self, name) for name, _ in Setup().differences_from(self)}

    def differences_from(self, other: "Setup") -> list[tuple[str, Any]]:
        """Fields in which `other` differs from this setup, with this setup's values."""
        return [
            (each.name, getattr(self, each.name))
            for each in fields(self)
            if getattr(self, each.name) != getattr(other, each.name)
        ]

    @classmethod
    def draw(cls, random: Random) -> "Setup":
        """Draw any setup; all kinds are frequent."""

        def often(chance: float) -> bool:
            return random.random() < chance

        def implementation() -> str:
            return random.choice(list(IMPLEMENTATIONS))

        shared = often(0.2)
        return cls(
            payer=implementation(),
            payer_lsp=implementation(),
            payee_lsp=implementation(),
            payee=implementation(),
            shared=shared,
            parts=random.choice([1, 1, 2, 3]),
            sends_anew=often(0.3),
            slow_seconds=random.choice([0.0, 0.0, 0.0, 0.5]),
            private=often(0.4),
            literal=often(0.15),
            courier=often(0.6),
            careless_blocks=random.choice([0, 0, 0, 0, 400]),
            first_htlc_id=random.choice([0, 0, 0, 2**31 - 2, 2**63 - 2, 2**64 - 10_000]),
            replays=often(0.3),
            slack_blocks=random.choice([3, 12, 40, 80]),
            return_blocks=random.choice([5, 20, 144]),
            hold_seconds=random.choice([120, 120, 1800, 86_400, 86_400, 86_400]),
            on_disk=often(0.02),
            payer_leaves=random.choice([None, 0.0, 1.0, 1.0, 30.0]),
            payer_leaves_early=random.choice([None, None, None, None, 0.05, 0.3, 1.0]),
            payer_wakes_after=random.choice([2.0, 2.0, 50.0, None, None]),
            hands_over_early=random.choice([*[None] * 11, 0.1]),
            payee_awake=often(0.3),
            payee_wakes_after=random.choice([2.0, 2.0, 40.0, 200.0, None]),
            payee_stays=random.choice([60.0, 60.0, 10.0, 3.0]),
            payee_willing=often(0.93),
            payee_returns=often(0.85),
            payer_returns=often(0.75),
            payer_first=often(0.5),
            turbulence_seconds=random.choice([10.0, 60.0, 200.0, 1500.0, 4000.0]),
            collusion=CollusionPlan.draw(random, 1 if shared else 3) if often(0.2) else None,
        )
