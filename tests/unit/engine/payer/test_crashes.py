"""Killed before any of its actions, the wallet ends where it would have ended undisturbed, and has paid once."""

from collections.abc import Callable

import pytest

from asyncpay.engine.payer.interface import Pay
from asyncpay.engine.payer.states import State
from asyncpay.wire.messages import BlockStatus
from tests.support.engine_harness import with_a_crash_before_each_action

from .factories import HASH
from .harness import PayerHarness


def ordered(harness: PayerHarness) -> None:
    """The user asks once more if the crash fell on the order."""
    while HASH not in harness.stored:
        harness.order()


def settled(harness: PayerHarness) -> None:
    ordered(harness)
    harness.sleep(60)
    harness.lsp_releases()
    harness.run()


def settled_while_away(harness: PayerHarness) -> None:
    ordered(harness)
    harness.sleep(60)
    harness.disconnect()
    harness.lsp_releases()
    harness.run()
    harness.connect()


def answers_lost(harness: PayerHarness) -> None:
    harness.blackhole_from_lsp = True
    ordered(harness)
    harness.sleep(25)
    harness.blackhole_from_lsp = False
    harness.sleep(60)
    harness.lsp_releases()
    harness.run()


def channel_late(harness: PayerHarness) -> None:
    harness.disconnect()
    ordered(harness)
    harness.lsp_accepts()
    harness.connect()
    harness.sleep(60)
    harness.lsp_releases()
    harness.run()


def node_killed(harness: PayerHarness) -> None:
    ordered(harness)
    harness.detach()
    harness.attach()
    harness.sleep(60)
    harness.lsp_releases()
    harness.run()


def refused(harness: PayerHarness) -> None:
    harness.status = BlockStatus.HOLD_TOO_LONG
    ordered(harness)
    harness.sleep(60)


def unanswered(harness: PayerHarness) -> None:
    harness.blackhole_to_lsp = True
    ordered(harness)
    harness.sleep(100)
    harness.blackhole_to_lsp = False
    harness.sleep(600)


def cancelled(harness: PayerHarness) -> None:
    ordered(harness)
    harness.sleep(60)
    while harness.state is not State.FAILED:
        harness.cancel()
        harness.sleep(100)  # it may take until no order can be on its way any more


def returned(harness: PayerHarness) -> None:
    ordered(harness)
    harness.sleep(60)
    harness.mine(433)
    harness.sleep(600)


def no_route(harness: PayerHarness) -> None:
    ordered(harness)
    harness.node_fails("no route")
    harness.run()
    harness.sleep(600)


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
def test_a_crash_before_every_action(scenario: Callable[[PayerHarness], None], parts: tuple[int, ...]) -> None:
    for calm, harness, where in with_a_crash_before_each_action(lambda: PayerHarness(parts=parts), scenario):
        assert outcome(harness) == outcome(calm), where
        assert len(harness.begun) <= 1, where


def outcome(harness: PayerHarness) -> object:
    """What people see in the end."""
    assert harness.payment.cancel_next_at is None
    in_flight = harness.node[HASH].parts if HASH in harness.node else []
    failure = harness.payment.failure.split(": ")[-1]  # that the LSP returned it may be lost in the crash
    return harness.state, harness.payment.preimage, failure, in_flight, harness.pending_left > 0


@pytest.mark.parametrize("times", [2, 5])
def test_a_wallet_that_is_killed_again_and_again_pays_once(times: int) -> None:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    for _ in range(times):
        harness.crash_at = harness.actions + 4
        harness.order()
        harness.lsp_accepts()
    harness.blackhole_from_lsp = False
    harness.crash_at = None
    harness.sleep(60)
    assert harness.state is State.HANDED_OVER
    assert harness.begun == [HASH]


def test_the_node_is_told_to_pay_only_what_it_says_it_does_not_know() -> None:
    """Paying once does not rest on the node alone: the wallet asks before it orders again."""
    harness = PayerHarness()
    harness.order()
    for _ in range(3):
        harness.restart()
        harness.detach()
        harness.attach()
    assert len(harness.did(Pay)) == 1
