"""What these tests say: who pays whom, where the HTLCs are, and who has the money in the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from harness.checks import balances, scenario_table
from harness.checks.balances import Balances
from harness.checks.scenario_table import Recorder
from harness.services.phone import Phone
from harness.services.wallet import HANDED_OVER, SETTLED
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

AMOUNT_MSAT = 12_340_000
"""Enough for an LSP to pay it on behalf (policy on_behalf_min_part_msat)."""
SETTLE_SECONDS = 90


@dataclass(frozen=True)
class Deal:
    """Somebody is to pay somebody."""

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
        """The payee's wallet has seen all of it arrive."""

        def missing() -> str | None:
            states = [
                each["state"] for each in self.payee.wallet.announced() if self.payment_hash in each["payment_hashes"]
            ]
            return None if "paid" in states else f"{self.payee.name} says {states}"

        wait_for(Predicate(f"{self.payee.name}_paid", missing), timeout_seconds)

    def wait_until(self, *states: str, timeout_seconds: float = SETTLE_SECONDS) -> dict[str, Any]:
        """The payer's wallet says so; the payment as it then is."""
        wait_for(self.payer.wallet.has_payment(self.payment_hash, *states), timeout_seconds)
        payment = self.payer.wallet.payment(self.payment_hash)
        assert payment is not None
        return payment


@dataclass(frozen=True)
class Scene:
    """A testbed whose phones are all online, and what everybody had when the test began.

    record: takes what harness.checks.scenario_table tells of the scenario, such as pytest's `record_property`.
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

    def deal(self, amount_msat: int = AMOUNT_MSAT, payer: Phone | None = None, payee: Phone | None = None) -> Deal:
        """The payee makes an invoice and gives it to the payer."""
        payer, payee = payer or self.a, payee or self.b
        invoice = payee.wallet.receive(amount_msat)
        return Deal(payer, payee, invoice["invoice"], invoice["payment_hash"], amount_msat)

    def fault(self, what: str) -> None:
        """Note that something goes wrong now, on purpose: `SIGKILL wallet`, `blackhole`, `block after the deadline`."""
        self.record(scenario_table.FAULT, what)

    def outcome(self, what: str) -> None:
        """Note what has become of the money, where neither of the two last methods of this class says it."""
        self.record(scenario_table.OUTCOME, what)

    def noted(self, lsp: str, deal: Deal) -> list[str]:
        """What an LSP's component has written down of a payment."""
        events = self.testbed.lsp(lsp).events()
        return [event["what"] for event in events if deal.payment_hash in event.get("payment_hashes", ())]

    def block(self, deal: Deal) -> dict[str, Any] | None:
        """What the payer's LSP has of a payment that it was asked to hold."""
        blocks = self.testbed.lsp(deal.payer.lsp.name).status()["blocks"]
        return next((block for block in blocks if deal.payment_hash in block["payment_hashes"]), None)

    def wait_for_block(self, deal: Deal, *stages: str, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """The payer's LSP has the payment's block in one of these stages."""

        def missing() -> str | None:
            block = self.block(deal)
            stage = "unknown" if block is None else block["stage"]
            return None if stage in stages else f"the block is {stage}"

        wait_for(Predicate(f"block_{'_or_'.join(stages).replace(' ', '_')}", missing), timeout_seconds)

    def htlcs(self, node: str) -> int:
        """How many HTLCs stand on the channels of a node, by its own account."""
        return sum(channel.htlcs for channel in self.testbed[node].channels())

    def wait_for_htlcs(self, **counts: int) -> None:
        """So many HTLCs stand on each of these nodes' channels."""

        def missing() -> str | None:
            seen = {node: self.htlcs(node) for node in counts}
            return None if seen == counts else f"HTLCs {seen}, not {counts}"

        wait_for(Predicate("htlcs", missing))

    def assert_paid(self, *deals: Deal) -> None:
        """Each payer has proof and has paid once, fees included; each payee has it all; nobody on the way has lost."""
        expected: dict[str, int] = {}
        for deal in deals:
            payment = deal.wait_until(SETTLED)
            assert sha256(bytes.fromhex(payment["preimage"])).hexdigest() == deal.payment_hash
            change(expected, deal.payer.name, -deal.amount_msat - payment["fee_msat"])
            change(expected, deal.payee.name, deal.amount_msat)
        moved = balances.count(self.testbed).moved_since(self.before)
        phones = {name: moved[name] for name in self.testbed.phones}
        assert phones == {name: expected.get(name, 0) for name in self.testbed.phones}
        assert all(moved[name] >= 0 for name in moved.keys() - phones.keys()), f"somebody on the way has lost: {moved}"
        self.outcome(scenario_table.PAID)

    def assert_nobody_paid(self, *deals: Deal) -> None:
        """Every payment has failed, and everybody has what they had."""
        for deal in deals:
            deal.wait_until("failed")
        assert balances.count(self.testbed) == self.before
        self.outcome(scenario_table.RETURNED)


def change(amounts: dict[str, int], name: str, by: int) -> None:
    """Add to what somebody is expected to have gained."""
    amounts[name] = amounts.get(name, 0) + by


def restore(testbed: Testbed, phones: Iterable[Phone]) -> None:
    """Every phone awake and connected, as the next test expects them."""
    for phone in phones:
        phone.restore()
    for phone in phones:
        wait_for(phone.wallet.ready(), 60)
