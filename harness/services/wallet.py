"""A phone's wallet, controlled by its own command line inside the phone.

Queries, which waits repeat, go through the phone's init, because the command line starts a process for each call.
"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from harness.engines.base import Engine, EngineError
from harness.errors import NodeError
from harness.services.answers import cleaned
from harness.services.phone_container import WALLET, WALLET_CLI, PhoneContainer
from harness.waits import Predicate

HANDED_OVER, SETTLED, FAILED = "handed over", "settled", "failed"
"""The states of a payment in which `pay` returns."""

Plain = dict[str, Any]


class WalletError(NodeError):
    """The wallet refuses, or does not answer; the message has its error."""


class Wallet:
    """One phone's wallet. Calls raise WalletError, also while the phone is asleep."""

    def __init__(self, container: PhoneContainer, engine: Engine) -> None:
        self.phone = container.name
        self._container = container
        self._engine = engine

    def call(self, command: str, *arguments: str) -> Any:
        """Return the output of a command with --json. A failed payment is a result, not an error."""
        try:
            said = self._engine.output(self.phone, [*WALLET_CLI, command, "--json", *arguments])
        except EngineError as error:
            raise WalletError(str(error)) from None
        try:
            return cleaned(json.loads(said.stdout))
        except ValueError:
            raise WalletError(f"{self.phone}: {said.stderr.strip() or said.stdout!r}") from None

    def _ask(self, verb: str) -> Plain:
        """Return the running wallet's answer, which its command line prints with --json."""
        try:
            answer: Plain = self._container.ask(WALLET, verb)
        except NodeError as error:
            raise WalletError(str(error)) from None
        return answer

    def receive(self, amount_msat: int, *options: str) -> Plain:
        """Return a new invoice: `invoice` (BOLT 11), `payment_hash`, `amount_msat`, `expires_at`."""
        invoice: Plain = self.call("receive", f"{amount_msat}msat", *options)
        return invoice

    def pay(self, invoice: str, *options: str) -> Plain:
        """Pay, and return when the phone may go offline (with --wait: at the outcome), or when the payment fails."""
        payment: Plain = self.call("pay", invoice, *options)
        return payment

    def paying(self, invoice: str, *options: str) -> "Future[Plain]":
        """The same without waiting."""
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{self.phone} pays")
        future = pool.submit(self.pay, invoice, *options)
        pool.shutdown(wait=False)
        return future

    def all_payments(self) -> Plain:
        """Return the output of `asyncpay wallet payments --json`: `sent` and `announced`, each oldest first."""
        return self._ask("payments")

    def payments(self) -> list[Plain]:
        """Return the wallet's finished and current payments as payer, oldest first."""
        sent: list[Plain] = self.all_payments()["sent"]
        return sent

    def payment(self, payment_hash: str) -> Plain | None:
        """Return one payment."""
        return next((each for each in self.payments() if each["payment_hash"] == payment_hash), None)

    def announced(self) -> list[Plain]:
        """Return the payments that payers have announced to this wallet."""
        announced: list[Plain] = self.all_payments()["announced"]
        return announced

    def cancel(self, payment_hash: str) -> Plain:
        """Request the cancellation of a payment."""
        payment: Plain = self.call("cancel", payment_hash)
        return payment

    def status(self) -> Plain:
        """Return the state of node and LSP, and the work in progress."""
        return self._ask("status")

    def has_payment(self, payment_hash: str, *states: str) -> Predicate:
        """The payment is in one of these states."""

        def missing() -> str | None:
            payment = self.payment(payment_hash)
            state = "unknown" if payment is None else payment["state"]
            return None if state in states else f"payment {payment_hash} of {self.phone} is {state}"

        return Predicate(f"payment_{'_or_'.join(states).replace(' ', '_')}", missing)

    def stopped_releasing(self, unblock_hash: str) -> Predicate:
        """The wallet has no claim for this block whose release it may still send.

        Claims of others for the same invoice do not count: false claims are requested until they expire.
        """

        def missing() -> str | None:
            claims = [each for each in self.announced() if each["unblock_hash"] == unblock_hash]
            open_claims = [each for each in claims if each["state"] == "releasing"]
            return f"{self.phone} still asks for {unblock_hash}: {open_claims}" if open_claims else None

        return Predicate("wallet_stopped_releasing", missing)

    def ready(self) -> Predicate:
        """The wallet runs, and its node's channel with the LSP is usable."""

        def missing() -> str | None:
            status = self.status()
            return None if status["lsp"]["channel_usable"] else f"{self.phone}: {status['lsp']}"

        return Predicate("wallet_ready", missing)
