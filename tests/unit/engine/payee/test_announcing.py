"""What is owed to this node is released, what is not is refused once, and nothing else leaves a trace."""

import pytest

from asyncpay.engine.payee.effects import Log, SendRefusal, SendRelease
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.events import Announced
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.stages import Stage
from asyncpay.wire.messages import ReleaseStatus

from .world import (
    AMOUNT,
    HASH,
    HASH2,
    HEIGHT,
    PATH,
    PAYER,
    PAYER_LSP,
    PID,
    PID2,
    START,
    NodeInvoice,
    World,
    pending,
)


def test_released_at_once() -> None:
    world = World()
    world.announce()
    (release,) = world.did(SendRelease)
    assert (release.claim.pid, release.claim.payment_hashes) == (PID, (HASH,))
    assert release.claim.release_path == PATH.encode()
    assert world.stage is Stage.RELEASING
    assert world.claim.tries == 1


def test_without_a_path_the_payee_builds_it() -> None:
    world = World()
    world.announce(path=None, payer_lsp_node_id=PAYER_LSP, payer_node_id=PAYER)
    (release,) = world.did(SendRelease)
    assert (release.claim.release_path, release.claim.payer_lsp, release.claim.payer) == (None, PAYER_LSP, PAYER)


def test_a_path_that_is_given_is_the_one_that_counts() -> None:
    world = World()
    world.announce(payer_lsp_node_id=PAYER_LSP, payer_node_id=PAYER)
    assert (world.claim.release_path, world.claim.payer_lsp, world.claim.payer) == (PATH.encode(), None, None)


@pytest.mark.parametrize("changes", [{}, {"payer_lsp_node_id": PAYER_LSP}, {"payer_node_id": PAYER}])
def test_without_any_way_back_it_is_dropped(changes: dict[str, bytes]) -> None:
    world = World()
    (said,) = world.announce(path=None, **changes)
    assert isinstance(said, Log)
    assert "how to reach" in said.because
    assert world.stored == {}


def test_before_the_height_is_known_it_is_dropped_and_not_refused() -> None:
    payee = Payee(PayeePolicy())
    step = payee.handle(START, Announced(pending(), PATH, (None,)))
    assert step.changes == ()
    assert [type(effect) for effect in step.effects] == [Log]


@pytest.mark.parametrize(
    ("invoice", "changes", "why"),
    [
        (NodeInvoice(paid=True), {}, "paid already"),
        (NodeInvoice(cancelled=True), {}, "cancelled"),
        (NodeInvoice(), {"amount_msat": AMOUNT - 1}, "999 msat are held, the invoices ask for 1000"),
        (NodeInvoice(), {"release_by_height": HEIGHT - 1}, "by height 499, the chain is at 500"),
    ],
)
def test_refused_with_the_reason(invoice: NodeInvoice, changes: dict[str, object], why: str) -> None:
    world = World()
    world.invoices = {HASH: invoice}
    world.announce(**changes)
    assert world.stage is Stage.REFUSED
    assert world.releases == 0
    (refusal,) = world.refusals
    assert why in refusal
    world.announce(**changes)
    world.sleep(10_000)
    world.restart()
    assert len(world.refusals) == 1
    assert world.releases == 0


@pytest.mark.parametrize(
    ("invoice", "changes"),
    [
        (NodeInvoice(amount_msat=None), {"amount_msat": 1}),
        (NodeInvoice(expires_at=int(START) + 1), {}),
        (NodeInvoice(), {"amount_msat": AMOUNT + 1}),
        (NodeInvoice(), {"release_by_height": HEIGHT}),
        (NodeInvoice(), {"hold_until": int(START) + 1}),
    ],
)
def test_just_not_refused(invoice: NodeInvoice, changes: dict[str, object]) -> None:
    world = World()
    world.invoices = {HASH: invoice}
    world.announce(**changes)
    assert world.releases == 1
    assert world.refusals == []


def test_several_invoices_at_once() -> None:
    world = World()
    world.invoices[HASH2] = NodeInvoice(amount_msat=500)
    world.announce(payment_hashes=(HASH, HASH2), amount_msat=1499)
    assert len(world.refusals) == 1
    world.announce(PID2, payment_hashes=(HASH, HASH2), amount_msat=1500)
    assert world.releases == 1


def test_three_live_claims_for_an_invoice_and_no_more() -> None:
    world = World()
    for number in range(3):
        world.announce(bytes([number]) * 32)
    assert (world.releases, world.refusals) == (3, [])
    world.announce()
    assert "3 other payments wait for the invoice" in world.refusals[0]
    world.answer(ReleaseStatus.TOO_LATE, bytes(32))
    world.announce(PID2)
    assert world.releases == 4


def test_the_same_pid_again_means_that_the_payment_still_waits() -> None:
    world = World(PayeePolicy(max_releases=3))
    world.announce()
    world.sleep(10_000)
    assert world.releases == 3
    assert world.stage is Stage.RELEASING
    world.announce()
    assert world.releases == 4
    assert world.claim.tries == 1
    world.sleep(10_000)
    assert world.releases == 6


def test_announced_in_haste_it_is_released_once_a_second() -> None:
    world = World()
    for _ in range(5):
        world.announce()
    assert world.releases == 1
    world.sleep(0.9)
    assert world.releases == 1
    world.sleep(0.1)
    assert world.releases == 2


@pytest.mark.parametrize("end", ["paid", "too late", "expired", "refused"])
def test_a_finished_claim_announced_again_changes_nothing(end: str) -> None:
    world = World()
    if end == "refused":
        world.invoices[HASH].cancelled = True
    world.announce()
    match end:
        case "paid":
            world.paid()
        case "too late":
            world.answer(ReleaseStatus.TOO_LATE)
        case "expired":
            world.sleep(86_401)
    before = world.claim
    assert before.stage.value == end
    assert world.announce() == []
    world.sleep(100)
    assert world.claim == before


def test_finished_claims_are_forgotten_the_oldest_first() -> None:
    world = World(PayeePolicy(max_remembered=3))
    world.invoices[HASH].cancelled = True
    for number in range(5):
        world.announce(bytes([number]) * 32)
        world.sleep(1)
    assert [pid[0] for pid in world.stored] == [2, 3, 4]
    world.invoices[HASH] = NodeInvoice()
    world.announce()  # a live one does not count
    assert len(world.stored) == 4
    world.paid()
    assert [pid[0] for pid in world.stored] == [3, 4, PID[0]]


def test_no_pid_in_the_log() -> None:
    world = World()
    world.announce()
    world.answer(ReleaseStatus.RELEASED)
    world.paid()
    world.announce(PID2)
    for line in world.did(Log):
        assert PID not in (line.pid_hash, *line.payment_hashes)
        assert PID.hex() not in line.because


def test_a_refusal_says_which_claim() -> None:
    world = World()
    world.invoices[HASH].cancelled = True
    world.announce()
    (refusal,) = world.did(SendRefusal)
    assert refusal.claim == world.claim
