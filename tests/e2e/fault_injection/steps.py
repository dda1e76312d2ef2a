"""The protocol's steps, as points at which a payment from A to B is paused until it is resumed.

Two points with the same number are two halves of one step.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from harness.checks.scenario_table import PAID, RETURNED
from harness.faults.failpoints import frozen_before
from harness.progress import each
from harness.services.lsp import Lsp, interceptor_attached
from harness.services.phone import Phone
from harness.services.toxiproxy import Direction
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import PaymentCase, PaymentHarness

STAND_SECONDS = 90
FOR_EVER_MS = 3_600_000


@dataclass(frozen=True)
class PausedPayment:
    """A paused payment. resume: resume it; may be called again if the first call could not be delivered."""

    case: PaymentCase
    resume: Callable[[], None]


class PausePoint(Protocol):
    """Run a payment up to this point, and resume it at the end of the `with` block.


    payee_sleeps: the payee is asleep, and must be notified.
    """

    def __call__(self, payments: PaymentHarness, payee_sleeps: bool) -> AbstractContextManager[PausedPayment]: ...


def before(who: Callable[[PaymentHarness], Phone | Lsp], effect: str) -> PausePoint:
    """A component has stored a decision and has not acted on it yet."""

    @contextmanager
    def reached(payments: PaymentHarness, payee_sleeps: bool) -> Iterator[PausedPayment]:
        case = payments.new_case()
        if payee_sleeps:
            payments.b.sleep()
        component = who(payments)
        asleep = payee_sleeps and component is payments.b
        with frozen_before(payments.testbed, component, effect, asleep=asleep) as store:
            payments.a.wallet.paying(case.invoice)
            wait_for(store.frozen, STAND_SECONDS)
            yield PausedPayment(case, store.resume)

    return reached


@contextmanager
def release_on_its_way(payments: PaymentHarness, payee_sleeps: bool) -> Iterator[PausedPayment]:
    """The release has left the payee, and has not reached the payee's LSP."""
    with before(payee, "SendRelease")(payments, payee_sleeps) as earlier:
        payments.b.latency(FOR_EVER_MS, Direction.UPSTREAM)
        sent_before = releases_sent(payments.b)
        earlier.resume()
        sent = Predicate("release_sent", lambda: None if releases_sent(payments.b) > sent_before else "nothing sent")
        wait_for(sent, STAND_SECONDS)
        yield PausedPayment(earlier.case, lambda: payments.b.restore_link(wait=False))


@contextmanager
def preimage_waits(payments: PaymentHarness, payee_sleeps: bool) -> Iterator[PausedPayment]:
    """The payee is paid, and the payer is offline: its LSP has the preimage, and the payer's HTLC."""
    with before(payees_lsp, "ResolveHtlc")(payments, payee_sleeps) as earlier:
        payments.a.disconnect()
        earlier.resume()
        earlier.case.wait_until_paid()
        payments.wait_for_htlcs(A=1, LSP_a=1, router=0, LSP_b=0, B=0)
        yield PausedPayment(earlier.case, lambda: payments.a.reconnect(wait=False))


def payer(payments: PaymentHarness) -> Phone:
    return payments.a


def payee(payments: PaymentHarness) -> Phone:
    return payments.b


def payers_lsp(payments: PaymentHarness) -> Lsp:
    return payments.testbed.lsp(payments.a.lsp.name)


def payees_lsp(payments: PaymentHarness) -> Lsp:
    return payments.testbed.lsp(payments.b.lsp.name)


PAUSE_POINTS: dict[str, PausePoint] = {
    "1-request": before(payer, "SendToLsp"),
    "2-accept": before(payers_lsp, "SendToClient"),
    "3-pay": before(payer, "Pay"),
    "3-held": before(payer, "LookUp"),
    "4-hand-over": before(payer, "SendPending"),
    "5-pending": before(payee, "SendRelease"),
    "6-release": release_on_its_way,
    "7-let-go": before(payers_lsp, "ResolveHtlc"),
    "8-settle": preimage_waits,
}
"""The pause points by the number of the step and a name."""


def releases_sent(phone: Phone) -> int:
    return sum(event["what"] == "sent PaymentRelease" for event in phone.events())


def restore_all(payments: PaymentHarness) -> None:
    """Restore every service: running, connected, and without a history of failed payments."""
    testbed = payments.testbed
    each(lambda phone: phone.restore(), testbed.phones.values())
    each(lambda node: wait_for(testbed.channels_usable(node.name), 60), testbed.nodes.values())
    each(lambda node: node.forget_failures(), testbed.nodes.values())
    each(lambda lsp: wait_for(interceptor_attached(lsp), STAND_SECONDS), testbed.lsps.values())
    each(lambda phone: wait_for(phone.wallet.ready(), 60), testbed.phones.values())


def assert_paid_once_or_returned(payments: PaymentHarness, case: PaymentCase, timeout_seconds: float = 180) -> str:
    """Return the outcome that the payer's wallet reports, PAID or RETURNED; all balances must match it."""
    payment = case.wait_until("settled", "failed", timeout_seconds=timeout_seconds)
    restore_all(payments)
    if payment["state"] == "settled":
        payments.assert_paid(case)
        return PAID
    payments.assert_nobody_paid(case)
    # Otherwise it would send this payment's release again in the next test, and stop at the failpoint before that one.
    wait_for(case.payee.wallet.stopped_releasing(payment["unblock_hash"]), STAND_SECONDS)
    return RETURNED
