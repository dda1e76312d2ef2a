"""Payments between the phones of a testbed: make them, follow them, and check the balances at the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from harness.checks import balances, scenario_table
from harness.checks.balances import Balances
from harness.checks.scenario_table import Recorder
from harness.progress import each
from harness.services.phone import Phone
from harness.services.wallet import HANDED_OVER, SETTLED
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

AMOUNT_MSAT = 12_340_000
"""Enough for an LSP to pay it on behalf (policy on_behalf_min_part_msat)."""
SETTLE_SECONDS = 90


@dataclass(frozen=True)
class PaymentCase:
    """One invoice of a payee, to be paid by a payer."""

    payer: Phone
    payee: Phone
    invoice: str
    payment_hash: str
    amount_msat: int

    def hand_over(self, *options: str) -> dict[str, Any]:
        """Pay, until the payer's phone may go offline."""
        payment = self.payer.wallet.pay(self.invoice, *options)
        assert payment["state"] == HANDED_OVER, payment
        return payment

    def wait_until_paid(self, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Wait until the payee's wallet has received the full amount."""

        def missing() -> str | None:
            states = [
                each["state"] for each in self.payee.wallet.announced() if self.payment_hash in each["payment_hashes"]
            ]
            return None if "paid" in states else f"{self.payee.name} says {states}"

        wait_for(Predicate(f"{self.payee.name}_paid", missing), timeout_seconds)

    def wait_until(self, *states: str, timeout_seconds: float = SETTLE_SECONDS) -> dict[str, Any]:
        """Wait until the payment is in one of these states in the payer's wallet. Return the payment."""
        wait_for(self.payer.wallet.has_payment(self.payment_hash, *states), timeout_seconds)
        payment = self.payer.wallet.payment(self.payment_hash)
        assert payment is not None
        return payment


@dataclass(frozen=True)
class PaymentHarness:
    """A testbed whose phones are all online, and the balances when the test began.

    record: a function such as pytest's `record_property`, called with the properties of
    harness.checks.scenario_table.
    """

    testbed: Testbed
    before: Balances
    record: Recorder = field(default=lambda name, value: None, kw_only=True)

    @property
    def a(self) -> Phone:
        """The payer."""
        return self.testbed.phone("A")

    @property
    def b(self) -> Phone:
        """The payee."""
        return self.testbed.phone("B")

    def new_case(
        self, amount_msat: int = AMOUNT_MSAT, payer: Phone | None = None, payee: Phone | None = None
    ) -> PaymentCase:
        """Make an invoice of the payee for the payer."""
        payer, payee = payer or self.a, payee or self.b
        invoice = payee.wallet.receive(amount_msat)
        return PaymentCase(payer, payee, invoice["invoice"], invoice["payment_hash"], amount_msat)

    def record_fault(self, what: str) -> None:
        """Record an injected fault for the table of scenarios, such as `SIGKILL wallet` or `blackhole`."""
        self.record(scenario_table.FAULT, what)

    def record_outcome(self, what: str) -> None:
        """Record the outcome for the table of scenarios, if neither `assert_paid` nor `assert_nobody_paid` is used."""
        self.record(scenario_table.OUTCOME, what)

    def logged(self, lsp: str, case: PaymentCase) -> list[str]:
        """Return the names of the events that an LSP's component has logged of a payment."""
        events = self.testbed.lsp(lsp).events()
        return [event["what"] for event in events if case.payment_hash in event.get("payment_hashes", ())]

    def block(self, case: PaymentCase) -> dict[str, Any] | None:
        """Return the block of a payment at the payer's LSP, from the status of its component."""
        blocks = self.testbed.lsp(case.payer.lsp.name).status()["blocks"]
        return next((block for block in blocks if case.payment_hash in block["payment_hashes"]), None)

    def wait_for_block(self, case: PaymentCase, *states: str, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Wait until the payment's block is in one of these states at the payer's LSP."""

        def missing() -> str | None:
            block = self.block(case)
            state = "unknown" if block is None else block["state"]
            return None if state in states else f"the block is {state}"

        wait_for(Predicate(f"block_{'_or_'.join(states).replace(' ', '_')}", missing), timeout_seconds)

    def htlcs(self, node: str) -> int:
        """Return the number of HTLCs on the channels of a node, as the node lists them."""
        return sum(channel.htlcs for channel in self.testbed[node].channels())

    def wait_for_htlcs(self, **counts: int) -> None:
        """Wait until each of these nodes lists this number of HTLCs."""

        def missing() -> str | None:
            seen = {node: self.htlcs(node) for node in counts}
            return None if seen == counts else f"HTLCs {seen}, not {counts}"

        wait_for(Predicate("htlcs", missing))

    def assert_paid(self, *cases: PaymentCase) -> None:
        """Each payer has the preimage and paid once, plus fees; each payee has the amount; no hop has lost money."""
        expected: dict[str, int] = {}
        for case in cases:
            payment = case.wait_until(SETTLED)
            assert sha256(bytes.fromhex(payment["preimage"])).hexdigest() == case.payment_hash
            change(expected, case.payer.name, -case.amount_msat - payment["fee_msat"])
            change(expected, case.payee.name, case.amount_msat)
        moved = balances.count(self.testbed).moved_since(self.before)
        phones = {name: moved[name] for name in self.testbed.phones}
        assert phones == {name: expected.get(name, 0) for name in self.testbed.phones}
        assert all(moved[name] >= 0 for name in moved.keys() - phones.keys()), f"a forwarding node has lost: {moved}"
        self.record_outcome(scenario_table.PAID)

    def assert_nobody_paid(self, *cases: PaymentCase) -> None:
        """Every payment has failed, and all balances are as before."""
        for case in cases:
            case.wait_until("failed")
        assert balances.count(self.testbed) == self.before
        self.record_outcome(scenario_table.RETURNED)


def change(amounts: dict[str, int], name: str, by: int) -> None:
    """Add to the expected gain of a node."""
    amounts[name] = amounts.get(name, 0) + by


def restore(phones: Iterable[Phone]) -> None:
    """Wake and connect the phones in parallel, and wait until their wallets can pay."""

    def one(phone: Phone) -> None:
        phone.restore()
        wait_for(phone.wallet.ready(), 60)

    each(one, phones)
