"""The demo: a network of five nodes comes up, A pays B across it, and everybody can see where the money went."""

from rich.console import Console

from asyncpay.amounts import show_sat
from harness import bringup, money, status
from harness.phases import Phases
from harness.testbed import Testbed
from harness.topology import load

NAME = "demo"
AMOUNT_MSAT = 25_000_000


def run(console: Console) -> None:
    """Start line.yaml, pay from A to B, show the channels before and after, and remove everything.

    Raises TestbedError if a step fails; the testbed is removed all the same.
    """
    testbed = Testbed.prepare(load("line"), NAME, console.print)
    try:
        with console.status("") as spinner:
            phases = Phases(lambda phase: spinner.update(f"starting five LND nodes and bitcoind: {phase}"))
            bringup.up(testbed, phases)
        console.print(f"Five nodes are up, funded and connected after {phases.total_seconds:.1f} s.\n")
        before = money.count(testbed)
        console.print(status.channels_table(status.look(testbed)))

        payment = testbed.pay("A", "B", AMOUNT_MSAT)

        moved = money.count(testbed).moved_since(before)
        console.print(
            f"\nA paid B {show_sat(payment.amount_msat)} over LSP_a, router and LSP_b. "
            f"A's proof of payment: preimage {payment.preimage}\n"
        )
        console.print(status.channels_table(status.look(testbed)))
        console.print("\nCounted on the nodes: " + ", ".join(f"{name} {_signed(msat)}" for name, msat in moved.items()))
    finally:
        testbed.down()
    console.print("Every container, network and volume of the demo is removed.")


def _signed(msat: int) -> str:
    return ("-" if msat < 0 else "+") + show_sat(abs(msat))
