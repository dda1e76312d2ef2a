"""Payments in parts: they are released together or returned together, whatever becomes of one of them."""

import time

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.wire.messages import BlockState
from harness.faults.failpoints import frozen_before
from harness.services.lsp import Lsp, htlcs_held
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities
from tests.support.payment_harness import Deal, Scene

from .conftest import PARTS
from .scripted_payer import payer_by_hand

MORE_THAN_ONE_CHANNEL_HAS_MSAT = 4_000_000_000
PART_MSAT = 10_000_000
MPP_SECONDS = 120
"""After this a payee's LND returns the parts of an incomplete set; CLN after 70 s."""
HELD_BEFORE = {"lnd": (PARTS, 1), "cln": (1,)}
"""Payments of so many parts leave room for all of another's but one. LND looks for a channel with room for each part;
askrene, which finds routes for CLN, does not know how many HTLCs a channel has, and sends all parts through one."""


@pytest.fixture(scope="module")
def testbed(pocket: Testbed) -> Testbed:
    return pocket


def in_parts(scene: Scene, number: int) -> tuple[Deal, tuple[str, str]]:
    """A payment, and the option that splits it into so many parts."""
    return scene.deal(number * PART_MSAT), ("--max-part", f"{PART_MSAT}msat")


def answers(lsp: Lsp, since: float) -> list[float]:
    """When the LSP let an HTLC go."""
    return [event["time"] for event in lsp.events() if event["what"] == "answer resume" and event["time"] > since]


def parts(scene: Scene, deal: Deal) -> list[dict[str, int]]:
    """What the payer's LSP has, or has had, of a payment."""
    block = scene.block(deal)
    assert block is not None
    found: list[dict[str, int]] = block["parts"]
    return found


def test_parts_over_two_channels_are_released_together(scene: Scene) -> None:
    deal = scene.deal(MORE_THAN_ONE_CHANNEL_HAS_MSAT)
    with scene.b.disconnected():
        number = deal.hand_over()["parts"]
        scene.wait_for_htlcs(A=number, LSP=number, B=0)
        assert all(channel.htlcs for channel in scene.testbed["A"].channels()), "only one channel was needed"
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_sixteen_parts(scene: Scene) -> None:
    deal, split = in_parts(scene, PARTS)
    with scene.b.disconnected():
        assert deal.hand_over(*split)["parts"] == PARTS
        scene.wait_for_htlcs(A=PARTS, LSP=PARTS, B=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_parts_that_never_come(scene: Scene) -> None:
    """The payer's node has no room for the last one: what the LSP has goes back, and what is complete stays held."""
    before = HELD_BEFORE[scene.testbed.topology.nodes["A"].implementation]
    held = [in_parts(scene, number) for number in before]
    torn, split = in_parts(scene, PARTS)
    with scene.b.disconnected():
        for deal, of_this_size in held:
            deal.hand_over(*of_this_size)
        scene.fault("no room for the last part")
        paying = scene.a.wallet.paying(torn.invoice, *split)
        all_but_one = sum(before) + PARTS - 1
        scene.wait_for_htlcs(A=all_but_one, LSP=all_but_one, B=0)
        scene.wait_for_block(torn, "failed back")
        assert len(parts(scene, torn)) == PARTS - 1
        assert paying.result(150)["state"] == "failed"
        scene.wait_for_htlcs(A=sum(before), LSP=sum(before), B=0)
    for deal, _ in held:
        deal.wait_until_paid()
    scene.assert_paid(*(deal for deal, _ in held))


@pytest.mark.full
def test_parts_that_wait_for_longer_than_the_payee_would(scene: Scene) -> None:
    """The payee's own patience begins with its first part, and that one does not come before the last."""
    deal, split = in_parts(scene, PARTS)
    lsp = scene.testbed.lsp("LSP")
    with scene.b.disconnected():
        deal.hand_over(*split)
        held_since = time.time()
        waited = Predicate("waited", lambda: None if time.time() > held_since + MPP_SECONDS + 10 else "not for long")
        wait_for(waited, MPP_SECONDS + 60)
        scene.wait_for_htlcs(A=PARTS, LSP=PARTS, B=0)
        scene.a.disconnect()
    deal.wait_until_paid()
    scene.a.reconnect()
    scene.assert_paid(deal)
    forwards = capabilities(scene.testbed, "LSP").forwards_with_payer_offline
    assert len(answers(lsp, held_since)) == (PARTS if forwards else 0), "if not, they were paid for: the payer was away"


def test_each_part_is_let_go_once(scene: Scene) -> None:
    """All of them, and none again: a payee that waited for one of them would return the others."""
    deal, split = in_parts(scene, PARTS)
    lsp = scene.testbed.lsp("LSP")
    with scene.b.disconnected():
        deal.hand_over(*split)
        released_after = time.time()
    deal.wait_until_paid()
    scene.assert_paid(deal)
    assert len(answers(lsp, released_after)) == PARTS


def test_a_part_more_than_announced_is_released_with_the_others(scene: Scene) -> None:
    """The set is complete without it, and yet it waits like the rest."""
    with payer_by_hand(scene) as by_hand:
        hold = by_hand.hold(by_hand.invoice(2 * PART_MSAT), amount_msat=PART_MSAT).ask().pay(parts=2)
        hold.update(BlockState.HELD, 2)
        scene.wait_for_htlcs(A=2, LSP=2, B=0)
        hold.announce(by_hand.payee, amount_msat=2 * PART_MSAT)
        by_hand.assert_paid(hold)


def test_a_part_after_the_release_passes(scene: Scene) -> None:
    """The payee releases before there is anything; the first part completes the set, the second finds it gone."""
    with payer_by_hand(scene) as by_hand:
        hold = by_hand.hold(by_hand.invoice(2 * PART_MSAT), amount_msat=PART_MSAT).ask()
        hold.announce(by_hand.payee, amount_msat=2 * PART_MSAT)
        hold.stage(State.UNLOCKED)
        hold.pay(parts=2).update(BlockState.SETTLED, 1)
        by_hand.assert_paid(hold)


def test_two_invoices_under_one_pid(scene: Scene) -> None:
    """Neither is paid before both are held; then one release pays both."""
    with payer_by_hand(scene) as by_hand:
        first, second = by_hand.invoice(PART_MSAT), by_hand.invoice(2 * PART_MSAT)
        both = {"payment_hashes": (first.payment_hash, second.payment_hash), "amount_msat": 3 * PART_MSAT}
        hold = by_hand.hold(first, **both).ask().announce(by_hand.payee, second).pay()
        wait_for(htlcs_held(scene.testbed.lsp("LSP"), 1))
        scene.wait_for_htlcs(A=1, LSP=1, B=0)
        other = by_hand.hold(second).pay(parts=2)
        by_hand.assert_paid(hold, other)

        def missing() -> str | None:
            states = [each["state"] for each in scene.b.wallet.announced() if len(each["payment_hashes"]) == 2]
            return None if states == ["paid"] else f"B says {states}"

        wait_for(Predicate("both_paid", missing))


@pytest.mark.full
def test_lsp_stands_still_between_two_answers(scene: Scene) -> None:
    """For longer than the payee waits for the second part: both go back, and the payee has not kept the first."""
    deal, split = in_parts(scene, 2)
    lsp = scene.testbed.lsp("LSP")
    scene.b.disconnect()
    deal.hand_over(*split)
    with frozen_before(scene.testbed, lsp, "ResolveHtlc", 2) as store:
        scene.b.reconnect()
        wait_for(store.frozen, 60)
        scene.fault("LSP component stands still")
        scene.wait_for_htlcs(A=2, LSP=3, B=1)
        returned = Predicate("first_part_returned", lambda: "B has it" if scene.htlcs("B") else None)
        wait_for(returned, MPP_SECONDS + 60)
    deal.wait_until("failed", timeout_seconds=MPP_SECONDS + 120)
    scene.assert_nobody_paid(deal)
