"""What is owed to this node is released, what is not is refused once, and nothing else leaves a trace."""

from typing import Any

import pytest

from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import Announced, Log, SendRefusal, SendRelease
from asyncpay.engine.payee.states import State
from asyncpay.engine.policy import PayeePolicy
from asyncpay.wire.messages import ReleaseStatus

from .harness import (
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
    PayeeHarness,
    pending,
)


def test_released_at_once() -> None:
    harness = PayeeHarness()
    harness.announce()
    (release,) = harness.did(SendRelease)
    assert (release.claim.pid, release.claim.payment_hashes) == (PID, (HASH,))
    assert release.claim.release_path == PATH.encode()
    assert harness.state is State.RELEASING
    assert harness.claim.tries == 1


def test_without_a_path_the_payee_builds_it() -> None:
    harness = PayeeHarness()
    harness.announce(path=None, payer_lsp_node_id=PAYER_LSP, payer_node_id=PAYER)
    (release,) = harness.did(SendRelease)
    assert (release.claim.release_path, release.claim.payer_lsp, release.claim.payer) == (None, PAYER_LSP, PAYER)


def test_a_path_that_is_given_is_the_one_that_counts() -> None:
    harness = PayeeHarness()
    harness.announce(payer_lsp_node_id=PAYER_LSP, payer_node_id=PAYER)
    assert (harness.claim.release_path, harness.claim.payer_lsp, harness.claim.payer) == (PATH.encode(), None, None)


@pytest.mark.parametrize("changes", [{}, {"payer_lsp_node_id": PAYER_LSP}, {"payer_node_id": PAYER}])
def test_without_any_way_back_it_is_dropped(changes: dict[str, bytes]) -> None:
    harness = PayeeHarness()
    (said,) = harness.announce(path=None, **changes)
    assert isinstance(said, Log)
    assert "no path to the payer's LSP" in said.because
    assert harness.stored == {}


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
def test_refused_with_the_reason(invoice: NodeInvoice, changes: dict[str, Any], why: str) -> None:
    harness = PayeeHarness()
    harness.invoices = {HASH: invoice}
    harness.announce(**changes)
    assert harness.state is State.REFUSED
    assert harness.releases == 0
    (refusal,) = harness.refusals
    assert why in refusal
    harness.announce(**changes)
    harness.sleep(10_000)
    harness.restart()
    assert len(harness.refusals) == 1
    assert harness.releases == 0


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
def test_just_not_refused(invoice: NodeInvoice, changes: dict[str, Any]) -> None:
    harness = PayeeHarness()
    harness.invoices = {HASH: invoice}
    harness.announce(**changes)
    assert harness.releases == 1
    assert harness.refusals == []


def test_several_invoices_at_once() -> None:
    harness = PayeeHarness()
    harness.invoices[HASH2] = NodeInvoice(amount_msat=500)
    harness.announce(payment_hashes=(HASH, HASH2), amount_msat=1499)
    assert len(harness.refusals) == 1
    harness.announce(PID2, payment_hashes=(HASH, HASH2), amount_msat=1500)
    assert harness.releases == 1


def test_three_live_claims_for_an_invoice_and_no_more() -> None:
    harness = PayeeHarness()
    for number in range(3):
        harness.announce(bytes([number]) * 32)
    assert (harness.releases, harness.refusals) == (3, [])
    harness.announce()
    assert "3 other payments wait for the invoice" in harness.refusals[0]
    harness.answer(ReleaseStatus.TOO_LATE, bytes(32))
    harness.announce(PID2)
    assert harness.releases == 4


def test_the_same_pid_again_means_that_the_payment_still_waits() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=3))
    harness.announce()
    harness.sleep(10_000)
    assert harness.releases == 3
    assert harness.state is State.RELEASING
    harness.announce()
    assert harness.releases == 4
    assert harness.claim.tries == 1
    harness.sleep(10_000)
    assert harness.releases == 6


def test_announced_in_haste_it_is_released_once_a_second() -> None:
    harness = PayeeHarness()
    for _ in range(5):
        harness.announce()
    assert harness.releases == 1
    harness.sleep(0.9)
    assert harness.releases == 1
    harness.sleep(0.1)
    assert harness.releases == 2


@pytest.mark.parametrize("end", ["paid", "too late", "expired", "refused"])
def test_a_finished_claim_announced_again_changes_nothing(end: str) -> None:
    harness = PayeeHarness()
    if end == "refused":
        harness.invoices[HASH].cancelled = True
    harness.announce()
    match end:
        case "paid":
            harness.paid()
        case "too late":
            harness.answer(ReleaseStatus.TOO_LATE)
        case "expired":
            harness.sleep(86_401)
    before = harness.claim
    assert before.state.value == end
    assert harness.announce() == []
    harness.sleep(100)
    assert harness.claim == before


def test_finished_claims_are_forgotten_the_oldest_first() -> None:
    harness = PayeeHarness(PayeePolicy(max_remembered=3))
    harness.invoices[HASH].cancelled = True
    for number in range(5):
        harness.announce(bytes([number]) * 32)
        harness.sleep(1)
    assert [pid[0] for pid in harness.stored] == [2, 3, 4]
    harness.invoices[HASH] = NodeInvoice()
    harness.announce()  # a live one does not count
    assert len(harness.stored) == 4
    harness.paid()
    assert [pid[0] for pid in harness.stored] == [3, 4, PID[0]]


def test_no_pid_in_the_log() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.answer(ReleaseStatus.RELEASED)
    harness.paid()
    harness.announce(PID2)
    for line in harness.did(Log):
        assert PID not in (line.pid_hash, *line.payment_hashes)
        assert PID.hex() not in line.because


def test_a_refusal_says_which_claim() -> None:
    harness = PayeeHarness()
    harness.invoices[HASH].cancelled = True
    harness.announce()
    (refusal,) = harness.did(SendRefusal)
    assert refusal.claim == harness.claim
