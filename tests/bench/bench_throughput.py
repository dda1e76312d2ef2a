"""How many payments a second one LND forwards with and without the component, with many in flight.

    python -m tests.bench.bench_throughput [PAYMENTS=400] [IN_FLIGHT=200] [ROUNDS=3]

The images must be there. Two LSPs run side by side (lsp.yaml), one without the component. In each round A pays PAYMENTS
invoices of B through each of them in turn, IN_FLIGHT at a time; none is to be held. The figure to compare between
machines is the ratio. A payer waits for each of its payments in a thread of this process. Writes
artifacts/bench/throughput.json and throughput.svg.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from rich.console import Console

from harness.checks import balances
from harness.progress import each
from harness.testbed import Testbed
from harness.topology import load
from tests.bench.bench_lsp import running
from tests.bench.figures import Figure, report

AMOUNT_MSAT = 1_000_000
PAYMENTS, IN_FLIGHT, ROUNDS = 400, 200, 3
LEAST_RATIO = 0.95
FIRST = 20
"""The number of payments before anything is measured: they open connections and fill caches."""
PAID_SECONDS = 120
CONSOLE = Console()


def payments_per_second(testbed: Testbed, count: int, in_flight: int) -> float:
    """Let A pay so many invoices of B, so many at a time, until A has every preimage."""
    payer, payee = testbed["A"], testbed["B"]
    with ThreadPoolExecutor(max_workers=in_flight) as pool:
        invoices = list(pool.map(lambda _: payee.create_invoice(AMOUNT_MSAT), range(count)))
        began = time.perf_counter()
        paid = list(pool.map(lambda invoice: payer.pay(invoice, PAID_SECONDS), invoices))
        seconds = time.perf_counter() - began
    assert len({payment.payment_hash for payment in paid}) == count
    return count / seconds


def measure(component: Testbed, bare: Testbed, count: int, in_flight: int, rounds: int) -> list[Figure]:
    """Pay through each in turn; count the money at the end."""
    testbeds = (component, bare)
    before = each(balances.count, testbeds)
    for testbed in testbeds:
        payments_per_second(testbed, FIRST, in_flight)
    rates = [[payments_per_second(testbed, count, in_flight) for testbed in testbeds] for _ in range(rounds)]
    due_msat = (FIRST + rounds * count) * AMOUNT_MSAT
    for testbed, earlier in zip(testbeds, before, strict=True):
        moved = balances.count(testbed).moved_since(earlier)
        assert moved["B"] == due_msat, f"B received {moved['B']} msat, not {due_msat}"
    with_it, without = zip(*rates, strict=True)
    ratio = median(with_it) / median(without)
    CONSOLE.print(f"ratio of the medians: {ratio:.3f}")
    return [
        Figure("with the component", "payments/s", with_it),
        Figure("without", "payments/s", without),
        Figure("ratio, each round", "", [one / other for one, other in rates], LEAST_RATIO, at_least=True),
    ]


def main(count: int, in_flight: int, rounds: int) -> None:
    """Bring both up, measure, print, write."""
    topology = load(Path(__file__).with_name("lsp.yaml"))
    bare = topology.nodes["LSP"].model_copy(update={"component": None})
    without = topology.model_copy(update={"nodes": topology.nodes | {"LSP": bare}})
    with running(topology, "with") as component, running(without, "without") as alone:
        figures = measure(component, alone, count, in_flight, rounds)
    report("throughput", f"{count} payments through one LND, {in_flight} in flight; {rounds} rounds", figures)


if __name__ == "__main__":
    given = [int(each_one) for each_one in sys.argv[1:]]
    main(*(given + [PAYMENTS, IN_FLIGHT, ROUNDS][len(given) :]))
