"""Each deadline at its exact block or second, alone and in every state that it can end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy, suited
from asyncpay.lightning import Capabilities, Resolution
from asyncpay.wire.messages import BlockState

from .factories import CHANNEL_A2, HEIGHT, ROUTER, START, A, cln, lnd
from .harness import LspHarness

FAR = HEIGHT + 900
SOON = int(START) + 1000


def accepted(harness: LspHarness) -> None:
    harness.pay(incoming_expiry=FAR)


def unlocked(harness: LspHarness) -> None:
    harness.pay(incoming_expiry=FAR)
    harness.release()


def held(harness: LspHarness) -> None:
    harness.pay(5000, incoming_expiry=FAR)


def due(harness: LspHarness) -> None:
    harness.disconnect(ROUTER)
    harness.pay(5000, incoming_expiry=FAR)
    harness.release()


STATES = [accepted, unlocked, held, due]


def prepared(state: Callable[[LspHarness], None], **changes: Any) -> LspHarness:
    harness = LspHarness(policy=LspPolicy(incomplete_seconds=10**9, min_margin_blocks=30, pace_seconds=0))
    harness.block(amount_msat=5000, **changes)
    state(harness)
    assert harness.state() is State[state.__name__.upper()]
    return harness


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("slack", [0, 10, 144])
def test_release_by_height_is_the_last_height(state: Callable[[LspHarness], None], slack: int) -> None:
    harness = prepared(state, release_by_height=HEIGHT + slack)
    harness.mine(slack)
    assert harness.fates() == ["held"]
    harness.mine()
    assert harness.fates() == ["failed"]
    assert harness.updates()[-1] == (BlockState.FAILED_BACK, 1)


@pytest.mark.parametrize("state", STATES)
def test_hold_until_is_the_last_second(state: Callable[[LspHarness], None]) -> None:
    harness = prepared(state, hold_until=SOON)
    harness.sleep(1000.999)
    assert harness.fates() == ["held"]
    harness.sleep(0.001)
    assert harness.fates() == ["failed"]


def test_a_release_within_the_last_second_is_in_time() -> None:
    harness = LspHarness()
    harness.block(hold_until=SOON)
    harness.pay()
    harness.sleep(1000.9)
    harness.release()
    assert harness.fates() == ["forwarded"]


@pytest.mark.parametrize("state", STATES)
def test_a_part_in_its_margin_fails_the_whole_set(state: Callable[[LspHarness], None]) -> None:
    harness = prepared(state, release_by_height=HEIGHT + 1000)
    other = harness.pay(channel=CHANNEL_A2, incoming_expiry=FAR + 100)
    harness.mine_to(FAR - 31)
    assert harness.fates() == ["held", "held"]
    harness.mine()
    assert harness.fates() == ["failed", "failed"]
    assert harness.answered(other) == [[Resolution.FAIL]]
    assert harness.losses == []


@pytest.mark.parametrize("state", [accepted, unlocked])
def test_an_incomplete_set_has_120_seconds_from_its_first_part(state: Callable[[LspHarness], None]) -> None:
    harness = LspHarness()
    harness.block(amount_msat=5000)
    harness.sleep(50)
    state(harness)
    harness.sleep(60)
    harness.pay()
    harness.sleep(59.9)
    assert harness.fates() == ["held", "held"]
    harness.sleep(0.1)
    assert harness.fates() == ["failed", "failed"]


def test_a_complete_set_has_all_the_time_it_asked_for() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.sleep(86_400)
    assert harness.fates() == ["held"]


def test_a_block_without_parts_ends_quietly() -> None:
    harness = LspHarness()
    harness.block()
    harness.sleep(86_401)
    assert harness.state() is State.FAILED_BACK
    late = harness.pay()
    assert harness.answered(late) == [[Resolution.FAIL]]


def test_a_part_that_comes_within_its_margin_is_not_held_at_all() -> None:
    harness = LspHarness(policy=LspPolicy(min_margin_blocks=30))
    harness.block()
    key = harness.pay(incoming_expiry=HEIGHT + 30)
    assert harness.answered(key) == [[Resolution.FAIL]]
    assert harness.state() is State.FAILED_BACK


def test_not_even_while_its_siblings_are_missing() -> None:
    harness = LspHarness(policy=LspPolicy(min_margin_blocks=30))
    harness.block(amount_msat=5000)
    keys = harness.pay(), harness.pay(incoming_expiry=HEIGHT + 30)
    assert harness.answered(*keys) == [[Resolution.FAIL]] * 2


@pytest.mark.parametrize("wait", ["height", "time"])
def test_never_after_a_part_may_have_been_forwarded(wait: str) -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    keys = harness.pay(), harness.pay()
    harness.release()
    if wait == "height":
        harness.mine_to(HEIGHT + 650)
    else:
        harness.sleep(10 * 86_400)
    assert harness.answered(*keys) == [[Resolution.RESUME]] * 2
    assert harness.losses == []


def test_a_deadline_that_passes_while_the_node_is_away_is_kept_for_its_return() -> None:
    harness = LspHarness()
    harness.block(hold_until=SOON)
    key = harness.pay()
    harness.detach()
    harness.sleep(2000)
    assert (harness.state(), harness.answered(key)) == (State.FAILED_BACK, [[]])
    harness.attach()
    assert harness.answered(key) == [[Resolution.FAIL]]


def test_a_deadline_that_passes_while_the_lsp_is_down_is_kept_for_its_start() -> None:
    harness = LspHarness()
    harness.block(hold_until=SOON)
    key = harness.pay()
    harness.now += 2000
    harness.restart()
    assert harness.answered(key) == [[Resolution.FAIL]]


def test_lnd_tells_of_its_held_htlcs_only_when_their_payer_is_back() -> None:
    harness = LspHarness()
    harness.block(hold_until=SOON)
    key = harness.pay()
    harness.restart_node()
    harness.sleep(2000)
    assert (harness.state(), harness.answered(key)) == (State.FAILED_BACK, [[]])
    harness.connect(A)
    assert harness.answered(key) == [[Resolution.FAIL]]


def test_a_lower_height_after_a_reorganisation_undoes_nothing() -> None:
    harness = LspHarness()
    harness.block(release_by_height=HEIGHT)
    harness.pay()
    harness.mine()
    harness.height -= 3
    harness.mine()
    assert harness.state() is State.FAILED_BACK


@pytest.mark.parametrize("node", [lnd(), cln()], ids=["lnd", "cln"])
def test_a_policy_that_the_node_would_overrule_is_refused(node: Capabilities) -> None:
    assert node.cutoff_blocks is not None
    least = node.cutoff_blocks + 4
    Lsp(LspPolicy(min_margin_blocks=least), node)
    with pytest.raises(ValueError, match=f"this node needs {least} or more"):
        Lsp(LspPolicy(min_margin_blocks=least - 1), node)


def test_the_default_margin_is_what_the_node_needs() -> None:
    hasty = replace(cln(), cutoff_blocks=111)
    assert suited(LspPolicy(), lnd()) == LspPolicy()
    assert suited(LspPolicy(), hasty).min_margin_blocks == 115
    assert suited(LspPolicy(min_margin_blocks=20), hasty).min_margin_blocks == 20  # set, and so refused
    Lsp(suited(LspPolicy(), hasty), hasty)
