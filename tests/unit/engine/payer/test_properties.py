"""Whatever happens, in whatever order: nothing is paid twice, and what the node says is how it ends."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncpay.engine.payer.effects import Pay, SendPending
from asyncpay.engine.payer.payments import Payments
from asyncpay.engine.payer.stages import FINISHED, UNPAID, Stage
from asyncpay.wire.messages import BlockState, BlockStatus

from .given import AMOUNT, FAILED, HASH, IN_FLIGHT, PREIMAGE, SUCCEEDED
from .world import World


class OnePayment(RuleBasedStateMachine):
    """A payment, and everything that people, the network and the machines may do about it."""

    world: World

    @initialize(
        parts=st.sampled_from([(AMOUNT,), (600, 400), (500, 500, 100)]),
        online=st.booleans(),
        blocks=st.sampled_from([432, 432, 3]),
        seconds=st.sampled_from([86_400, 86_400, 100]),
    )
    def begin(self, parts: tuple[int, ...], online: bool, blocks: int, seconds: int) -> None:
        self.world = World(online=online, parts=parts)
        self.world.order(
            release_by_height=self.world.height + blocks,
            hold_until=int(self.world.now) + seconds,
        )
        self.order_again()

    # --- people ---

    @rule()
    def order_again(self) -> None:
        self.world.order()

    @rule(rarely=st.integers(0, 3))
    def cancel(self, rarely: int) -> None:
        if rarely == 3:
            self.world.cancel()

    @rule(rarely=st.integers(0, 3))
    def refuse(self, rarely: int) -> None:
        if rarely == 3:
            self.world.refusal_seen()

    @rule()
    def show_pid(self) -> None:
        self.world.release_seen()

    # --- the LSP and the network ---

    @rule(state=st.sampled_from([None, *BlockState]), parts=st.integers(0, 3))
    def somebody_lies(self, state: BlockState | None, parts: int) -> None:
        """Onion messages have no sender: anything may come from whoever knows the unblock_hash."""
        if state is None:
            self.world.reply(BlockStatus.CONFLICT)
        else:
            self.world.update(state, parts)

    @rule()
    def lsp_tells(self) -> None:
        self.world.lsp_tells()
        self.world.run()

    @rule(taken=st.booleans())
    def lsp_releases(self, taken: bool) -> None:
        world = self.world
        if world.state is BlockState.HELD and HASH in world.node:
            world.lsp_releases(taken=taken)
            if not taken:
                world.node_fails("the payee failed the parts")
            world.run()

    @precondition(lambda self: self.in_flight() and self.world.state is not BlockState.HELD)
    @rule()
    def node_gives_up(self) -> None:
        self.world.node_fails("timeout")
        self.world.run()

    # --- machines ---

    @rule(what=st.sampled_from(["deaf", "mute"]))
    def losses(self, what: str) -> None:
        setattr(self.world, what, not getattr(self.world, what))

    @rule()
    def come_or_go(self) -> None:
        if self.world.online:
            self.world.disconnect()
        else:
            self.world.connect()

    @rule(blocks=st.sampled_from([0, 0, 1, 5]), seconds=st.sampled_from([0.5, 5, 10, 30, 200, 3000]))
    def time_passes(self, blocks: int, seconds: float) -> None:
        self.world.mine(blocks)
        self.world.sleep(seconds)

    @rule(after=st.integers(1, 8))
    def crash_soon(self, after: int) -> None:
        self.world.crash_at = self.world.actions + after

    @rule(node=st.booleans())
    def restart(self, node: bool) -> None:
        if node:
            self.world.detach()
            self.world.attach()
        else:
            self.world.restart()

    # --- what always holds ---

    def in_flight(self) -> bool:
        return HASH in self.world.node and self.world.node[HASH].status is IN_FLIGHT

    @invariant()
    def paid_once(self) -> None:
        assert len(self.world.begun) <= 1

    @invariant()
    def the_node_decides(self) -> None:
        if HASH not in self.world.stored:
            return
        world = self.world
        if world.stage is Stage.SETTLED:
            assert world.node[HASH].status is SUCCEEDED
            assert world.payment.preimage == PREIMAGE
        if HASH in world.node:
            assert world.stage not in UNPAID
            if world.stage is Stage.FAILED:
                assert world.node[HASH].status is FAILED
                assert world.payment.failure

    @invariant()
    def nothing_leaves_before_it_is_stored_as_leaving(self) -> None:
        for effect in self.world.did(Pay):
            assert effect.payment_hash in self.world.stored
        if not self.world.did(Pay):
            assert self.world.did(SendPending) == []

    @invariant()
    def the_store_says_it_all(self) -> None:
        assert list(Payments(self.world.stored.values())) == list(self.world.payer.state.payments)

    @invariant()
    def what_is_over_asks_for_nothing(self) -> None:
        world = self.world
        if HASH in world.stored and world.stage in FINISHED and world.payment.cancel_next_at is None:
            assert world.payer.next_deadline == float("inf")

    def teardown(self) -> None:
        """Everybody comes back and hears, time passes: the payment has ended, as the node says, and all is quiet."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.crash_at = None
        world.deaf = world.mute = False
        if not world.online:
            world.connect()
        world.order()
        world.mine(500)
        world.sleep(90_000)
        if self.in_flight():
            world.node_fails("expired")
            world.run()
        world.sleep(1000)
        assert world.stage in FINISHED
        assert world.payment.cancel_next_at is None
        assert not self.in_flight()


TestOnePayment = OnePayment.TestCase
TestOnePayment.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
