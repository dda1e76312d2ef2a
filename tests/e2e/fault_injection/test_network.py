"""Bad links at every step of the protocol: a payment is paid once, or returned in full where outcomes.py says why.

The link is that between the phone and its LSP, together with that between the phone and the push gateway.
"""

from collections.abc import Callable

import pytest

from harness.services.phone import Phone
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import PaymentCase, PaymentHarness

from .cells import Cell, cells
from .half_way import HalfWay, from_payer, to_payee
from .outcomes import assert_ended
from .steps import PAUSE_POINTS

pytestmark = pytest.mark.seconds(40)

LINKS: dict[str, Callable[[Phone], None]] = {
    "blackhole": Phone.blackhole,
    "blackhole downstream": lambda phone: phone.blackhole(Direction.DOWNSTREAM),
    "blackhole upstream": lambda phone: phone.blackhole(Direction.UPSTREAM),
    "2 s latency": lambda phone: phone.latency(2_000),
    "resets": Phone.reset,
    "1 kB a second": lambda phone: phone.bandwidth(1),
}
"""deaf and mute: a blackhole in one direction, which stops the exchange of commitments in the middle."""

HALF_WAY: dict[Cell, Callable[[PaymentHarness, PaymentCase], HalfWay]] = {
    ("3-pay", "A", "blackhole downstream"): from_payer,
    ("3-pay", "A", "blackhole upstream"): from_payer,
    ("7-let-go", "B", "blackhole downstream"): to_payee,
    ("7-let-go", "B", "blackhole upstream"): to_payee,
}
"""Cells in which the HTLC crosses this link: here the test checks the exchange of commitments."""

SLOW = ("2 s latency", "1 kB a second")
"""Over such a link a payment succeeds."""
TOO_SLOW = {("1-request", "A", "1 kB a second")}
"""It succeeds here too, in minutes: the request has 32 kB with its courier, and is repeated until it is answered.
No test waits for that."""
NEWS = 2
"""The number of blocks that are mined while the link is blocked."""

ALWAYS = {
    ("3-pay", "A", "blackhole downstream"),
    ("4-hand-over", "A", "2 s latency"),
    ("5-pending", "B", "1 kB a second"),
    ("7-let-go", "B", "blackhole upstream"),
    ("8-settle", "A", "resets"),
}
"""The selection of `make test`."""

TABLE = [(step, name, link) for step in PAUSE_POINTS for name in ("A", "B") for link in LINKS]


@pytest.fixture(scope="module")
def testbed(line_of_phones: Testbed) -> Testbed:
    return line_of_phones


@pytest.fixture
def payments(line_payments: PaymentHarness) -> PaymentHarness:
    return line_payments


@pytest.mark.parametrize(("step", "name", "link"), cells(TABLE, ALWAYS))
def test_bad_link(payments: PaymentHarness, step: str, name: str, link: str) -> None:
    phone = payments.testbed.phone(name)
    payments.record_fault(f"{link} on {name}'s link")
    with PAUSE_POINTS[step](payments, payee_sleeps=False) as paused:
        cell = (step, name, link)
        half_way = HALF_WAY[cell](payments, paused.case) if cell in HALF_WAY else None
        LINKS[link](phone)
        paused.resume()
        if half_way is not None:
            wait_for(half_way.reached(arrives=(link == "blackhole downstream") == (half_way.giver is phone.node)), 60)
        if link in SLOW and cell not in TOO_SLOW:
            paused.case.wait_until("settled", timeout_seconds=180)
        else:
            wait_for(seen_by_the_others(payments, phone), 60)
        phone.restore_link()
        paused.resume()
    assert_ended(payments, paused.case, step, name, link)


def seen_by_the_others(payments: PaymentHarness, phone: Phone) -> Predicate:
    """Every node except this phone's is synced to the new blocks."""
    height_blocks = payments.testbed.chain.mine(NEWS)

    def missing() -> str | None:
        behind = [
            n.name
            for n in payments.testbed.nodes.values()
            if n is not phone.node and n.info().height_blocks < height_blocks
        ]
        return f"{behind} are behind" if behind else None

    return Predicate("seen_by_the_others", missing)
