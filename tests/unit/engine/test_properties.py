"""Whatever happens, in whatever order: what must never happen does not."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncpay.engine.lsp import Policy
from asyncpay.engine.lsp.records import Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.stages import FINISHED, Stage
from asyncpay.engine.lsp.tables import Tables
from asyncpay.lightning import PaymentStatus, Verdict
from asyncpay.wire.messages import unblock_hash

from .world import (
    CHANNEL_A,
    CHANNEL_A2,
    CHANNEL_B,
    CHANNEL_ROUTER,
    HASH,
    HEIGHT,
    PID,
    PREIMAGE,
    ROUTER,
    START,
    A,
    B,
    World,
    cln,
    lnd,
)

BLOCK = unblock_hash(PID)
SHORT = Policy(min_margin_blocks=30)
PEERS = st.sampled_from([A, B, ROUTER])


class OnePayment(RuleBasedStateMachine):
    """A payment of two parts, and everything that people, the network and the machines may do about it."""

    capabilities = staticmethod(lnd)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.capabilities(), SHORT)
        self.pid_shown = False

    # --- people ---

    @rule(invoice=st.booleans(), slack=st.sampled_from([5, 100]), seconds=st.sampled_from([200, 5000]))
    def block(self, invoice: bool, slack: int, seconds: int) -> None:
        changes = {"invoice": "lnbcrt1", "read_as": None} if invoice else {}
        changes = {"invoice": "lnbcrt1"} if invoice else {}
        self.world.block(
            amount_msat=1000,
            release_by_height=HEIGHT + slack,
            hold_until=int(START) + seconds,
            **changes,
        )

    @precondition(lambda self: A in self.world.online and len(self.world.htlcs) < 5)
    @rule(
        amount=st.sampled_from([500, 600, 1000]),
        channel=st.sampled_from([CHANNEL_A, CHANNEL_A2]),
        out=st.sampled_from([CHANNEL_B, CHANNEL_ROUTER]),
        final=st.sampled_from([130, 180]),
        lie=st.sampled_from([0, 0, 0, 500]),
    )
    def pay(self, amount: int, channel: int, out: int, final: int, lie: int) -> None:
        self.world.pay(
            amount,
            channel=channel,
            outgoing_channel=out,
            outgoing_amount_msat=amount + lie,
            incoming_expiry=HEIGHT + final + 40,
            outgoing_expiry=HEIGHT + final + lie,
        )

    @rule()
    def release(self) -> None:
        self.world.release()
        self.pid_shown |= self.world.stage() is not None

    @rule(wrong=st.binary(min_size=32, max_size=32))
    def guess(self, wrong: bytes) -> None:
        self.world.release(wrong)

    @rule()
    def cancel(self) -> None:
        self.world.cancel()

    @rule()
    def refuse(self) -> None:
        self.world.refuse()

    @rule()
    def payee_settles(self) -> None:
        self.world.payee_settles()

    @rule(choice=st.randoms(use_true_random=False))
    def network_fails(self, choice) -> None:  # type: ignore[no-untyped-def]
        forwarded = [key for key, each in self.world.htlcs.items() if each.fate == "forwarded"]
        if forwarded:
            self.world.payee_fails(choice.choice(forwarded))

    @rule(preimage=st.sampled_from([PREIMAGE, None]))
    def own_payment_ends(self, preimage: bytes | None) -> None:
        result = self.world.paid.get(HASH)
        if result is not None and result.status is PaymentStatus.IN_FLIGHT:
            self.world.finish_own_payment(preimage=preimage)

    # --- machines ---

    @rule(peer=PEERS)
    def connect(self, peer: bytes) -> None:
        if peer not in self.world.online:
            self.world.connect(peer)

    @rule(peer=PEERS)
    def disconnect(self, peer: bytes) -> None:
        if peer in self.world.online:
            self.world.disconnect(peer)

    @rule(blocks=st.sampled_from([1, 3, 50]))
    def mine(self, blocks: int) -> None:
        self.world.mine(blocks)

    @rule(seconds=st.sampled_from([0.5, 30, 100, 2000]))
    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @rule(after=st.integers(1, 12))
    def crash_soon(self, after: int) -> None:
        self.world.crash_at = self.world.actions + after

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule()
    def restart_node(self) -> None:
        self.world.restart_node()

    @precondition(lambda self: self.world.htlcs)
    @rule(choice=st.randoms(use_true_random=False))
    def replay(self, choice) -> None:  # type: ignore[no-untyped-def]
        """lnd#5115: only while the payer is there."""
        there = [key for key, each in self.world.htlcs.items() if not each.fate.endswith("gone")]
        if there and A in self.world.online:
            self.world.replay(choice.choice(there))

    # --- what must never happen ---

    @invariant()
    def nobody_loses(self) -> None:
        """Nothing failed or claimed that was forwarded; nothing left for the node to cut off."""
        paying = self.world.stage() is Stage.PAYING
        assert paying or self.world.losses == []

    @invariant()
    def nothing_is_released_without_its_pid_and_its_siblings(self) -> None:
        parts = self.parts()
        if any(Verdict.RESUME in self.world.htlcs[part.key].answers for part in parts):
            assert self.pid_shown
            assert sum(part.htlc.outgoing_amount_msat for part in parts) >= 1000

    @invariant()
    def nothing_is_released_in_pieces_by_our_doing(self) -> None:
        verdicts = {part.verdict for part in self.parts()}
        failed_further_on = any(part.outcome for part in self.parts())
        assert len(verdicts) <= 1 or failed_further_on

    @invariant()
    def nothing_is_held_into_its_margin(self) -> None:
        if self.world.stage() is not Stage.PAYING:
            for record in self.records(Htlc):
                if record.verdict is None:
                    assert record.htlc.incoming_expiry - self.world.height > SHORT.min_margin_blocks

    @invariant()
    def a_verdict_is_for_ever(self) -> None:
        for each in self.world.htlcs.values():
            assert len(set(each.answers)) <= 1

    @invariant()
    def what_was_paid_is_covered(self) -> None:
        for attempt in self.records(Attempt):
            assert attempt.fee_limit_msat >= 0
            if attempt.state is AttemptState.PAID:
                claims = [part for part in self.parts() if part.verdict is Verdict.SETTLE]
                assert sum(part.htlc.incoming_amount_msat for part in claims) >= 1000 + attempt.fee_limit_msat
                assert self.world.stage() is Stage.CLAIMED

    @invariant()
    def the_store_says_it_all(self) -> None:
        stored = Tables.load(self.world.stored.values())
        for name in ("blocks", "htlcs", "attempts", "letters", "delivered", "calls", "webhooks"):
            assert getattr(stored, name) == getattr(self.world.lsp.state.tables, name)

    def teardown(self) -> None:
        """Everybody comes back, time passes: nothing is held any more, and in the end nothing is remembered."""
        world = self.world
        world.crash_at = None
        for peer in (A, B, ROUTER):
            if peer not in world.online:
                world.connect(peer)
        self.own_payment_ends(None)
        world.payee_settles()
        world.mine(300)
        world.sleep(10_000)
        assert "held" not in world.fates()
        assert all(block.stage in (*FINISHED, Stage.RELEASED) for block in self.records(Block))
        world.mine(200)
        assert self.records(Block) == []
        assert self.records(Attempt) == []

    def parts(self) -> list[Htlc]:
        return [record for record in self.records(Htlc) if record.block == BLOCK]

    def records(self, kind):  # type: ignore[no-untyped-def]
        return [record for record in self.world.stored.values() if isinstance(record, kind)]


class OnePaymentOnCln(OnePayment):
    """The same on a node that forwards without the payer and never cuts off."""

    capabilities = staticmethod(cln)


_SETTINGS = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOnLnd = OnePayment.TestCase
TestOnLnd.settings = _SETTINGS
TestOnCln = OnePaymentOnCln.TestCase
TestOnCln.settings = _SETTINGS
