"""The payer's message to the payee, sent again by the LSP."""

from itertools import pairwise

import pytest

from asyncpay.engine.lsp.effects import Relay
from asyncpay.engine.lsp.policy import Policy
from asyncpay.engine.lsp.stages import Stage

from .given import ROUTER, START, A, courier
from .world import World


def blocked(**changes: object) -> World:
    world = World()
    world.block(courier=courier(), **changes)
    return world


def times(world: World, seconds: float) -> list[float]:
    """When the courier was sent, in seconds from now."""
    begin, found = world.now, []
    while world.now < begin + seconds:
        before = len(world.did(Relay))
        world.sleep(1)
        found += [world.now - begin] * (len(world.did(Relay)) - before)
    return found


def test_not_before_all_parts_are_held() -> None:
    world = blocked(amount_msat=2000)
    world.pay()
    world.sleep(60)
    assert world.did(Relay) == []


def test_5_seconds_after_held_then_doubling_to_10_minutes() -> None:
    world = blocked()
    world.pay()
    sent = times(world, 3000)
    assert sent[0] == 5
    assert [later - earlier for earlier, later in pairwise(sent)] == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert world.did(Relay)[0].message.packet == courier().onion
    assert world.did(Relay)[0].client == A


@pytest.mark.parametrize("end", ["release", "due", "refusal", "cancel", "deadline"])
def test_until_release_refusal_or_end(end: str) -> None:
    world = blocked(hold_until=int(START) + 100)
    if end == "due":
        world.disconnect(ROUTER)
    world.pay()
    world.sleep(20)
    {"refusal": world.refuse, "cancel": world.cancel, "deadline": lambda: world.sleep(81)}.get(end, world.release)()
    assert world.stage() is not Stage.HELD
    world.effects.clear()
    world.sleep(3600)
    assert world.did(Relay) == []


def test_it_goes_on_after_a_crash_where_it_was() -> None:
    world = blocked()
    world.pay()
    world.sleep(16)
    world.restart()
    world.effects.clear()
    assert times(world, 40) == [19]


def test_it_waits_for_the_node() -> None:
    world = blocked()
    world.block(unblock_hash=bytes(32), payment_hashes=(bytes(32),), hold_until=int(START) + 60)
    world.pay()
    world.detach()
    world.sleep(600)
    assert world.did(Relay) == []
    world.attach()
    assert len(world.did(Relay)) == 1


def test_it_goes_on_for_as_long_as_anything_may_be_held() -> None:
    """Two weeks are more doublings than a float has room for."""
    world = World(policy=Policy(courier_first_seconds=5.0))
    world.block(courier=courier(), hold_until=int(START) + Policy().max_hold_seconds)
    world.pay()
    world.sleep(Policy().max_hold_seconds - 1)
    assert len(world.did(Relay)) > 1024
