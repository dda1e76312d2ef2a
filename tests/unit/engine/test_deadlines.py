"""Each deadline at its exact block or second, alone and in every stage that it can end."""

from collections.abc import Callable

import pytest

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capabilities, Resolution
from asyncpay.wire.messages import BlockState

from .given import CHANNEL_A2, HEIGHT, ROUTER, START, A, cln, lnd
from .world import World

FAR = HEIGHT + 900
SOON = int(START) + 1000


def accepted(world: World) -> None:
    world.pay(incoming_expiry=FAR)


def unlocked(world: World) -> None:
    world.pay(incoming_expiry=FAR)
    world.release()


def held(world: World) -> None:
    world.pay(5000, incoming_expiry=FAR)


def due(world: World) -> None:
    world.disconnect(ROUTER)
    world.pay(5000, incoming_expiry=FAR)
    world.release()


STAGES = [accepted, unlocked, held, due]


def prepared(stage: Callable[[World], None], **changes: int) -> World:
    world = World(policy=LspPolicy(incomplete_seconds=10**9, min_margin_blocks=30))
    world.block(amount_msat=5000, **changes)
    stage(world)
    assert world.state() is State[stage.__name__.upper()]
    return world


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("slack", [0, 10, 144])
def test_release_by_height_is_the_last_height(stage: Callable[[World], None], slack: int) -> None:
    world = prepared(stage, release_by_height=HEIGHT + slack)
    world.mine(slack)
    assert world.fates() == ["held"]
    world.mine()
    assert world.fates() == ["failed"]
    assert world.updates()[-1] == (BlockState.FAILED_BACK, 1)


@pytest.mark.parametrize("stage", STAGES)
def test_hold_until_is_the_last_second(stage: Callable[[World], None]) -> None:
    world = prepared(stage, hold_until=SOON)
    world.sleep(1000.999)
    assert world.fates() == ["held"]
    world.sleep(0.001)
    assert world.fates() == ["failed"]


def test_a_release_within_the_last_second_is_in_time() -> None:
    world = World()
    world.block(hold_until=SOON)
    world.pay()
    world.sleep(1000.9)
    world.release()
    assert world.fates() == ["forwarded"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_part_in_its_margin_fails_the_whole_set(stage: Callable[[World], None]) -> None:
    world = prepared(stage, release_by_height=HEIGHT + 1000)
    other = world.pay(channel=CHANNEL_A2, incoming_expiry=FAR + 100)
    world.mine_to(FAR - 31)
    assert world.fates() == ["held", "held"]
    world.mine()
    assert world.fates() == ["failed", "failed"]
    assert world.answered(other) == [[Resolution.FAIL]]
    assert world.losses == []


@pytest.mark.parametrize("stage", [accepted, unlocked])
def test_an_incomplete_set_has_120_seconds_from_its_first_part(stage: Callable[[World], None]) -> None:
    world = World()
    world.block(amount_msat=5000)
    world.sleep(50)
    stage(world)
    world.sleep(60)
    world.pay()
    world.sleep(59.9)
    assert world.fates() == ["held", "held"]
    world.sleep(0.1)
    assert world.fates() == ["failed", "failed"]


def test_a_complete_set_has_all_the_time_it_asked_for() -> None:
    world = World()
    world.block()
    world.pay()
    world.sleep(86_400)
    assert world.fates() == ["held"]


def test_a_block_without_parts_ends_quietly() -> None:
    world = World()
    world.block()
    world.sleep(86_401)
    assert world.state() is State.FAILED_BACK
    late = world.pay()
    assert world.answered(late) == [[Resolution.FAIL]]


def test_a_part_that_comes_within_its_margin_is_not_held_at_all() -> None:
    world = World(policy=LspPolicy(min_margin_blocks=30))
    world.block()
    key = world.pay(incoming_expiry=HEIGHT + 30)
    assert world.answered(key) == [[Resolution.FAIL]]
    assert world.state() is State.FAILED_BACK


def test_not_even_while_its_siblings_are_missing() -> None:
    world = World(policy=LspPolicy(min_margin_blocks=30))
    world.block(amount_msat=5000)
    keys = world.pay(), world.pay(incoming_expiry=HEIGHT + 30)
    assert world.answered(*keys) == [[Resolution.FAIL]] * 2


@pytest.mark.parametrize("wait", ["height", "time"])
def test_never_after_a_part_may_have_been_forwarded(wait: str) -> None:
    world = World()
    world.block(amount_msat=2000)
    keys = world.pay(), world.pay()
    world.release()
    if wait == "height":
        world.mine_to(HEIGHT + 650)
    else:
        world.sleep(10 * 86_400)
    assert world.answered(*keys) == [[Resolution.RESUME]] * 2
    assert world.losses == []


def test_a_deadline_that_passes_while_the_node_is_away_is_kept_for_its_return() -> None:
    world = World()
    world.block(hold_until=SOON)
    key = world.pay()
    world.detach()
    world.sleep(2000)
    assert (world.state(), world.answered(key)) == (State.FAILED_BACK, [[]])
    world.attach()
    assert world.answered(key) == [[Resolution.FAIL]]


def test_a_deadline_that_passes_while_the_lsp_is_down_is_kept_for_its_start() -> None:
    world = World()
    world.block(hold_until=SOON)
    key = world.pay()
    world.now += 2000
    world.restart()
    assert world.answered(key) == [[Resolution.FAIL]]


def test_lnd_tells_of_its_held_htlcs_only_when_their_payer_is_back() -> None:
    world = World()
    world.block(hold_until=SOON)
    key = world.pay()
    world.restart_node()
    world.sleep(2000)
    assert (world.state(), world.answered(key)) == (State.FAILED_BACK, [[]])
    world.connect(A)
    assert world.answered(key) == [[Resolution.FAIL]]


def test_a_lower_height_after_a_reorganisation_undoes_nothing() -> None:
    world = World()
    world.block(release_by_height=HEIGHT)
    world.pay()
    world.mine()
    world.height -= 3
    world.mine()
    assert world.state() is State.FAILED_BACK


@pytest.mark.parametrize("node", [lnd(), cln()], ids=["lnd", "cln"])
def test_a_policy_that_the_node_would_overrule_is_refused(node: Capabilities) -> None:
    assert node.cutoff_blocks is not None
    least = node.cutoff_blocks + 4
    Lsp(LspPolicy(min_margin_blocks=least), node)
    with pytest.raises(ValueError, match=f"this node needs {least} or more"):
        Lsp(LspPolicy(min_margin_blocks=least - 1), node)
