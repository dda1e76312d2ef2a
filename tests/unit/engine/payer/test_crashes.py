"""Killed before any of its actions, the wallet ends where it would have ended undisturbed, and has paid once."""

from collections.abc import Callable

import pytest

from asyncpay.engine.payer.effects import Pay
from asyncpay.engine.payer.stages import Stage
from asyncpay.wire.messages import BlockStatus

from .given import HASH
from .world import World


def ordered(world: World) -> None:
    """The user asks once more if the crash fell on the order."""
    while HASH not in world.stored:
        world.order()


def settled(world: World) -> None:
    ordered(world)
    world.sleep(60)
    world.lsp_releases()
    world.run()


def settled_while_away(world: World) -> None:
    ordered(world)
    world.sleep(60)
    world.disconnect()
    world.lsp_releases()
    world.run()
    world.connect()


def answers_lost(world: World) -> None:
    world.mute = True
    ordered(world)
    world.sleep(25)
    world.mute = False
    world.sleep(60)
    world.lsp_releases()
    world.run()


def channel_late(world: World) -> None:
    world.disconnect()
    ordered(world)
    world.lsp_accepts()
    world.connect()
    world.sleep(60)
    world.lsp_releases()
    world.run()


def node_killed(world: World) -> None:
    ordered(world)
    world.detach()
    world.attach()
    world.sleep(60)
    world.lsp_releases()
    world.run()


def refused(world: World) -> None:
    world.status = BlockStatus.HOLD_TOO_LONG
    ordered(world)
    world.sleep(60)


def unanswered(world: World) -> None:
    world.deaf = True
    ordered(world)
    world.sleep(100)
    world.deaf = False
    world.sleep(600)


def cancelled(world: World) -> None:
    ordered(world)
    world.sleep(60)
    while world.stage is not Stage.FAILED:
        world.cancel()
        world.sleep(100)  # it may take until no order can be on its way any more


def returned(world: World) -> None:
    ordered(world)
    world.sleep(60)
    world.mine(433)
    world.sleep(600)


def no_route(world: World) -> None:
    ordered(world)
    world.node_fails("no route")
    world.run()
    world.sleep(600)


SCENARIOS = [
    settled,
    settled_while_away,
    answers_lost,
    channel_late,
    node_killed,
    refused,
    unanswered,
    cancelled,
    returned,
    no_route,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("parts", [(1000,), (600, 400)])
def test_a_crash_before_every_action(scenario: Callable[[World], None], parts: tuple[int, ...]) -> None:
    calm = World(parts=parts)
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World(parts=parts)
        world.crash_at = crash
        scenario(world)
        where = f"crash at action {crash - begin} of {calm.actions - begin}: {world}"
        assert world.crash_at is None, "there was no crash"
        assert outcome(world) == outcome(calm), where
        assert len(world.begun) <= 1, where


def outcome(world: World) -> object:
    """What people see in the end."""
    assert world.payment.cancel_next_at is None
    in_flight = world.node[HASH].parts if HASH in world.node else []
    failure = world.payment.failure.split(": ")[-1]  # that the LSP returned it may be lost in the crash
    return world.stage, world.payment.preimage, failure, in_flight, world.pending_left > 0


@pytest.mark.parametrize("times", [2, 5])
def test_a_wallet_that_is_killed_again_and_again_pays_once(times: int) -> None:
    world = World()
    world.mute = True
    for _ in range(times):
        world.crash_at = world.actions + 4
        world.order()
        world.lsp_accepts()
    world.mute = False
    world.crash_at = None
    world.sleep(60)
    assert world.stage is Stage.HANDED_OVER
    assert world.begun == [HASH]


def test_the_node_is_told_to_pay_only_what_it_says_it_does_not_know() -> None:
    """Paying once does not rest on the node alone: the wallet asks before it orders again."""
    world = World()
    world.order()
    for _ in range(3):
        world.restart()
        world.detach()
        world.attach()
    assert len(world.did(Pay)) == 1
