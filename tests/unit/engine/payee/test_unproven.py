"""Whoever does not have the invoice gets no answer, and uses up nothing; the payee may choose otherwise."""

from typing import Any

import pytest

from asyncpay.engine.payee.interface import Log, SendRefusal, SendRelease
from asyncpay.engine.payee.states import State
from asyncpay.engine.policy import PayeePolicy
from asyncpay.wire.messages import ReleaseStatus, invoice_proof

from .harness import AMOUNT, HASH, HASH2, HEIGHT, PID, PID2, SECRET, START, NodeInvoice, PayeeHarness

OPEN = PayeePolicy(accept_unproven=True, max_unproven_claims=2, max_unproven=3, max_remembered=3)
STRANGERS_PIDS = [bytes([number]) * 32 for number in range(10)]

# What a stranger would like to tell apart: (what the payee has, what the stranger says).
SECRETS_OF_A_PAYEE: list[tuple[NodeInvoice | None, dict[str, Any]]] = [
    (None, {}),
    (NodeInvoice(), {}),
    (NodeInvoice(paid=True), {}),
    (NodeInvoice(cancelled=True), {}),
    (NodeInvoice(expires_at=int(START)), {}),
    (NodeInvoice(has_secret=False), {}),
    (NodeInvoice(), {"amount_msat": AMOUNT - 1}),
    (NodeInvoice(), {"amount_msat": 2**62}),
    (NodeInvoice(), {"release_by_height": HEIGHT - 1}),
    (NodeInvoice(), {"invoice_proof": bytes(32)}),
    (NodeInvoice(), {"payment_hashes": (HASH, HASH2)}),
    (NodeInvoice(), {"payment_hashes": (HASH, HASH)}),
]


def said(effects: list[Any]) -> list[Any]:
    """What leaves the node."""
    return [effect for effect in effects if not isinstance(effect, Log)]


@pytest.mark.parametrize(("invoice", "changes"), SECRETS_OF_A_PAYEE)
def test_a_stranger_gets_no_answer_and_leaves_no_trace(invoice: NodeInvoice | None, changes: dict[str, Any]) -> None:
    harness = PayeeHarness()
    harness.invoices = {} if invoice is None else {HASH: invoice}
    assert said(harness.announce(proven=False, **changes)) == []
    assert harness.stored == {}
    harness.sleep(1_000)
    assert said(harness.effects) == []


def test_the_proof_of_one_invoice_says_nothing_of_another() -> None:
    """Who has one of two invoices cannot ask for both."""
    harness = PayeeHarness()
    harness.invoices[HASH2] = NodeInvoice()
    guess = invoice_proof(PID, (HASH, HASH2), (SECRET, bytes(32)))
    assert said(harness.announce(payment_hashes=(HASH, HASH2), amount_msat=5_000, invoice_proof=guess)) == []


def test_false_announcements_do_not_stop_the_real_payment() -> None:
    harness = PayeeHarness()
    for pid in STRANGERS_PIDS:
        harness.announce(pid, proven=False, amount_msat=2**62)
    harness.announce()
    assert harness.state is State.RELEASING
    assert (harness.releases, harness.refusals) == (1, [])


@pytest.mark.parametrize("wrong", [{"paid": True}, {"cancelled": True}, {"amount_msat": 5_000}])
def test_of_several_invoices_a_payer_is_not_told_what_is_wrong(wrong: dict[str, Any]) -> None:
    answers = set()
    for payment_hash in (HASH, HASH2):
        harness = PayeeHarness()
        harness.invoices[HASH2] = NodeInvoice()
        harness.invoices[payment_hash] = NodeInvoice(**wrong)
        harness.announce(payment_hashes=(HASH, HASH2), amount_msat=2_000)
        (refusal,) = harness.did(SendRefusal)
        answers.add(refusal.reason)
        assert harness.claim.failure != refusal.reason, "the payee itself is told"
    assert answers == {"these invoices are not owed like this"}


class TestAccepted:
    """With accept_unproven, for payers of other implementations."""

    def test_released_and_paid(self) -> None:
        harness = PayeeHarness(OPEN)
        harness.announce(proven=False)
        assert harness.releases == 1
        assert not harness.claim.proven
        harness.paid()
        assert harness.state is State.PAID

    @pytest.mark.parametrize(
        ("invoice", "changes"), [pair for pair in SECRETS_OF_A_PAYEE if pair[1] or pair[0] is None]
    )
    def test_never_refused_in_words(self, invoice: NodeInvoice | None, changes: dict[str, Any]) -> None:
        harness = PayeeHarness(OPEN)
        harness.invoices = {} if invoice is None else {HASH: invoice}
        harness.announce(proven=False, **changes)
        assert harness.did(SendRefusal) == []

    def test_limits_of_its_own(self) -> None:
        harness = PayeeHarness(OPEN)
        harness.invoices[HASH2] = NodeInvoice()
        for pid in STRANGERS_PIDS:
            harness.announce(pid, proven=False)
        assert len(harness.stored) == OPEN.max_unproven_claims
        for pid in STRANGERS_PIDS[5:]:
            harness.announce(pid, proven=False, payment_hashes=(HASH2,))
        assert len(harness.stored) == OPEN.max_unproven
        for number in range(OPEN.max_claims):
            harness.announce(bytes([100 + number]) * 32)
        assert [claim.proven for claim in harness.engine.state.claims.live()].count(True) == OPEN.max_claims
        assert harness.refusals == []

    def test_proven_claims_take_nothing_from_unproven_ones(self) -> None:
        harness = PayeeHarness(OPEN)
        for number in range(OPEN.max_claims):
            harness.announce(bytes([100 + number]) * 32)
        harness.announce(proven=False)
        assert harness.state is State.RELEASING

    def test_shown_again_it_is_released_again(self) -> None:
        harness = PayeeHarness(OPEN)
        harness.announce(proven=False)
        harness.sleep(5)
        harness.announce(proven=False)
        assert harness.releases == 2

    def test_finished_ones_are_forgotten_first(self) -> None:
        harness = PayeeHarness(OPEN)
        harness.announce(PID2)
        harness.answer(ReleaseStatus.TOO_LATE, PID2)
        for pid in STRANGERS_PIDS:
            harness.sleep(5)
            harness.announce(pid, proven=False)
            harness.answer(ReleaseStatus.TOO_LATE, pid)
        assert PID2 in harness.stored
        assert len(harness.stored) == OPEN.max_remembered


def test_a_claim_of_an_earlier_version_is_still_rearmed_by_its_courier() -> None:
    """Its payer proves nothing, and it was accepted before anything had to be proven."""
    harness = PayeeHarness(OPEN)
    harness.announce(proven=False)
    harness.policy = PayeePolicy()
    harness.restart()
    before = harness.releases
    harness.sleep(5)
    assert said(harness.announce(proven=False)) == harness.did(SendRelease)[before:]
    assert harness.releases > before


def test_a_proven_claim_is_rearmed_only_with_the_proof() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.sleep(5)
    assert said(harness.announce(proven=False)) == []
    assert len(said(harness.announce())) == 1


def test_the_log_of_a_dropped_announcement_hides_the_pid() -> None:
    harness = PayeeHarness()
    (line,) = harness.announce(proven=False)
    assert isinstance(line, Log)
    assert PID not in (line.pid_hash, *line.payment_hashes)
    assert "does not prove" in line.because
