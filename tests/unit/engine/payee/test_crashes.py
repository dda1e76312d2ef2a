"""Whatever happens, and wherever the wallet is killed: what is owed and held is released, and bounded in number."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncpay.engine.payee.effects import SendRefusal, SendRelease
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.stages import FINISHED, Stage
from asyncpay.wire.messages import ReleaseStatus

from .world import HASH, HASH2, PID, NodeInvoice, World


def announced(world: World) -> None:
    """It is repeated by the courier until it was taken in."""
    while PID not in world.stored:
        world.announce()


def paid(world: World) -> None:
    announced(world)
    world.sleep(100)
    world.paid()


def paid_unseen(world: World) -> None:
    announced(world)
    world.detach()
    world.paid()
    world.attach()


def late_channel(world: World) -> None:
    world.disconnect()
    announced(world)
    world.sleep(100)
    world.connect()
    world.paid()


def too_late(world: World) -> None:
    announced(world)
    while world.stage is Stage.RELEASING:
        world.answer(ReleaseStatus.TOO_LATE)


def expired(world: World) -> None:
    announced(world)
    world.sleep(86_401)


def refused(world: World) -> None:
    world.invoices[HASH].cancelled = True
    announced(world)
    world.sleep(100)


@pytest.mark.parametrize("scenario", [paid, paid_unseen, late_channel, too_late, expired, refused])
def test_a_crash_before_every_action(scenario: Callable[[World], None]) -> None:
    calm = World()
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World()
        world.crash_at = crash
        scenario(world)
        assert world.crash_at is None, "there was no crash"
        where = f"crash at action {crash - begin} of {calm.actions - begin}"
        assert (world.stage, world.claim.paid) == (calm.stage, calm.claim.paid), where
        assert (world.releases > 0) == (calm.releases > 0), where


SHORT = PayeePolicy(max_releases=4, max_claims=2, max_remembered=3, max_unproven_claims=1, max_unproven=1)
PIDS = st.sampled_from([bytes([number]) * 32 for number in range(6)])


class Claims(RuleBasedStateMachine):
    """Announcements of all kinds, by anybody, and everything that may go wrong beside."""

    @initialize(online=st.booleans(), accept_unproven=st.booleans())
    def begin(self, online: bool, accept_unproven: bool) -> None:
        self.world = World(replace(SHORT, accept_unproven=accept_unproven), online=online)
        self.world.invoices[HASH2] = NodeInvoice(amount_msat=None)

    @rule(
        pid=PIDS,
        hashes=st.sampled_from([(HASH,), (HASH2,), (HASH, HASH2), (b"x" * 32,)]),
        amount=st.sampled_from([999, 1000, 5000]),
        seconds=st.sampled_from([-1, 50, 20_000]),
        proven=st.booleans(),
    )
    def announce(self, pid: bytes, hashes: tuple[bytes, ...], amount: int, seconds: int, proven: bool) -> None:
        until = int(self.world.now) + seconds
        self.world.announce(pid, proven=proven, payment_hashes=hashes, amount_msat=amount, hold_until=until)

    @rule(pid=PIDS, status=st.sampled_from(list(ReleaseStatus)))
    def answer(self, pid: bytes, status: ReleaseStatus) -> None:
        self.world.answer(status, pid)

    @rule(payment_hash=st.sampled_from([HASH, HASH2]))
    def pay(self, payment_hash: bytes) -> None:
        self.world.paid(payment_hash)

    @rule()
    def come_or_go(self) -> None:
        if self.world.online:
            self.world.disconnect()
        else:
            self.world.connect()

    @rule(blocks=st.sampled_from([0, 0, 1, 200]), seconds=st.sampled_from([0.5, 5, 20, 300, 5000]))
    def time_passes(self, blocks: int, seconds: float) -> None:
        self.world.mine(blocks)
        self.world.sleep(seconds)

    @rule(after=st.integers(1, 6))
    def crash_soon(self, after: int) -> None:
        self.world.crash_at = self.world.actions + after

    @rule()
    def break_off(self) -> None:
        self.world.detach()
        self.world.attach()

    @invariant()
    def everything_is_bounded(self) -> None:
        if not hasattr(self, "world"):
            return
        claims = self.world.stored.values()
        live = [claim for claim in claims if claim.stage not in FINISHED]
        assert len(claims) - len(live) <= SHORT.max_remembered
        for payment_hash in (HASH, HASH2):
            claims_of_it = [claim.proven for claim in live if payment_hash in claim.payment_hashes]
            assert claims_of_it.count(True) <= SHORT.max_claims
            assert claims_of_it.count(False) <= SHORT.max_unproven_claims
        assert sum(not claim.proven for claim in live) <= SHORT.max_unproven * self.world.policy.accept_unproven
        assert all(claim.tries <= SHORT.max_releases for claim in claims)

    @invariant()
    def only_what_is_owed_is_released(self) -> None:
        if not hasattr(self, "world"):
            return
        for effect in self.world.did(SendRelease):
            claim = effect.claim
            assert set(claim.payment_hashes) <= {HASH, HASH2}
            assert claim.amount_msat >= 1000 * (HASH in claim.payment_hashes)
            assert claim.stage is Stage.RELEASING
        assert all(effect.claim.stage is Stage.REFUSED for effect in self.world.did(SendRefusal))
        assert all(effect.claim.proven for effect in self.world.did(SendRefusal))

    @invariant()
    def paid_means_paid(self) -> None:
        if hasattr(self, "world"):
            for claim in self.world.stored.values():
                if claim.stage is Stage.PAID:
                    assert all(self.world.invoices[each].paid for each in claim.payment_hashes)

    @invariant()
    def the_store_says_it_all(self) -> None:
        if hasattr(self, "world"):
            assert self.world.stored == self.world.payee.state.claims

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.crash_at = None
        world.connect()
        world.sleep(30_000)
        assert all(claim.stage in FINISHED for claim in world.stored.values())
        assert world.payee.next_deadline == float("inf")


TestClaims = Claims.TestCase
TestClaims.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
