"""Whatever happens, in whatever order: what must never happen does not."""

from random import Random
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncpay.engine.lsp.lookups import LspRecords
from asyncpay.engine.lsp.records import Archived, Attempt, AttemptState, Block, Htlc
from asyncpay.engine.lsp.states import FINISHED, State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import HtlcKey, NodeId, PaymentStatus, Resolution, ShortChannelId
from asyncpay.wire.messages import unblock_hash
from tests.support.full_scan import differences
from tests.support.stored_archive import StoredArchive

from .factories import (
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
    cln,
    lnd,
)
from .harness import LspHarness

Kind = TypeVar("Kind")

BLOCK = unblock_hash(PID)
SHORT = LspPolicy(min_margin_blocks=30)
PEERS = st.sampled_from([A, B, ROUTER])


class OnePayment(RuleBasedStateMachine):
    """A payment of two parts, and everything that people, the network and the machines may do about it."""

    capabilities = staticmethod(lnd)

    def __init__(self) -> None:
        super().__init__()
        self.harness = LspHarness(self.capabilities(), SHORT)
        self.pid_shown = False

    @initialize(
        invoice=st.booleans(),
        slack=st.sampled_from([100, 100, 5]),
        seconds=st.sampled_from([20_000, 20_000, 200]),
        parts=st.sampled_from([(), (1000,), (500,), (600, 600)]),
        away=st.booleans(),
    )
    def begin(self, invoice: bool, slack: int, seconds: int, parts: tuple[int, ...], away: bool) -> None:
        self.request: dict[str, Any] = {
            "amount_msat": 1000,
            "release_by_height": HEIGHT + slack,
            "hold_until": int(START) + seconds,
            **({"invoice": "lnbcrt1"} if invoice else {}),
        }
        self.harness.block(**self.request)
        for number, amount in enumerate(parts):
            self.send(amount, (CHANNEL_A, CHANNEL_A2)[number], CHANNEL_ROUTER, 180, 0)
        if away:
            self.harness.disconnect(A)

    # --- people ---

    @precondition(lambda self: A in self.harness.online and len(self.harness.htlcs) < 5)
    @rule(
        amount=st.sampled_from([500, 600, 1000]),
        channel=st.sampled_from([CHANNEL_A, CHANNEL_A2]),
        out=st.sampled_from([CHANNEL_B, CHANNEL_ROUTER]),
        final=st.sampled_from([130, 180]),
        lie=st.sampled_from([0, 0, 0, 500]),
    )
    def send(self, amount: int, channel: ShortChannelId, out: ShortChannelId, final: int, lie: int) -> None:
        self.harness.pay(
            amount,
            channel=channel,
            outgoing_channel=out,
            outgoing_amount_msat=amount + lie,
            incoming_expiry=HEIGHT + final + 40,
            outgoing_expiry=HEIGHT + final + lie,
        )

    @rule()
    def release(self) -> None:
        self.harness.release()
        self.pid_shown |= self.harness.state() is not None

    @rule(what=st.sampled_from(["ask again", "guess", "cancel", "refuse"]), rarely=st.integers(0, 5))
    def meddle(self, what: str, rarely: int) -> None:
        match what:
            case "ask again":
                self.harness.block(**self.request)
            case "guess":
                self.harness.release(b"x" * 32)
            case "cancel" if rarely == 5:
                self.harness.cancel()
            case "refuse" if rarely == 5:
                self.harness.refuse()

    @precondition(lambda self: "forwarded" in self.harness.fates())
    @rule(choice=st.randoms(use_true_random=False), settle=st.booleans())
    def forwarded_parts_end(self, choice: Random, settle: bool) -> None:
        forwarded = [key for key, each in self.harness.htlcs.items() if each.fate == "forwarded"]
        if settle:
            self.harness.payee_settles()
        else:
            self.harness.payee_fails(choice.choice(forwarded))

    @precondition(lambda self: self.in_flight())
    @rule(preimage=st.sampled_from([PREIMAGE, None]))
    def own_payment_ends(self, preimage: bytes | None) -> None:
        self.harness.finish_own_payment(preimage=preimage)

    # --- machines ---

    @rule(peer=PEERS)
    def come_or_go(self, peer: NodeId) -> None:
        if peer in self.harness.online:
            self.harness.disconnect(peer)
        else:
            self.harness.connect(peer)

    @rule(blocks=st.sampled_from([0, 0, 0, 1, 3, 40]), seconds=st.sampled_from([0.5, 10, 10, 30, 100, 2000]))
    def time_passes(self, blocks: int, seconds: float) -> None:
        self.harness.mine(blocks)
        self.harness.sleep(seconds)

    @rule(after=st.integers(1, 12))
    def crash_soon(self, after: int) -> None:
        self.harness.crash_at = self.harness.actions + after

    @rule(node=st.booleans())
    def restart(self, node: bool) -> None:
        if node:
            self.harness.restart_node()
        else:
            self.harness.restart()

    @precondition(lambda self: A in self.harness.online and self.on_channel())
    @rule(choice=st.randoms(use_true_random=False))
    def replay(self, choice: Random) -> None:
        """lnd#5115: an HTLC is offered again after its payer has come back."""
        self.harness.replay(choice.choice(self.on_channel()))

    # --- what must never happen ---

    @invariant()
    def nobody_loses(self) -> None:
        """Nothing failed or claimed that was forwarded; nothing left for the node to cut off."""
        paying = self.harness.state() is State.PAYING
        assert paying or self.harness.losses == []

    @invariant()
    def nothing_is_released_without_its_pid_and_its_siblings(self) -> None:
        parts = self.parts()
        if any(Resolution.RESUME in self.harness.htlcs[part.key].answers for part in parts):
            assert self.pid_shown
            assert sum(part.htlc.outgoing_amount_msat for part in parts) >= 1000

    @invariant()
    def nothing_is_released_in_pieces_by_our_doing(self) -> None:
        resolutions = {part.resolution for part in self.parts()}
        failed_further_on = any(part.outcome for part in self.parts())
        assert len(resolutions) <= 1 or failed_further_on

    @invariant()
    def nothing_is_held_into_its_margin(self) -> None:
        if self.harness.state() is not State.PAYING:
            for record in self.records(Htlc):
                if record.resolution is None:
                    assert record.htlc.incoming_expiry - self.harness.height > SHORT.min_margin_blocks

    @invariant()
    def a_resolution_is_for_ever(self) -> None:
        for each in self.harness.htlcs.values():
            assert len(set(each.answers)) <= 1

    @invariant()
    def what_was_paid_is_covered(self) -> None:
        for attempt in self.records(Attempt):
            assert attempt.fee_limit_msat >= 0
            if attempt.state is AttemptState.PAID:
                claims = [part for part in self.parts() if part.resolution is Resolution.SETTLE]
                assert sum(part.htlc.incoming_amount_msat for part in claims) >= 1000 + attempt.fee_limit_msat
                assert self.harness.state() is State.CLAIMED

    @invariant()
    def the_store_says_it_all(self) -> None:
        loaded = self.harness.engine.state.records.archive.loaded
        stored = LspRecords.load(StoredArchive(self.harness.stored.values()).loaded(but=loaded))
        for name in ("blocks", "htlcs", "attempts", "messages", "delivered", "push_attempts", "webhooks"):
            assert getattr(stored, name) == getattr(self.harness.engine.state.records, name)

    @invariant()
    def every_index_agrees_with_the_records(self) -> None:
        archived, attempts = self.records(Archived), self.records(Attempt)
        assert list(differences(self.harness.engine.state, SHORT, archived, attempts)) == []

    def teardown(self) -> None:
        """Everybody comes back, time passes: nothing is held any more, and in the end nothing is remembered."""
        harness = self.harness
        harness.crash_at = None
        for peer in (A, B, ROUTER):
            if peer not in harness.online:
                harness.connect(peer)
        if self.in_flight():
            harness.finish_own_payment(preimage=None)
        harness.payee_settles()
        harness.mine(300)
        harness.sleep(30_000)
        assert "held" not in harness.fates()
        assert all(block.state in (*FINISHED, State.RELEASED) for block in self.records(Block))
        harness.mine(200)
        assert self.records(Block) == []
        assert self.records(Attempt) == []

    def in_flight(self) -> bool:
        result = self.harness.paid.get(HASH)
        return result is not None and result.status is PaymentStatus.IN_FLIGHT

    def on_channel(self) -> list[HtlcKey]:
        return [key for key, each in self.harness.htlcs.items() if not each.fate.endswith("gone")]

    def parts(self) -> list[Htlc]:
        return [record for record in self.records(Htlc) if record.block == BLOCK]

    def records(self, kind: type[Kind]) -> list[Kind]:
        return [record for record in self.harness.stored.values() if isinstance(record, kind)]


class OnePaymentOnCln(OnePayment):
    """The same on a node that forwards without the payer and never cuts off."""

    capabilities = staticmethod(cln)


_SETTINGS = settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestOnLnd = OnePayment.TestCase
TestOnLnd.settings = _SETTINGS
TestOnCln = OnePaymentOnCln.TestCase
TestOnCln.settings = _SETTINGS
