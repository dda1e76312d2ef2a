"""The outcome of a payment after a fault at one of the protocol's steps (steps.PAUSE_POINTS).

Every target is restored long before any deadline. So the payment succeeds, unless an exemption says why it may be
returned in full.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass

from asyncpay.lightning import Capabilities
from harness.checks.scenario_table import PAID, RETURNED
from harness.faults.targets import Fault
from tests.support.implementations import capabilities
from tests.support.payment_harness import PaymentCase, PaymentHarness

from .steps import assert_paid_once_or_returned

EITHER = frozenset({PAID, RETURNED})
DOWN = frozenset({Fault.KILL.value, Fault.RESTART.value})
ANY_FAULT = frozenset(fault.value for fault in Fault)
UNTIL_LET_GO = frozenset(
    {"1-request", "2-accept", "3-pay", "3-held", "4-hand-over", "5-pending", "6-release", "7-let-go"}
)


@dataclass(frozen=True)
class Exemption:
    """Cells with other outcomes. on: only where the node of the payer's LSP has these capabilities."""

    steps: Set[str]
    names: Set[str]
    what: Set[str]
    outcomes: Set[str]
    because: str
    on: Callable[[Capabilities], bool] = lambda _: True

    def applies(self, step: str, name: str, what: str, node: Capabilities) -> bool:
        return step in self.steps and name in self.names and what in self.what and self.on(node)


EXEMPTIONS = (
    Exemption(
        {"3-pay"},
        {"LSP_a"},
        DOWN,
        {RETURNED},
        "the payer's node has no other peer to pay through, and a payment that could not begin has failed",
    ),
    Exemption(
        {"3-pay"},
        {"LSP_a-lsp"},
        ANY_FAULT,
        EITHER,
        "an HTLC that arrives while the LSP's component is down is failed, by LND immediately, by CLN's plugin after "
        "ten seconds: the outcome depends on whether HTLC or component comes first",
    ),
    Exemption(
        UNTIL_LET_GO,
        {"LSP_b-lsp"},
        ANY_FAULT,
        EITHER,
        "as before, at the payee's LSP: the HTLC is on its way within seconds",
    ),
    Exemption(
        {"3-pay"},
        {"LSP_a"},
        {Fault.SUSPEND.value},
        EITHER,
        "LND's component regards a node that is silent for half a minute as dead: when the node resumes, the HTLC and "
        "the component reach it at the same time",
    ),
    Exemption(UNTIL_LET_GO, {"LSP_b"}, {Fault.SUSPEND.value}, EITHER, "as before, at the payee's LSP"),
    Exemption(
        {"7-let-go"},
        {"router", "LSP_b"},
        DOWN,
        {RETURNED},
        "the LSP has released the HTLC, and it reaches a hop that cannot forward it",
    ),
    Exemption(
        {"7-let-go"},
        {"A"},
        DOWN,
        {RETURNED},
        "it has decided while the payer was online, and its node fails an HTLC to be forwarded for an offline payer",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
    Exemption(
        {"5-pending", "6-release"},
        {"A"},
        DOWN,
        EITHER,
        "the release may come before the LSP's node has noticed that the payer is away, and then it is as before",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
    Exemption(
        {"3-pay"},
        {"A"},
        {"resets"},
        EITHER,
        "the payer's node pays if it is connected at this moment, and otherwise has no route",
    ),
    Exemption(
        {"7-let-go"},
        {"A"},
        {"resets"},
        EITHER,
        "as when the payer is down; but between two resets it is connected",
        on=lambda node: not node.forwards_with_payer_offline,
    ),
)


def expected(step: str, name: str, what: str, node: Capabilities) -> Set[str]:
    """Return the allowed outcomes. node: the capabilities of the payer's LSP's node."""
    return next((each.outcomes for each in EXEMPTIONS if each.applies(step, name, what, node)), {PAID})


def assert_ended(payments: PaymentHarness, case: PaymentCase, step: str, name: str, what: str) -> None:
    """Assert that the payment has an allowed outcome."""
    ended = assert_paid_once_or_returned(payments, case)
    outcomes = expected(step, name, what, capabilities(payments.testbed, payments.a.lsp.name))
    assert ended in outcomes, f"{ended}, not {' or '.join(sorted(outcomes))}"
