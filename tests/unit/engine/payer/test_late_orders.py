"""An order to pay that was on its way when wallet or node stopped may be carried out late: nothing is known yet."""

import pytest

from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import Pay, Track
from asyncpay.engine.payer.states import State
from asyncpay.wire.messages import ReleaseStatus

from .factories import HASH, PREIMAGE, START
from .harness import PayerHarness, in_state

QUIET_SECONDS = 600


def on_its_way(how: str = "wallet") -> PayerHarness:
    """The wallet, or its connection with the node, breaks before the order has arrived; the user gives up."""
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    assert harness.state is State.PAYING
    harness.blackhole_to_lsp = True
    harness.node.clear()
    harness.cancel()
    if how == "wallet":
        harness.restart()
    else:
        harness.detach()
        harness.attach()
    return harness


@pytest.mark.parametrize("how", ["wallet", "node"])
def test_a_payment_that_the_node_does_not_know_may_still_be_made(how: str) -> None:
    harness = on_its_way(how)
    assert harness.state is State.PAYING
    harness.sleep(QUIET_SECONDS - 100)
    assert harness.state is State.PAYING
    harness.node_succeeds()
    harness.sleep(10)
    assert (harness.state, harness.payment.preimage, harness.payment.failure) == (State.SETTLED, PREIMAGE, "")
    assert len(harness.did(Pay)) == 1


def test_after_the_quiet_time_it_was_not_made() -> None:
    harness = on_its_way()
    harness.sleep(QUIET_SECONDS - 1)
    assert harness.state is State.PAYING
    harness.sleep(6)
    assert (harness.state, harness.payment.failure) == (State.FAILED, "cancelled")


def test_the_quiet_time_goes_on_while_the_phone_sleeps() -> None:
    harness = on_its_way()
    harness.detach()
    harness.sleep(QUIET_SECONDS)
    assert harness.state is State.PAYING
    harness.restart()
    assert harness.state is State.FAILED


def test_the_store_is_a_witness_of_the_time_at_which_sight_was_lost() -> None:
    harness = on_its_way()
    harness.sleep(50)
    payer = Payer(harness.policy, harness.stored.values())
    assert payer.stored_time is not None
    assert START <= payer.stored_time <= harness.now


def test_of_two_orders_that_fails_which_came_first() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    harness.node.clear()
    harness.restart()
    assert len(harness.did(Pay)) == 2
    harness.node_fails("no route")
    harness.run()
    assert harness.state is State.PAYING
    harness.sleep(QUIET_SECONDS / 2)
    harness.node_succeeds()
    harness.sleep(5)
    assert harness.state is State.SETTLED
    assert len(harness.did(Pay)) == 2


def test_it_is_ordered_again_once_after_each_break() -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order()
    harness.lsp_accepts()
    harness.node.clear()
    harness.restart()
    harness.node.clear()
    harness.detach()
    harness.attach()
    assert len(harness.did(Pay)) == 3
    harness.node.clear()
    harness.sleep(QUIET_SECONDS - 10)
    assert len(harness.did(Pay)) == 3


def test_a_payment_that_failed_and_was_paid_after_all_is_settled() -> None:
    harness = on_its_way()
    harness.sleep(QUIET_SECONDS + 10)
    assert harness.state is State.FAILED
    harness.node_succeeds()
    asked = len(harness.did(Track))
    harness.restart()
    assert len(harness.did(Track)) == asked + 1
    assert (harness.state, harness.payment.preimage, harness.payment.failure) == (State.SETTLED, PREIMAGE, "")
    assert harness.release_seen()[-1].message.status is ReleaseStatus.RELEASED
    harness.restart()
    assert len(harness.did(Track)) == asked + 1
    assert len(harness.did(Pay)) == 1


def test_a_failed_payment_is_not_paid_by_the_same_invoice_again() -> None:
    harness = on_its_way()
    harness.sleep(QUIET_SECONDS + 10)
    harness.order()
    assert harness.state is State.FAILED
    assert len(harness.did(Pay)) == 1


@pytest.mark.parametrize("state", [State.HELD, State.HANDED_OVER])
def test_of_what_was_held_the_node_had_the_order(state: State) -> None:
    harness = in_state(state)
    harness.restart()
    harness.node_fails("no route")
    harness.run()
    assert harness.state is State.FAILED
    asked = len(harness.did(Track))
    harness.restart()
    assert len(harness.did(Track)) == asked
    assert HASH in harness.stored
