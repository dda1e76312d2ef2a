"""The demo: an asynchronous payment on real nodes, with each step printed as it happens."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from asyncpay.amounts import show_sat
from harness import bringup
from harness.checks import artifacts, status
from harness.cli.tables import channels_table
from harness.progress import Phases
from harness.scenarios.async_payment import AsyncPayment
from harness.testbed import Testbed
from harness.timeline.steps import Reached
from harness.topology import load

NAME = "demo"
FOLDER = Path("artifacts/demo")


NEXT = """Next (testbed is .venv/bin/testbed in the checkout):
  testbed up line              start the same network permanently; testbed status shows it
  testbed demo --testbed line  run these eight steps on it, as often as you like
  testbed phone B disconnect   more phone conditions: testbed phone --help
  docs/components.md           use your own node, LSP or wallet in it"""


def run(console: Console, running: Testbed | None = None) -> None:
    """Pay from A to B while they go offline and online, and show each step.

    running: the testbed to use, of line.yaml or a variant of it; without one, line.yaml is started, and removed.
    Raises TestbedError if a step fails; a testbed that was started here is removed also in that case.
    """
    if running:
        _play(running, console)
        return
    testbed = Testbed.prepare(load("line"), NAME, console.print)
    try:
        with console.status("") as spinner:
            phases = Phases(lambda phase: spinner.update(f"starting two phones, two LSPs, a router, bitcoind: {phase}"))
            bringup.up(testbed, phases)
        console.print(f"Two phones, two LSPs and a router are up and connected after {phases.total_seconds:.1f} s.\n")
        _play(testbed, console)
    finally:
        testbed.down()
    console.print("Every container, network and volume of the demo has been removed.\n")
    console.print(NEXT, highlight=False, soft_wrap=True)


def _play(testbed: Testbed, console: Console) -> None:
    def tell(sentence: str) -> None:
        console.print(sentence, style="bold")

    job = AsyncPayment(testbed, tell, lambda reached: console.print(_line(reached, testbed.chain.height_blocks)))
    moved = job.play()
    console.print(f"\nA's proof of payment: preimage {job.preimage}", soft_wrap=True)
    console.print(channels_table(status.look(testbed)))
    changes = ", ".join(f"{name} {_signed(msat)}" for name, msat in moved.items())
    console.print(f"\nCounted on the nodes: {changes}")
    _write_timeline(testbed, console)
    console.print()


def _write_timeline(testbed: Testbed, console: Console) -> None:
    """Write the timeline as a page, and print its path. A folder that cannot be written does not fail the demo."""
    try:
        problems = artifacts.write_timeline(testbed, FOLDER)
    except OSError as error:
        console.print(f"\nThe timeline cannot be written: {error}. Run the demo in a folder that you may write to.")
        return
    console.print(f"\nThe timeline as a page for a browser: {FOLDER / artifacts.TIMELINE_PAGE}", soft_wrap=True)
    for problem in problems:
        console.print(f"  incomplete: {problem}", soft_wrap=True)


def _line(reached: Reached, height_blocks: int) -> Table:
    """Return a row for a step: its time, block, number, node and description."""
    line = Table.grid(padding=(0, 1))
    for width in (12, 10, 6, 5):
        line.add_column(width=width, no_wrap=True)
    line.add_column()
    moment = time.strftime("%H:%M:%S", time.localtime(reached.time)) + f".{int(reached.time % 1 * 1000):03}"
    step = f"step {reached.step.number}"
    line.add_row(moment, f"block {height_blocks}", step, reached.node, reached.step.sentence)
    return line


def _signed(msat: int) -> str:
    return ("-" if msat < 0 else "+") + show_sat(abs(msat))
