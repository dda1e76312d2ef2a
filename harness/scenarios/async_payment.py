"""An async payment, the purpose of the protocol: A pays B, and the two are never online at the same time.

It runs on a testbed of line.yaml or a variant of it: in the demo, and for each combination of implementations in the
matrix.
"""

from collections.abc import Callable
from hashlib import sha256

from asyncpay.amounts import show_sat
from harness.checks import balances
from harness.checks.balances import Balances
from harness.errors import TestbedError
from harness.nodes.predicates import payment_gone
from harness.services.wallet import HANDED_OVER, SETTLED, Plain
from harness.testbed import Testbed
from harness.timeline import steps
from harness.timeline.steps import Reached, Roles
from harness.waits import Predicate, wait_for

AMOUNT_MSAT = 25_000_000
STEP_SECONDS = 120
READY_SECONDS = 60
ROLES = Roles(payer="A", payer_lsp="LSP_a", payee_lsp="LSP_b", payee="B")


class AsyncPaymentError(TestbedError):
    """The payment had the wrong outcome; the message says what is wrong."""


class AsyncPayment:
    """One payment, with the phones going offline and online. Raises AsyncPaymentError, or the error of a failed step.

    tell: called with each action on the phones and its result. show: called with each step when it is reached.
    """

    def __init__(
        self,
        testbed: Testbed,
        tell: Callable[[str], None] = lambda _: None,
        show: Callable[[Reached], None] = lambda _: None,
    ) -> None:
        self.reached: list[Reached] = []
        self.preimage = ""
        self._testbed = testbed
        self._tell = tell
        self._show = show
        self._a, self._b = testbed.phone(ROLES.payer), testbed.phone(ROLES.payee)
        self._payment: Plain = {}

    def play(self) -> dict[str, int]:
        """Run the eight steps. Return the change of each node's balance, in millisatoshi."""
        for phone in (self._a, self._b):
            wait_for(phone.wallet.ready(), READY_SECONDS)
        before = balances.count(self._testbed)
        invoice = self._b.wallet.receive(AMOUNT_MSAT, "--description", "a coffee, some day")
        self._tell(f"B makes an invoice of {show_sat(AMOUNT_MSAT)}, and gives it to A by any means.")
        self._b.disconnect()
        self._tell("B's phone is disconnected.")

        self._pay(invoice["invoice"])
        self._a.disconnect()
        self._tell("A's phone is disconnected. Both are offline now; LSP_a holds the payment, and the message waits.")

        self._b.reconnect()
        self._tell("B's phone is back.")
        self._until(7, f"B has the {show_sat(AMOUNT_MSAT)} while A is away", self._missing_at_b)
        self._b.disconnect()
        self._tell("B's phone is disconnected again.")

        self._a.reconnect()
        self._tell("A's phone is back.")
        self._until(8, "A has the preimage", self._missing_at_a)
        self._b.reconnect()
        self._tell("B's phone is connected again, so that the balances can be checked.")
        return self._counted(before, invoice["payment_hash"])

    def _pay(self, invoice: str) -> None:
        self._payment = self._a.wallet.pay(invoice)
        self._look_for_news()
        if self._payment["state"] != HANDED_OVER:
            raise AsyncPaymentError(f"A could not hand over: {self._payment['failure'] or self._payment['state']}")
        self._tell("A's wallet reports: handed over, the phone may go offline.")

    def _until(self, step: int, what: str, missing: Callable[[], str | None]) -> None:
        """Wait until the money has moved, and show the steps as they are reached."""

        def look() -> str | None:
            self._look_for_news()
            numbers = {reached.step.number for reached in self.reached}
            return missing() or (None if step in numbers else f"step {step} is not reached")

        wait_for(Predicate(what.replace(" ", "_"), look), STEP_SECONDS)
        self._tell(what + ".")

    def _missing_at_b(self) -> str | None:
        payment_hash = self._payment["payment_hash"]
        states = [each["state"] for each in self._b.wallet.announced() if payment_hash in each["payment_hashes"]]
        if "paid" not in states:
            return f"B says {states}"
        # A node reports a paid invoice before its peer has committed to the removal of the HTLC. A phone that goes
        # offline in between takes the preimage with it.
        return payment_gone((self._b.node,), payment_hash).missing()

    def _missing_at_a(self) -> str | None:
        self._payment = self._a.wallet.payment(self._payment["payment_hash"]) or self._payment
        return None if self._payment["state"] == SETTLED else f"A says {self._payment['state']}"

    def _look_for_news(self) -> None:
        """Show the steps that were reached since the last call, in their order."""
        known = {reached.step.number for reached in self.reached}
        names = self._payment["payment_hash"], self._payment["unblock_hash"]
        for reached in steps.of_payment(self._testbed, ROLES, *names):
            if reached.step.number not in known:
                self.reached.append(reached)
                self._show(reached)

    def _counted(self, before: Balances, payment_hash: str) -> dict[str, int]:
        """Check that the preimage is valid, B has the full amount, A has paid once, and no forwarding node has lost."""
        self.preimage = self._payment["preimage"]
        if sha256(bytes.fromhex(self.preimage)).hexdigest() != payment_hash:
            raise AsyncPaymentError(f"A's preimage {self.preimage} is not that of payment {payment_hash}")
        moved = balances.count(self._testbed).moved_since(before)
        paid = {"A": -AMOUNT_MSAT - self._payment["fee_msat"], "B": AMOUNT_MSAT}
        if {name: moved[name] for name in paid} != paid or any(moved[name] < 0 for name in moved.keys() - paid.keys()):
            fee_msat = self._payment["fee_msat"]
            raise AsyncPaymentError(f"the balances are wrong: {moved}, A's fee {fee_msat} msat")
        return moved
