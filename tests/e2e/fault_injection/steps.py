"""The protocol's steps, as moments at which a payment from A to B stands still until it is let go.

Between the numbers of one step stands what can go wrong between two of its halves.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from harness.checks.scenario_table import PAID, RETURNED
from harness.faults.failpoints import frozen_before
from harness.services.lsp import Lsp, interceptor_attached
from harness.services.phone import Phone
from harness.services.toxiproxy import Direction
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import Deal, Scene

STAND_SECONDS = 90
FOR_EVER_MS = 3_600_000


@dataclass(frozen=True)
class Standstill:
    """A payment that stands still. let_go: may be called again, if it could not be heard the first time."""

    deal: Deal
    let_go: Callable[[], None]


class Moment(Protocol):
    """Leads a payment to its moment, and lets it go at the end of the `with` block.

    payee_sleeps: it has to be called.
    """

    def __call__(self, scene: Scene, payee_sleeps: bool) -> AbstractContextManager[Standstill]: ...


def before(who: Callable[[Scene], Phone | Lsp], effect: str) -> Moment:
    """A component has decided on something and stored it, and has not acted upon it."""

    @contextmanager
    def reached(scene: Scene, payee_sleeps: bool) -> Iterator[Standstill]:
        deal = scene.deal()
        if payee_sleeps:
            scene.b.sleep()
        component = who(scene)
        asleep = payee_sleeps and component is scene.b
        with frozen_before(scene.testbed, component, effect, asleep=asleep) as store:
            scene.a.wallet.paying(deal.invoice)
            wait_for(store.frozen, STAND_SECONDS)
            yield Standstill(deal, store.let_go)

    return reached


@contextmanager
def release_on_its_way(scene: Scene, payee_sleeps: bool) -> Iterator[Standstill]:
    """It has left the payee, and has not come to the payee's LSP."""
    with before(payee, "SendRelease")(scene, payee_sleeps) as earlier:
        scene.b.latency(FOR_EVER_MS, Direction.UPSTREAM)
        sent_before = releases_sent(scene.b)
        earlier.let_go()
        sent = Predicate("release_sent", lambda: None if releases_sent(scene.b) > sent_before else "nothing sent")
        wait_for(sent, STAND_SECONDS)
        yield Standstill(earlier.deal, lambda: scene.b.restore_link(wait=False))


@contextmanager
def preimage_waits(scene: Scene, payee_sleeps: bool) -> Iterator[Standstill]:
    """The payee is paid, and the payer is away: its LSP has the preimage, and the payer's HTLC."""
    with before(payees_lsp, "ResolveHtlc")(scene, payee_sleeps) as earlier:
        scene.a.disconnect()
        earlier.let_go()
        earlier.deal.wait_until_paid()
        scene.wait_for_htlcs(A=1, LSP_a=1, router=0, LSP_b=0, B=0)
        yield Standstill(earlier.deal, lambda: scene.a.reconnect(wait=False))


def payer(scene: Scene) -> Phone:
    return scene.a


def payee(scene: Scene) -> Phone:
    return scene.b


def payers_lsp(scene: Scene) -> Lsp:
    return scene.testbed.lsp(scene.a.lsp.name)


def payees_lsp(scene: Scene) -> Lsp:
    return scene.testbed.lsp(scene.b.lsp.name)


MOMENTS: dict[str, Moment] = {
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
"""By the number of the step and a name."""


def releases_sent(phone: Phone) -> int:
    return sum(event["what"] == "sent PaymentRelease" for event in phone.events())


def everybody_back(scene: Scene) -> None:
    """Whatever was struck: all that the testbed has runs, is connected, and remembers no failure."""
    for phone in (scene.a, scene.b):
        phone.restore()
    for node in scene.testbed.nodes.values():
        wait_for(scene.testbed.channels_usable(node.name), 60)
        node.forget_failures()
    for lsp in scene.testbed.lsps.values():
        wait_for(interceptor_attached(lsp), STAND_SECONDS)
    for phone in (scene.a, scene.b):
        wait_for(phone.wallet.ready(), 60)


def assert_paid_once_or_returned(scene: Scene, deal: Deal, timeout_seconds: float = 180) -> str:
    """The payer's wallet says how it ended, and the money of every node agrees. The outcome, of harness.scenarios."""
    payment = deal.wait_until("settled", "failed", timeout_seconds=timeout_seconds)
    everybody_back(scene)
    if payment["state"] == "settled":
        scene.assert_paid(deal)
        return PAID
    scene.assert_nobody_paid(deal)
    return RETURNED
