"""Whoever does not have the invoice gets no answer, and uses up nothing; the payee may choose otherwise."""

from typing import Any

import pytest

from asyncpay.engine.payee.effects import Log, SendRefusal, SendRelease
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.stages import Stage
from asyncpay.wire.messages import ReleaseStatus, invoice_proof

from .world import AMOUNT, HASH, HASH2, HEIGHT, PID, PID2, SECRET, START, NodeInvoice, World

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
    world = World()
    world.invoices = {} if invoice is None else {HASH: invoice}
    assert said(world.announce(proven=False, **changes)) == []
    assert world.stored == {}
    world.sleep(1_000)
    assert said(world.effects) == []


def test_the_proof_of_one_invoice_says_nothing_of_another() -> None:
    """Who has one of two invoices cannot ask for both."""
    world = World()
    world.invoices[HASH2] = NodeInvoice()
    guess = invoice_proof(PID, (HASH, HASH2), (SECRET, bytes(32)))
    assert said(world.announce(payment_hashes=(HASH, HASH2), amount_msat=5_000, invoice_proof=guess)) == []


def test_false_announcements_do_not_stop_the_real_payment() -> None:
    world = World()
    for pid in STRANGERS_PIDS:
        world.announce(pid, proven=False, amount_msat=2**62)
    world.announce()
    assert world.stage is Stage.RELEASING
    assert (world.releases, world.refusals) == (1, [])


@pytest.mark.parametrize("wrong", [{"paid": True}, {"cancelled": True}, {"amount_msat": 5_000}])
def test_of_several_invoices_a_payer_is_not_told_what_is_wrong(wrong: dict[str, Any]) -> None:
    answers = set()
    for payment_hash in (HASH, HASH2):
        world = World()
        world.invoices[HASH2] = NodeInvoice()
        world.invoices[payment_hash] = NodeInvoice(**wrong)
        world.announce(payment_hashes=(HASH, HASH2), amount_msat=2_000)
        (refusal,) = world.did(SendRefusal)
        answers.add(refusal.reason)
        assert world.claim.failure != refusal.reason, "the payee itself is told"
    assert answers == {"these invoices are not owed like this"}


class TestAccepted:
    """With accept_unproven, for payers of other implementations."""

    def test_released_and_paid(self) -> None:
        world = World(OPEN)
        world.announce(proven=False)
        assert world.releases == 1
        assert not world.claim.proven
        world.paid()
        assert world.stage is Stage.PAID

    @pytest.mark.parametrize(
        ("invoice", "changes"), [pair for pair in SECRETS_OF_A_PAYEE if pair[1] or pair[0] is None]
    )
    def test_never_refused_in_words(self, invoice: NodeInvoice | None, changes: dict[str, Any]) -> None:
        world = World(OPEN)
        world.invoices = {} if invoice is None else {HASH: invoice}
        world.announce(proven=False, **changes)
        assert world.did(SendRefusal) == []

    def test_limits_of_its_own(self) -> None:
        world = World(OPEN)
        world.invoices[HASH2] = NodeInvoice()
        for pid in STRANGERS_PIDS:
            world.announce(pid, proven=False)
        assert len(world.stored) == OPEN.max_unproven_claims
        for pid in STRANGERS_PIDS[5:]:
            world.announce(pid, proven=False, payment_hashes=(HASH2,))
        assert len(world.stored) == OPEN.max_unproven
        for number in range(OPEN.max_claims):
            world.announce(bytes([100 + number]) * 32)
        assert [claim.proven for claim in world.payee.state.live].count(True) == OPEN.max_claims
        assert world.refusals == []

    def test_proven_claims_take_nothing_from_unproven_ones(self) -> None:
        world = World(OPEN)
        for number in range(OPEN.max_claims):
            world.announce(bytes([100 + number]) * 32)
        world.announce(proven=False)
        assert world.stage is Stage.RELEASING

    def test_shown_again_it_is_released_again(self) -> None:
        world = World(OPEN)
        world.announce(proven=False)
        world.sleep(5)
        world.announce(proven=False)
        assert world.releases == 2

    def test_finished_ones_are_forgotten_first(self) -> None:
        world = World(OPEN)
        world.announce(PID2)
        world.answer(ReleaseStatus.TOO_LATE, PID2)
        for pid in STRANGERS_PIDS:
            world.sleep(5)
            world.announce(pid, proven=False)
            world.answer(ReleaseStatus.TOO_LATE, pid)
        assert PID2 in world.stored
        assert len(world.stored) == OPEN.max_remembered


def test_a_claim_of_an_earlier_version_is_still_rearmed_by_its_courier() -> None:
    """Its payer proves nothing, and it was accepted before anything had to be proven."""
    world = World(OPEN)
    world.announce(proven=False)
    world.policy = PayeePolicy()
    world.restart()
    before = world.releases
    world.sleep(5)
    assert said(world.announce(proven=False)) == world.did(SendRelease)[before:]
    assert world.releases > before


def test_a_proven_claim_is_rearmed_only_with_the_proof() -> None:
    world = World()
    world.announce()
    world.sleep(5)
    assert said(world.announce(proven=False)) == []
    assert len(said(world.announce())) == 1


def test_the_log_of_a_dropped_announcement_hides_the_pid() -> None:
    world = World()
    (line,) = world.announce(proven=False)
    assert isinstance(line, Log)
    assert PID not in (line.pid_hash, *line.payment_hashes)
    assert "does not prove" in line.because
