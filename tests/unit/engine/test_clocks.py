"""An LSP whose system clock jumps: what lasts so many seconds goes on, and nothing that it promised ends by it."""

from typing import Any

import pytest

from asyncpay.engine.core import StoredClock, Tick, Transition
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import Effect, LspEvent, Relay
from asyncpay.engine.lsp.records import Record, StoredMessage, Webhook
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.node_events import OnionInTransit
from asyncpay.service.common.clock import PERSIST_SECONDS, SteadyClock
from asyncpay.wire.messages import unblock_hash
from asyncpay.wire.onion import OnionMessage

from .factories import CHANNEL_B, CHANNEL_ROUTER, ROUTER, START, A, B, cln, courier
from .harness import LspHarness

HOUR, DAY = 3600.0, 86_400.0
MESSAGE = OnionMessage(B, bytes(1366))
MOST_SECONDS = LspPolicy().max_hold_seconds


class Clocked(Lsp):
    """The engine as its shell runs it: its time is that of a SteadyClock beside the system's clock of `harness`."""

    harness: "ClockedHarness"
    clock: SteadyClock | None = None

    def handle(self, now: float, event: LspEvent) -> Transition[Record, Effect]:
        if self.clock is None:
            stored = self.stored_time
            kept = self.harness.stored_clock
            shown = lambda: self.harness.now + self.harness.error  # noqa: E731
            self.clock = SteadyClock(stored, kept, shown, lambda: self.harness.now)
        read = self.clock.read()
        if (unstored := self.clock.unstored) is not None:
            self.clock.mark_stored(unstored)
            self.harness.stored_clock = unstored
        events = [event] if read is None else [read, event]
        steps = [super(Clocked, self).handle(self.clock.now(), each) for each in events]
        self.next_deadline += now - self.clock.now()
        return Transition(
            tuple(change for step in steps for change in step.changes),
            tuple(effect for step in steps for effect in step.effects),
        )


class ClockedHarness(LspHarness):
    """error: by how much the system's clock is ahead. stored_clock: what the store has of the component's."""

    error = 0.0
    stored_clock: StoredClock | None = None

    def attach(self) -> None:
        if not isinstance(self.engine, Clocked):
            self.engine.__class__ = Clocked
            self.engine.harness = self  # type: ignore[attr-defined]
        super().attach()

    def jump(self, seconds: float) -> None:
        self.error += seconds
        self.feed(Tick())

    def kinds(self, kind: type) -> list[Any]:
        return [record for (each, _), record in self.stored.items() if each is kind]


def holding(**changes: Any) -> ClockedHarness:
    """A held payment, a message for B that is away, and two webhooks; `changes` to the block_request."""
    harness = ClockedHarness(cln())
    harness.block(**changes)
    harness.pay(1100)
    harness.disconnect(B)
    harness.feed(OnionInTransit(source=ROUTER, message=MESSAGE, next_node_id=B, undelivered=True))
    return harness


def assert_nothing_ended(harness: ClockedHarness) -> None:
    assert harness.state() is State.HELD
    assert harness.fates() == ["held"]
    assert len(harness.kinds(StoredMessage)) == 1
    assert len(harness.kinds(Webhook)) == 2


@pytest.mark.parametrize("seconds", [15 * DAY, 400 * DAY, -DAY, -400 * DAY])
def test_one_wild_reading_ends_nothing(seconds: float) -> None:
    harness = holding()
    harness.jump(seconds)
    harness.sleep(PERSIST_SECONDS - 10)
    harness.jump(-seconds)
    assert_nothing_ended(harness)
    harness.sleep(HOUR)
    assert_nothing_ended(harness)


@pytest.mark.parametrize("error", [HOUR, DAY - HOUR, 15 * DAY, -DAY])
def test_a_start_with_a_clock_that_is_wrong_for_a_moment_ends_nothing(error: float) -> None:
    harness = holding(hold_until=int(START) + 1800)
    harness.error = error
    harness.restart()
    harness.sleep(PERSIST_SECONDS - 10)
    harness.jump(-error)
    assert_nothing_ended(harness)


def test_a_hold_that_ended_while_the_process_was_down_goes_back_once_the_clock_is_believed() -> None:
    harness = holding(hold_until=int(START) + 1800)
    harness.now += HOUR
    harness.restart()
    harness.sleep(PERSIST_SECONDS - 10)
    assert harness.fates() == ["held"]
    harness.sleep(20)
    assert harness.fates() == ["failed"]


def test_messages_and_webhooks_do_not_age_by_a_clock_that_stays_wrong() -> None:
    harness = holding()
    harness.jump(400 * DAY)
    harness.sleep(2 * HOUR)
    assert len(harness.kinds(StoredMessage)) == 1
    assert len(harness.kinds(Webhook)) == 2


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("seconds", [-DAY, 30 * DAY, -400 * DAY])
def test_what_lasts_so_many_seconds_does_so_whatever_the_clock_shows(seconds: float, restarts: bool) -> None:
    harness = ClockedHarness(cln())
    harness.disconnect(B)
    waiting = harness.pay(1000, channel=CHANNEL_ROUTER, peer=ROUTER, outgoing_channel=CHANNEL_B)
    harness.block()
    incomplete = harness.pay(500)
    harness.jump(seconds)
    if restarts:
        harness.restart()
    harness.sleep(44)
    assert harness.fates() == ["held", "held"]
    harness.sleep(2)
    assert harness.htlcs[waiting].fate.startswith("failed")
    assert harness.htlcs[incomplete].fate == "held"
    harness.sleep(80)
    assert harness.htlcs[incomplete].fate.startswith("failed")


def test_pushes_go_on_after_the_clock_was_set_back_while_the_process_was_down() -> None:
    harness = holding()
    harness.pushes_work = False
    harness.sleep(30)
    harness.error = -DAY
    harness.restart()
    sent = len(harness.pushes(B))
    harness.sleep(600)
    assert len(harness.pushes(B)) > sent


@pytest.mark.parametrize("error", [0.0, DAY, -DAY])
def test_a_hold_ends_at_hold_until_by_a_clock_that_is_believed(error: float) -> None:
    """It was wrong when the process began, and is put right, or the other way round: the second itself counts."""
    harness = ClockedHarness(cln())
    harness.error = error
    harness.sleep(PERSIST_SECONDS)
    harness.sleep(PERSIST_SECONDS)
    until = int(harness.now + error) + 1000
    harness.block(hold_until=until)
    harness.pay(1100)
    harness.sleep(until - (harness.now + error))
    assert harness.state() is State.HELD
    harness.sleep(2)
    assert harness.state() is not State.HELD
    assert harness.fates() == ["failed"]


def test_a_request_is_not_refused_for_what_a_clock_in_doubt_shows() -> None:
    harness = ClockedHarness(cln())
    harness.jump(15 * DAY)
    harness.block()
    assert harness.state() is State.ACCEPTED
    assert A in harness.online


def test_a_courier_keeps_its_pace_when_a_clock_that_was_ahead_at_a_start_is_right_at_the_next() -> None:
    """Its next copy is due an hour ahead, by the times in the store."""
    harness = holding(courier=courier())
    harness.error = HOUR
    harness.restart()
    harness.sleep(35)
    harness.error = 0
    harness.restart()
    sent = len(harness.did(Relay))
    harness.sleep(45)
    assert len(harness.did(Relay)) > sent


# --- how long a client may hold ---


@pytest.mark.parametrize("error", [DAY, 365 * DAY])
def test_a_wild_reading_lets_no_client_hold_for_longer(error: float) -> None:
    harness = ClockedHarness(cln())
    harness.jump(error)
    harness.block(hold_until=int(harness.now) + MOST_SECONDS + 60)
    assert harness.state() is None
    harness.block(hold_until=int(harness.now) + MOST_SECONDS - 60)
    assert harness.state() is State.ACCEPTED


@pytest.mark.parametrize("error", [-DAY, -365 * DAY])
def test_a_wild_reading_keeps_no_client_from_holding(error: float) -> None:
    harness = ClockedHarness(cln())
    harness.jump(error)
    harness.block(hold_until=int(harness.now) + MOST_SECONDS - 60)
    assert harness.state() is State.ACCEPTED


def test_the_time_without_a_process_keeps_no_client_from_holding() -> None:
    harness = holding()
    harness.now += HOUR
    harness.restart()
    other = bytes(32)
    wanted = int(harness.now) + MOST_SECONDS - 60
    harness.block(hold_until=wanted, unblock_hash=unblock_hash(other), payment_hashes=(other,))
    assert harness.state(other) is State.ACCEPTED


def test_a_clock_that_is_believed_counts_for_how_long_a_client_may_hold() -> None:
    harness = ClockedHarness(cln())
    harness.jump(DAY)
    harness.sleep(PERSIST_SECONDS)
    harness.sleep(PERSIST_SECONDS)
    harness.block(hold_until=int(harness.now + DAY) + MOST_SECONDS - 60)
    assert harness.state() is State.ACCEPTED
