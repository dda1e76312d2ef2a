"""An order to pay that was on its way when wallet or node stopped may be carried out late: nothing is known yet."""

import pytest

from asyncpay.engine.payer.effects import Pay, Track
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.stages import Stage
from asyncpay.wire.messages import ReleaseStatus

from .given import HASH, PREIMAGE, START
from .world import World, in_stage

QUIET_SECONDS = 600


def on_its_way(how: str = "wallet") -> World:
    """The wallet, or its connection with the node, breaks before the order has arrived; the user gives up."""
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    assert world.stage is Stage.PAYING
    world.deaf = True
    world.node.clear()
    world.cancel()
    if how == "wallet":
        world.restart()
    else:
        world.detach()
        world.attach()
    return world


@pytest.mark.parametrize("how", ["wallet", "node"])
def test_a_payment_that_the_node_does_not_know_may_still_be_made(how: str) -> None:
    world = on_its_way(how)
    assert world.stage is Stage.PAYING
    world.sleep(QUIET_SECONDS - 100)
    assert world.stage is Stage.PAYING
    world.node_succeeds()
    world.sleep(10)
    assert (world.stage, world.payment.preimage, world.payment.failure) == (Stage.SETTLED, PREIMAGE, "")
    assert len(world.did(Pay)) == 1


def test_after_the_quiet_time_it_was_not_made() -> None:
    world = on_its_way()
    world.sleep(QUIET_SECONDS - 1)
    assert world.stage is Stage.PAYING
    world.sleep(6)
    assert (world.stage, world.payment.failure) == (Stage.FAILED, "cancelled")


def test_the_quiet_time_goes_on_while_the_phone_sleeps() -> None:
    world = on_its_way()
    world.detach()
    world.sleep(QUIET_SECONDS)
    assert world.stage is Stage.PAYING
    world.restart()
    assert world.stage is Stage.FAILED


def test_the_store_is_a_witness_of_the_time_at_which_sight_was_lost() -> None:
    world = on_its_way()
    world.sleep(50)
    payer = Payer(world.policy, world.stored.values())
    assert payer.stored_time is not None
    assert START <= payer.stored_time <= world.now


def test_of_two_orders_that_fails_which_came_first() -> None:
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    world.node.clear()
    world.restart()
    assert len(world.did(Pay)) == 2
    world.node_fails("no route")
    world.run()
    assert world.stage is Stage.PAYING
    world.sleep(QUIET_SECONDS / 2)
    world.node_succeeds()
    world.sleep(5)
    assert world.stage is Stage.SETTLED
    assert len(world.did(Pay)) == 2


def test_it_is_ordered_again_once_after_each_break() -> None:
    world = World()
    world.mute = True
    world.order()
    world.lsp_accepts()
    world.node.clear()
    world.restart()
    world.node.clear()
    world.detach()
    world.attach()
    assert len(world.did(Pay)) == 3
    world.node.clear()
    world.sleep(QUIET_SECONDS - 10)
    assert len(world.did(Pay)) == 3


def test_a_payment_that_failed_and_was_paid_after_all_is_settled() -> None:
    world = on_its_way()
    world.sleep(QUIET_SECONDS + 10)
    assert world.stage is Stage.FAILED
    world.node_succeeds()
    asked = len(world.did(Track))
    world.restart()
    assert len(world.did(Track)) == asked + 1
    assert (world.stage, world.payment.preimage, world.payment.failure) == (Stage.SETTLED, PREIMAGE, "")
    assert world.release_seen()[-1].message.status is ReleaseStatus.RELEASED
    world.restart()
    assert len(world.did(Track)) == asked + 1
    assert len(world.did(Pay)) == 1


def test_a_failed_payment_is_not_paid_by_the_same_invoice_again() -> None:
    world = on_its_way()
    world.sleep(QUIET_SECONDS + 10)
    world.order()
    assert world.stage is Stage.FAILED
    assert len(world.did(Pay)) == 1


@pytest.mark.parametrize("stage", [Stage.HELD, Stage.HANDED_OVER])
def test_of_what_was_held_the_node_had_the_order(stage: Stage) -> None:
    world = in_stage(stage)
    world.restart()
    world.node_fails("no route")
    world.run()
    assert world.stage is Stage.FAILED
    asked = len(world.did(Track))
    world.restart()
    assert len(world.did(Track)) == asked
    assert HASH in world.stored
