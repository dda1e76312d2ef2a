"""What the protocol adds to a payment: from the release's arrival at LSP_a until B has the money, as a ratio.

python -m tests.bench.bench_async [N=20]

On one line.yaml: N async payments with everybody online, timed by LSP_a's and B's own journals, and N ordinary payments
over the same four hops, timed from the order to pay until the payer has the preimage. The target is 1.3 or less.
"""

import statistics
import sys
import time

from rich.console import Console

from harness import bringup
from harness.checks import balances
from harness.progress import Phases
from harness.scenarios.async_payment import ROLES
from harness.testbed import Testbed
from harness.topology import load
from harness.waits import wait_for

AMOUNT_MSAT = 1_000_000
TARGET = 1.3


def release_to_settled_seconds(testbed: Testbed) -> float:
    """One async payment: LSP_a's line when the pid comes by, B's when its invoice is paid."""
    a, b = testbed.phone(ROLES.payer), testbed.phone(ROLES.payee)
    invoice = b.wallet.receive(AMOUNT_MSAT)
    a.wallet.pay(invoice["invoice"], "--wait")
    wait_for(a.wallet.has_payment(invoice["payment_hash"], "settled"))

    def moment(events: list[dict[str, object]], what: str) -> float:
        names = [event for event in events if invoice["payment_hash"] in str(event.get("payment_hashes"))]
        return float(str(next(event["time"] for event in names if event["what"] == what)))

    return moment(b.events(), "paid") - moment(testbed.lsp(ROLES.payer_lsp).events(), "due")


def ordinary_seconds(testbed: Testbed) -> float:
    """One payment from node to node."""
    invoice = testbed[ROLES.payee].create_invoice(AMOUNT_MSAT, "bench")
    began = time.monotonic()
    testbed[ROLES.payer].pay(invoice)
    return time.monotonic() - began


def main(count: int) -> int:
    """Measure and show; exit code 1 above the target."""
    console = Console()
    testbed = Testbed.prepare(load("line"), "bench-async", console.print)
    try:
        bringup.up(testbed, Phases(lambda _: None))
        released, ordinary = [], []
        for _ in range(count):  # in turn, so that the machine's moods touch both
            ordinary.append(ordinary_seconds(testbed))
            released.append(release_to_settled_seconds(testbed))
        balances.count(testbed)
    finally:
        testbed.down()
    ratio = statistics.median(released) / statistics.median(ordinary)
    console.print(
        f"release to settled {statistics.median(released):.3f} s, ordinary payment {statistics.median(ordinary):.3f} s "
        f"(medians of {count}): ratio {ratio:.2f}, target {TARGET}"
    )
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
