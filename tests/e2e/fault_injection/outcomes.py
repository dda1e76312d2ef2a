"""How a payment ends that something happened to, at one of the protocol's moments (steps.MOMENTS).

All that is struck comes back long before any deadline, and every link is mended: so the payment is paid, unless a
reason stands here for which it is returned in full, or for which a race decides.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass

from asyncpay.lightning import Capabilities
from harness.checks.scenario_table import PAID, RETURNED
from harness.faults.targets import Fault
from tests.support.implementations import capabilities
from tests.support.payment_harness import Deal, Scene

from .steps import assert_paid_once_or_returned

EITHER = frozenset({PAID, RETURNED})
DOWN = frozenset({Fault.KILL.value, Fault.RESTART.value})
ANY_FAULT = frozenset(fault.value for fault in Fault)
UNTIL_LET_GO = frozenset(
    {"1-request", "2-accept", "3-pay", "3-held", "4-hand-over", "5-pending", "6-release", "7-let-go"}
)


@dataclass(frozen=True)
class Unless:
    """In these cells it may end otherwise. on: only where the payer's LSP runs on a node with these capabilities."""

    steps: Set[str]
    names: Set[str]
    what: Set[str]
    outcomes: Set[str]
    because: str
    on: Callable[[Capabilities], bool] = lambda _: True

    def holds(self, step: str, name: str, what: str, node: Capabilities) -> bool:
        return step in self.steps and name in self.names and what in self.what and self.on(node)


EXCEPTIONS = (
    Unless(
        {"3-pay"},
        {"LSP_a"},
        DOWN,
        {RETURNED},
        "the payer's node has no other peer to pay through, and a payment that could not begin has failed",
    ),
    Unless(
        {"3-pay"},
        {"LSP_a-lsp"},
        ANY_FAULT,
        EITHER,
        "an HTLC that comes while the LSP's component is away is failed, by LND at once, by CLN's plugin after ten "
        "seconds: it depends on who is there first",
    ),
    Unless(
        UNTIL_LET_GO,
        {"LSP_b-lsp"},
        ANY_FAULT,
        EITHER,
        "as before, at the payee's LSP: the HTLC is on its way within seconds",
    ),
    Unless(
        {"3-pay"},
        {"LSP_a"},
        {Fault.SUSPEND.value},
        EITHER,
        "LND's component takes a node that is silent for half a minute for dead: when it goes on, the HTLC and the "
        "component come to it at the same moment",
    ),
    Unless(UNTIL_LET_GO, {"LSP_b"}, {Fault.SUSPEND.value}, EITHER, "as before, at the payee's LSP"),
    Unless(
        {"7-let-go"},
        {"router", "LSP_b"},
        DOWN,
        {RETURNED},
        "the LSP has let go of the HTLC, and it comes to a hop that cannot pass it on",
    ),
    Unless(
        {"7-let-go"},
        {"A"},
        DOWN,
        {RETURNED},
        "it has decided while the payer was there, and its node fails what it is to forward for a payer who is away",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
    Unless(
        {"5-pending", "6-release"},
        {"A"},
        DOWN,
        EITHER,
        "the release may come before the LSP's node has noticed that the payer is away, and then it is as before",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
    Unless(
        {"3-pay"},
        {"A"},
        {"resets"},
        EITHER,
        "the payer's node pays if it is connected at this moment, and else has no way",
    ),
    Unless(
        {"7-let-go"},
        {"A"},
        {"resets"},
        EITHER,
        "as when the payer is down; but between two resets it is there",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
)


def expected(step: str, name: str, what: str, node: Capabilities) -> Set[str]:
    """How it may end. node: the payer's LSP's."""
    return next((unless.outcomes for unless in EXCEPTIONS if unless.holds(step, name, what, node)), {PAID})


def assert_ended(scene: Scene, deal: Deal, step: str, name: str, what: str) -> None:
    """It has ended as it must."""
    ended = assert_paid_once_or_returned(scene, deal)
    outcomes = expected(step, name, what, capabilities(scene.testbed, scene.a.lsp.name))
    assert ended in outcomes, f"{ended}, not {' or '.join(sorted(outcomes))}"
