"""An LSP whose system clock jumps: what lasts so many seconds goes on, and nothing that it promised ends by it."""

from typing import Any

import pytest

from asyncpay.engine.core import Tick, Transition
from asyncpay.engine.lsp.effects import Effect, Relay
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.events import LspEvent
from asyncpay.engine.lsp.records import Record, StoredMessage, Webhook
from asyncpay.engine.lsp.states import State
from asyncpay.node_events import OnionInTransit
from asyncpay.service.common.clock import PERSIST_SECONDS, SteadyClock
from asyncpay.wire.onion import OnionMessage

from .given import CHANNEL_B, CHANNEL_ROUTER, ROUTER, START, A, B, cln, courier
from .world import World

HOUR, DAY = 3600.0, 86_400.0
MESSAGE = OnionMessage(B, bytes(1366))


class Clocked(Lsp):
    """The engine as its shell runs it: its time is that of a SteadyClock beside the system's clock of `world`."""

    world: "ClockedWorld"
    clock: SteadyClock | None = None

    def handle(self, now: float, event: LspEvent) -> Transition[Record, Effect]:
        if self.clock is None:
            stored = self.stored_time
            self.clock = SteadyClock(stored, lambda: self.world.now + self.world.error, lambda: self.world.now)
        read = self.clock.read()
        events = [event] if read is None else [read, event]
        steps = [super(Clocked, self).handle(self.clock.now(), each) for each in events]
        self.next_deadline += now - self.clock.now()
        return Transition(
            tuple(change for step in steps for change in step.changes),
            tuple(effect for step in steps for effect in step.effects),
        )


class ClockedWorld(World):
    """error: by how much the system's clock is ahead."""

    error = 0.0

    def attach(self) -> None:
        if not isinstance(self.lsp, Clocked):
            self.lsp.__class__ = Clocked
            self.lsp.world = self  # type: ignore[attr-defined]
        super().attach()

    def jump(self, seconds: float) -> None:
        self.error += seconds
        self.feed(Tick())

    def kinds(self, kind: type) -> list[Any]:
        return [record for (each, _), record in self.stored.items() if each is kind]


def holding(**changes: Any) -> ClockedWorld:
    """A held payment, a message for B that is away, and two webhooks; `changes` to the block_request."""
    world = ClockedWorld(cln())
    world.block(**changes)
    world.pay(1100)
    world.disconnect(B)
    world.feed(OnionInTransit(source=ROUTER, message=MESSAGE, next_node_id=B, undelivered=True))
    return world


def assert_nothing_ended(world: ClockedWorld) -> None:
    assert world.state() is State.HELD
    assert world.fates() == ["held"]
    assert len(world.kinds(StoredMessage)) == 1
    assert len(world.kinds(Webhook)) == 2


@pytest.mark.parametrize("seconds", [15 * DAY, 400 * DAY, -DAY, -400 * DAY])
def test_one_wild_reading_ends_nothing(seconds: float) -> None:
    world = holding()
    world.jump(seconds)
    world.sleep(PERSIST_SECONDS - 10)
    world.jump(-seconds)
    assert_nothing_ended(world)
    world.sleep(HOUR)
    assert_nothing_ended(world)


@pytest.mark.parametrize("error", [HOUR, DAY - HOUR, 15 * DAY, -DAY])
def test_a_start_with_a_clock_that_is_wrong_for_a_moment_ends_nothing(error: float) -> None:
    world = holding(hold_until=int(START) + 1800)
    world.error = error
    world.restart()
    world.sleep(PERSIST_SECONDS - 10)
    world.jump(-error)
    assert_nothing_ended(world)


def test_a_hold_that_ended_while_the_process_was_down_goes_back_once_the_clock_is_believed() -> None:
    world = holding(hold_until=int(START) + 1800)
    world.now += HOUR
    world.restart()
    world.sleep(PERSIST_SECONDS - 10)
    assert world.fates() == ["held"]
    world.sleep(20)
    assert world.fates() == ["failed"]


def test_messages_and_webhooks_do_not_age_by_a_clock_that_stays_wrong() -> None:
    world = holding()
    world.jump(400 * DAY)
    world.sleep(2 * HOUR)
    assert len(world.kinds(StoredMessage)) == 1
    assert len(world.kinds(Webhook)) == 2


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("seconds", [-DAY, 30 * DAY, -400 * DAY])
def test_what_lasts_so_many_seconds_does_so_whatever_the_clock_shows(seconds: float, restarts: bool) -> None:
    world = ClockedWorld(cln())
    world.disconnect(B)
    waiting = world.pay(1000, channel=CHANNEL_ROUTER, peer=ROUTER, outgoing_channel=CHANNEL_B)
    world.block()
    incomplete = world.pay(500)
    world.jump(seconds)
    if restarts:
        world.restart()
    world.sleep(44)
    assert world.fates() == ["held", "held"]
    world.sleep(2)
    assert world.htlcs[waiting].fate.startswith("failed")
    assert world.htlcs[incomplete].fate == "held"
    world.sleep(80)
    assert world.htlcs[incomplete].fate.startswith("failed")


def test_pushes_go_on_after_the_clock_was_set_back_while_the_process_was_down() -> None:
    world = holding()
    world.pushes_work = False
    world.sleep(30)
    world.error = -DAY
    world.restart()
    sent = len(world.pushes(B))
    world.sleep(600)
    assert len(world.pushes(B)) > sent


@pytest.mark.parametrize("error", [0.0, DAY, -DAY])
def test_a_hold_ends_at_hold_until_by_a_clock_that_is_believed(error: float) -> None:
    """It was wrong when the process began, and is put right, or the other way round: the second itself counts."""
    world = ClockedWorld(cln())
    world.error = error
    world.sleep(PERSIST_SECONDS)
    world.sleep(PERSIST_SECONDS)
    until = int(world.now + error) + 1000
    world.block(hold_until=until)
    world.pay(1100)
    world.sleep(until - (world.now + error))
    assert world.state() is State.HELD
    world.sleep(2)
    assert world.state() is not State.HELD
    assert world.fates() == ["failed"]


def test_a_request_is_not_refused_for_what_a_clock_in_doubt_shows() -> None:
    world = ClockedWorld(cln())
    world.jump(15 * DAY)
    world.block()
    assert world.state() is State.ACCEPTED
    assert A in world.online


def test_a_courier_keeps_its_pace_when_a_clock_that_was_ahead_at_a_start_is_right_at_the_next() -> None:
    """Its next copy is due an hour ahead, by the times in the store."""
    world = holding(courier=courier())
    world.error = HOUR
    world.restart()
    world.sleep(35)
    world.error = 0
    world.restart()
    sent = len(world.did(Relay))
    world.sleep(45)
    assert len(world.did(Relay)) > sent
