"""Whatever happens, in whatever order: nothing is paid twice, and what the node says is how it ends."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncpay.engine.payer.interface import Pay, SendPending
from asyncpay.engine.payer.records import PaymentRecords
from asyncpay.engine.payer.states import FINISHED, UNPAID, State
from asyncpay.wire.messages import BlockState, BlockStatus

from .factories import AMOUNT, FAILED, HASH, IN_FLIGHT, PREIMAGE, SUCCEEDED
from .harness import PayerHarness


class OnePayment(RuleBasedStateMachine):
    """A payment, and everything that people, the network and the machines may do about it."""

    harness: PayerHarness

    @initialize(
        parts=st.sampled_from([(AMOUNT,), (600, 400), (500, 500, 100)]),
        online=st.booleans(),
        blocks=st.sampled_from([432, 432, 3]),
        seconds=st.sampled_from([86_400, 86_400, 100]),
    )
    def begin(self, parts: tuple[int, ...], online: bool, blocks: int, seconds: int) -> None:
        self.harness = PayerHarness(online=online, parts=parts)
        self.harness.order(
            release_by_height=self.harness.height + blocks,
            hold_until=int(self.harness.now) + seconds,
        )
        self.order_again()

    # --- people ---

    @rule()
    def order_again(self) -> None:
        self.harness.order()

    @rule(rarely=st.integers(0, 3))
    def cancel(self, rarely: int) -> None:
        if rarely == 3:
            self.harness.cancel()

    @rule(rarely=st.integers(0, 3))
    def refuse(self, rarely: int) -> None:
        if rarely == 3:
            self.harness.refusal_seen()

    @rule()
    def show_pid(self) -> None:
        self.harness.release_seen()

    # --- the LSP and the network ---

    @rule(state=st.sampled_from([None, *BlockState]), parts=st.integers(0, 3))
    def somebody_lies(self, state: BlockState | None, parts: int) -> None:
        """Onion messages have no sender: anything may come from whoever knows the unblock_hash."""
        if state is None:
            self.harness.reply(BlockStatus.CONFLICT)
        else:
            self.harness.update(state, parts)

    @rule()
    def lsp_tells(self) -> None:
        self.harness.lsp_tells()
        self.harness.run()

    @rule(taken=st.booleans())
    def lsp_releases(self, taken: bool) -> None:
        harness = self.harness
        if harness.block_state is BlockState.HELD and HASH in harness.node:
            harness.lsp_releases(taken=taken)
            if not taken:
                harness.node_fails("the payee failed the parts")
            harness.run()

    @precondition(lambda self: self.in_flight() and self.harness.block_state is not BlockState.HELD)
    @rule()
    def node_gives_up(self) -> None:
        self.harness.node_fails("timeout")
        self.harness.run()

    # --- machines ---

    @rule(what=st.sampled_from(["blackhole_to_lsp", "blackhole_from_lsp"]))
    def losses(self, what: str) -> None:
        setattr(self.harness, what, not getattr(self.harness, what))

    @rule()
    def come_or_go(self) -> None:
        if self.harness.online:
            self.harness.disconnect()
        else:
            self.harness.connect()

    @rule(blocks=st.sampled_from([0, 0, 1, 5]), seconds=st.sampled_from([0.5, 5, 10, 30, 200, 3000]))
    def time_passes(self, blocks: int, seconds: float) -> None:
        self.harness.mine(blocks)
        self.harness.sleep(seconds)

    @rule(after=st.integers(1, 8))
    def crash_soon(self, after: int) -> None:
        self.harness.crash_at = self.harness.actions + after

    @rule(node=st.booleans())
    def restart(self, node: bool) -> None:
        if node:
            self.harness.detach()
            self.harness.attach()
        else:
            self.harness.restart()

    # --- what always holds ---

    def in_flight(self) -> bool:
        return HASH in self.harness.node and self.harness.node[HASH].status is IN_FLIGHT

    @invariant()
    def paid_once(self) -> None:
        assert len(self.harness.begun) <= 1

    @invariant()
    def the_node_decides(self) -> None:
        if HASH not in self.harness.stored:
            return
        harness = self.harness
        if harness.state is State.SETTLED:
            assert harness.node[HASH].status is SUCCEEDED
            assert harness.payment.preimage == PREIMAGE
        if HASH in harness.node:
            assert harness.state not in UNPAID
            if harness.state is State.FAILED:
                assert harness.node[HASH].status is FAILED
                assert harness.payment.failure

    @invariant()
    def nothing_leaves_before_it_is_stored_as_leaving(self) -> None:
        for effect in self.harness.did(Pay):
            assert effect.payment_hash in self.harness.stored
        if not self.harness.did(Pay):
            assert self.harness.did(SendPending) == []

    @invariant()
    def the_store_says_it_all(self) -> None:
        assert list(PaymentRecords(self.harness.stored.values())) == list(self.harness.engine.state.payments)

    @invariant()
    def what_is_over_asks_for_nothing(self) -> None:
        harness = self.harness
        if HASH in harness.stored and harness.state in FINISHED and harness.payment.cancel_next_at is None:
            assert harness.engine.next_deadline == float("inf")

    def teardown(self) -> None:
        """Everybody comes back and hears, time passes: the payment has ended, as the node says, and all is quiet."""
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        harness.crash_at = None
        harness.blackhole_to_lsp = harness.blackhole_from_lsp = False
        if not harness.online:
            harness.connect()
        harness.order()
        harness.mine(500)
        harness.sleep(90_000)
        if self.in_flight():
            harness.node_fails("expired")
            harness.run()
        harness.sleep(1000)
        assert harness.state in FINISHED
        assert harness.payment.cancel_next_at is None
        assert not self.in_flight()


TestOnePayment = OnePayment.TestCase
TestOnePayment.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
