"""The demo: the main job of the protocol, on real nodes. A pays B, and the two are never online together."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from asyncpay.amounts import show_sat
from harness import bringup, money, status, timeline
from harness.phases import Phases
from harness.testbed import Testbed
from harness.timeline import Cast, Reached
from harness.topology import load
from harness.waits import Predicate, wait_for
from harness.wallet import HANDED_OVER, SETTLED, Plain, WalletError

NAME = "demo"
AMOUNT_MSAT = 25_000_000
STEP_SECONDS = 120
CAST = Cast(payer="A", payer_lsp="LSP_a", payee_lsp="LSP_b", payee="B")


def run(console: Console) -> None:
    """Start line.yaml, pay from A to B as they come and go, show each step, and remove everything.

    Raises TestbedError if a step fails; the testbed is removed all the same.
    """
    testbed = Testbed.prepare(load("line"), NAME, console.print)
    try:
        with console.status("") as spinner:
            phases = Phases(
                lambda phase: spinner.update(f"starting two phones, two LSPs, a router and bitcoind: {phase}")
            )
            bringup.up(testbed, phases)
        console.print(
            f"Two phones, two LSPs and a router are up, funded and connected after {phases.total_seconds:.1f} s.\n"
        )
        _Demo(testbed, console).play()
    finally:
        testbed.down()
    console.print("Every container, network and volume of the demo is removed.")


class _Demo:
    def __init__(self, testbed: Testbed, console: Console) -> None:
        self._testbed = testbed
        self._console = console
        self._a, self._b = testbed.phone(CAST.payer), testbed.phone(CAST.payee)
        self._shown: set[int] = set()
        self._payment: Plain | None = None

    def play(self) -> None:
        """The eight steps, with the phones going and coming in between."""
        before = money.count(self._testbed)
        invoice = self._b.wallet.receive(AMOUNT_MSAT, "--description", "a coffee, some day")
        self._tell(f"B makes an invoice of {show_sat(AMOUNT_MSAT)}. How A gets it is their own affair.")
        self._b.unplug()
        self._tell("B's phone is unplugged.")

        self._pay(invoice["invoice"])
        self._a.unplug()
        self._tell("A's phone is unplugged. Nobody is online now; LSP_a holds the payment, and the message waits.")

        self._b.plug()
        self._tell("B's phone is back.")
        self._until(7, f"B has the {show_sat(AMOUNT_MSAT)} while A is away", self._missing_at_b)
        self._b.unplug()
        self._tell("B's phone is unplugged again.")

        self._a.plug()
        self._tell("A's phone is back.")
        self._until(8, "A has the preimage", self._missing_at_a)
        self._b.plug()
        self._tell("B's phone is plugged in again, so that the money can be counted.")
        self._count(before)

    def _pay(self, invoice: str) -> None:
        payment = self._a.wallet.pay(invoice)
        if payment["state"] not in (HANDED_OVER, SETTLED):
            raise WalletError(f"A could not pay: {payment['failure']}")
        self._payment = payment
        self._show_news()
        self._tell("A's wallet says: handed over, the phone may go offline.")

    def _until(self, step: int, what: str, missing: Callable[[], str | None]) -> None:
        """Wait until the money has moved, and show the steps as they are reached."""

        def look() -> str | None:
            self._show_news()
            return missing() or (None if step in self._shown else f"step {step} is not reached")

        wait_for(Predicate(what.replace(" ", "_"), look), STEP_SECONDS)
        self._tell(what + ".")

    def _missing_at_b(self) -> str | None:
        assert self._payment is not None
        claims = [
            each for each in self._b.wallet.announced() if self._payment["payment_hash"] in each["payment_hashes"]
        ]
        return (
            None if any(each["state"] == "paid" for each in claims) else f"B says {[each['state'] for each in claims]}"
        )

    def _missing_at_a(self) -> str | None:
        assert self._payment is not None
        self._payment = self._a.wallet.payment(self._payment["payment_hash"]) or self._payment
        return None if self._payment["preimage"] else f"A says {self._payment['state']}"

    def _show_news(self) -> None:
        """The steps that were reached since the last look. Steps lie close together: one line each, in their order."""
        assert self._payment is not None
        names = self._payment["payment_hash"], self._payment["unblock_hash"]
        for reached in timeline.of_payment(self._testbed, CAST, *names):
            if reached.step.number not in self._shown:
                self._shown.add(reached.step.number)
                self._show(reached)

    def _show(self, reached: Reached) -> None:
        line = Table.grid(padding=(0, 1))
        for width in (14, 10, 7, 6):
            line.add_column(width=width, no_wrap=True)
        line.add_column()
        moment = time.strftime("%H:%M:%S", time.localtime(reached.time)) + f".{int(reached.time % 1 * 1000):03}"
        block = f"block {self._testbed.chain.height_blocks}"
        line.add_row(moment, block, f"step {reached.step.number}", reached.node, reached.step.sentence)
        self._console.print(line)

    def _tell(self, sentence: str) -> None:
        self._console.print(f"[bold]{sentence}[/]", highlight=False)

    def _count(self, before: money.Money) -> None:
        assert self._payment is not None
        moved = money.count(self._testbed).moved_since(before)
        self._console.print(
            f"\nA's proof of payment: preimage {self._payment['preimage']}", highlight=False, soft_wrap=True
        )
        self._console.print(status.channels_table(status.look(self._testbed)))
        changes = ", ".join(f"{name} {_signed(msat)}" for name, msat in moved.items())
        self._console.print(f"\nCounted on the nodes: {changes}\n", highlight=False)


def _signed(msat: int) -> str:
    return ("-" if msat < 0 else "+") + show_sat(abs(msat))
