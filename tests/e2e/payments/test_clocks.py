"""System clocks that jump by twenty days while a payment is held: the payer's LSP's, then that of the payee's wallet.

The deadline of the hold (hold_until) and the invoice's expiry are Unix time, and both are less than ten days away. Only
the component's own code sees the changed time. Its node, the machine and its libraries keep the real one: gRPC would
compare a deadline by Python's clock with the clock of its C core, which Python code cannot set.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.faults.failpoints import restart
from harness.services.lsp import Lsp
from harness.services.phone import Phone
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import PaymentHarness

pytestmark = [pytest.mark.full, pytest.mark.seconds(90)]

JUMP_SECONDS = 20 * 86_400
OFFSET, SEEN = "/tmp/clock-offset-seconds", "/tmp/clock-seen"
PROGRAM_PATH = "/opt/asyncpay/sitecustomize.py"
"""Python imports a module with this name before anything else."""
PROGRAM = f'''
import sys
import time

real = time.time

def shown():
    if not sys._getframe(1).f_globals.get("__name__", "").startswith("asyncpay."):
        return real()
    try:
        with open("{OFFSET}") as file:
            offset = float(file.read())
    except (OSError, ValueError):
        return real()
    with open("{SEEN}", "w") as file:
        file.write(str(offset))
    return real() + offset

if "health" not in sys.orig_argv:
    time.time = shown
'''


@dataclass(frozen=True)
class SystemClock:
    """The clock that a component reads instead of the system's."""

    payments: PaymentHarness
    component: Lsp | Phone

    def install(self) -> None:
        """Restart the component with this clock; it shows the right time."""
        self.payments.testbed.engine.write(self.component.name, PROGRAM_PATH, PROGRAM.encode())
        restart(self.component)

    def jump(self, seconds: int) -> None:
        """Show another time from now on, and return when the component has read it."""
        self._sh(f"rm -f {SEEN}; echo {seconds} > {OFFSET}")
        wait_for(Predicate("clock_read", self._not_read), 30)

    def remove(self) -> None:
        """Restart the component with the system's clock."""
        self._sh(f"rm -f {PROGRAM_PATH} {OFFSET} {SEEN}")
        restart(self.component)

    def _not_read(self) -> str | None:
        return None if self._sh(f"cat {SEEN}") else f"{self.component.name} has not read its clock"

    def _sh(self, script: str) -> str:
        return self.payments.testbed.engine.output(self.component.name, ["sh", "-c", script]).stdout


@pytest.fixture
def clocks(payments: PaymentHarness) -> Iterator[tuple[SystemClock, SystemClock]]:
    """The clocks of the payer's LSP, and of the payee's wallet."""
    components: tuple[Lsp, Phone] = payments.testbed.lsp("LSP_a"), payments.b
    both = SystemClock(payments, components[0]), SystemClock(payments, components[1])
    for clock in both:
        clock.install()
    yield both
    for clock in both:
        clock.remove()


@pytest.mark.parametrize("jump", [JUMP_SECONDS, -JUMP_SECONDS], ids=["ahead", "back"])
def test_a_held_payment_outlives_clocks_that_jump(
    payments: PaymentHarness, clocks: tuple[SystemClock, SystemClock], jump: int
) -> None:
    """The LSP keeps holding and the payee neither refuses nor expires it; then their clocks are corrected."""
    of_the_lsp, of_the_payee = clocks
    payments.record_fault(f"clocks jump {jump} s")
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        of_the_lsp.jump(jump)
        of_the_payee.jump(jump)
        payments.wait_for_block(case, "held")
        payments.wait_for_htlcs(LSP_a=1)
        block = payments.block(case)
        assert block is not None
        assert block["hold_until"] < time.time() + JUMP_SECONDS, "the jump does not go beyond the deadline"
    case.wait_until_paid()
    payments.assert_paid(case)

    after = payments.new_case()
    with payments.b.disconnected():
        after.hand_over()
        of_the_lsp.jump(0)
        of_the_payee.jump(0)
        payments.wait_for_block(after, "held")
    after.wait_until_paid()
    payments.assert_paid(case, after)
