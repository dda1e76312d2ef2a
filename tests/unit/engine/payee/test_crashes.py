"""Whatever happens, and wherever the wallet is killed: what is owed and held is released, and bounded in number."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncpay.engine.payee.interface import SendRefusal, SendRelease
from asyncpay.engine.payee.states import FINISHED, State
from asyncpay.engine.policy import PayeePolicy
from asyncpay.wire.messages import ReleaseStatus
from tests.support.engine_harness import with_a_crash_before_each_action

from .harness import HASH, HASH2, PID, NodeInvoice, PayeeHarness


def announced(harness: PayeeHarness) -> None:
    """It is repeated by the courier until it was taken in."""
    while PID not in harness.stored:
        harness.announce()


def paid(harness: PayeeHarness) -> None:
    announced(harness)
    harness.sleep(100)
    harness.paid()


def paid_unseen(harness: PayeeHarness) -> None:
    announced(harness)
    harness.detach()
    harness.paid()
    harness.attach()


def late_channel(harness: PayeeHarness) -> None:
    harness.disconnect()
    announced(harness)
    harness.sleep(100)
    harness.connect()
    harness.paid()


def too_late(harness: PayeeHarness) -> None:
    announced(harness)
    while harness.state is State.RELEASING:
        harness.answer(ReleaseStatus.TOO_LATE)


def expired(harness: PayeeHarness) -> None:
    announced(harness)
    harness.sleep(86_401)


def refused(harness: PayeeHarness) -> None:
    harness.invoices[HASH].cancelled = True
    announced(harness)
    harness.sleep(100)


@pytest.mark.parametrize("scenario", [paid, paid_unseen, late_channel, too_late, expired, refused])
def test_a_crash_before_every_action(scenario: Callable[[PayeeHarness], None]) -> None:
    for calm, harness, where in with_a_crash_before_each_action(PayeeHarness, scenario):
        assert (harness.state, harness.claim.paid) == (calm.state, calm.claim.paid), where
        assert (harness.releases > 0) == (calm.releases > 0), where


SHORT = PayeePolicy(max_releases=4, max_claims=2, max_remembered=3, max_unproven_claims=1, max_unproven=1)
PIDS = st.sampled_from([bytes([number]) * 32 for number in range(6)])


class Claims(RuleBasedStateMachine):
    """Announcements of all kinds, by anybody, and everything that may go wrong beside."""

    @initialize(online=st.booleans(), accept_unproven=st.booleans())
    def begin(self, online: bool, accept_unproven: bool) -> None:
        self.harness = PayeeHarness(replace(SHORT, accept_unproven=accept_unproven), online=online)
        self.harness.invoices[HASH2] = NodeInvoice(amount_msat=None)

    @rule(
        pid=PIDS,
        hashes=st.sampled_from([(HASH,), (HASH2,), (HASH, HASH2), (b"x" * 32,)]),
        amount=st.sampled_from([999, 1000, 5000]),
        seconds=st.sampled_from([-1, 50, 20_000]),
        proven=st.booleans(),
    )
    def announce(self, pid: bytes, hashes: tuple[bytes, ...], amount: int, seconds: int, proven: bool) -> None:
        until = int(self.harness.now) + seconds
        self.harness.announce(pid, proven=proven, payment_hashes=hashes, amount_msat=amount, hold_until=until)

    @rule(pid=PIDS, status=st.sampled_from(list(ReleaseStatus)))
    def answer(self, pid: bytes, status: ReleaseStatus) -> None:
        self.harness.answer(status, pid)

    @rule(payment_hash=st.sampled_from([HASH, HASH2]))
    def pay(self, payment_hash: bytes) -> None:
        self.harness.paid(payment_hash)

    @rule()
    def come_or_go(self) -> None:
        if self.harness.online:
            self.harness.disconnect()
        else:
            self.harness.connect()

    @rule(blocks=st.sampled_from([0, 0, 1, 200]), seconds=st.sampled_from([0.5, 5, 20, 300, 5000]))
    def time_passes(self, blocks: int, seconds: float) -> None:
        self.harness.mine(blocks)
        self.harness.sleep(seconds)

    @rule(after=st.integers(1, 6))
    def crash_soon(self, after: int) -> None:
        self.harness.crash_at = self.harness.actions + after

    @rule()
    def break_off(self) -> None:
        self.harness.detach()
        self.harness.attach()

    @invariant()
    def everything_is_bounded(self) -> None:
        if not hasattr(self, "harness"):
            return
        claims = self.harness.stored.values()
        live = [claim for claim in claims if claim.state not in FINISHED]
        assert len(claims) - len(live) <= SHORT.max_remembered
        for payment_hash in (HASH, HASH2):
            claims_of_it = [claim.proven for claim in live if payment_hash in claim.payment_hashes]
            assert claims_of_it.count(True) <= SHORT.max_claims
            assert claims_of_it.count(False) <= SHORT.max_unproven_claims
        assert sum(not claim.proven for claim in live) <= SHORT.max_unproven * self.harness.policy.accept_unproven
        assert all(claim.tries <= SHORT.max_releases for claim in claims)

    @invariant()
    def only_what_is_owed_is_released(self) -> None:
        if not hasattr(self, "harness"):
            return
        for effect in self.harness.did(SendRelease):
            claim = effect.claim
            assert set(claim.payment_hashes) <= {HASH, HASH2}
            assert claim.amount_msat >= 1000 * (HASH in claim.payment_hashes)
            assert claim.state is State.RELEASING
        assert all(effect.claim.state is State.REFUSED for effect in self.harness.did(SendRefusal))
        assert all(effect.claim.proven for effect in self.harness.did(SendRefusal))

    @invariant()
    def paid_means_paid(self) -> None:
        if hasattr(self, "harness"):
            for claim in self.harness.stored.values():
                if claim.state is State.PAID:
                    assert all(self.harness.invoices[each].paid for each in claim.payment_hashes)

    @invariant()
    def the_store_says_it_all(self) -> None:
        if hasattr(self, "harness"):
            assert list(self.harness.stored.values()) == list(self.harness.engine.state.claims)

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        harness.crash_at = None
        harness.connect()
        harness.sleep(30_000)
        assert all(claim.state in FINISHED for claim in harness.stored.values())
        assert harness.engine.next_deadline == float("inf")


TestClaims = Claims.TestCase
TestClaims.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
