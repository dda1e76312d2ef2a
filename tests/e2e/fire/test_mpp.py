"""Payments in parts: they are released together or returned together, whatever becomes of one of them."""

import time

import pytest

from asyncpay.engine.lsp.stages import Stage
from asyncpay.wire.messages import BlockState
from harness.lsp import Lsp
from harness.moments import frozen_before
from harness.scene import Deal, Scene
from harness.waits import Predicate, htlcs_held, wait_for

from .by_hand import payer_by_hand

MORE_THAN_ONE_CHANNEL_HAS_MSAT = 4_000_000_000
PART_MSAT = 1_000_000
MPP_SECONDS = 120
"""After this a payee's LND returns the parts of an incomplete set; CLN after 70 s."""


def in_parts(scene: Scene, parts: int) -> tuple[Deal, tuple[str, str]]:
    """A payment, and the option that splits it into so many parts."""
    return scene.deal(parts * PART_MSAT), ("--max-part", f"{PART_MSAT}msat")


def answers(lsp: Lsp, since: float) -> list[float]:
    """When the LSP let an HTLC go."""
    return [event["time"] for event in lsp.events() if event["what"] == "answer resume" and event["time"] > since]


def some_held(scene: Scene, deal: Deal, fewer_than: int) -> Predicate:
    """The payer's LSP has some of the payment's parts, and the others are still on their way."""

    def missing() -> str | None:
        block = scene.block(deal)
        parts = 0 if block is None else len(block["parts"])
        return None if 0 < parts < fewer_than else f"the LSP holds {parts}"

    return Predicate("some_held", missing)


def test_parts_over_two_channels_are_released_together(scene: Scene) -> None:
    deal = scene.deal(MORE_THAN_ONE_CHANNEL_HAS_MSAT)
    with scene.b.unplugged():
        parts = deal.hand_over()["parts"]
        assert all(channel.htlcs for channel in scene.testbed["A"].channels()), "only one channel was needed"
        scene.wait_for_htlcs(A=parts, LSP=parts, B=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_sixteen_parts(scene: Scene) -> None:
    deal, split = in_parts(scene, 16)
    with scene.b.unplugged():
        assert deal.hand_over(*split)["parts"] == 16
        scene.wait_for_htlcs(A=16, LSP=16, B=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


@pytest.mark.full  # on a busy machine all parts may be there before the cut, and then there is nothing to see
def test_parts_that_never_come(scene: Scene) -> None:
    """The payer is cut off in the middle of sending: what the LSP has goes back, and what comes later too."""
    deal, split = in_parts(scene, 16)
    scene.fault("latency 2 s")
    with scene.a.latency_ms(2_000):
        paying = scene.a.wallet.paying(deal.invoice, *split)
        wait_for(some_held(scene, deal, fewer_than=16), 90)
        scene.fault("link cut")
        with scene.a.unplugged():
            scene.wait_for_block(deal, "failed back")
    assert paying.result(150)["state"] == "failed"
    scene.assert_nobody_paid(deal)


@pytest.mark.full
def test_parts_that_wait_for_longer_than_the_payee_would(scene: Scene) -> None:
    """The payee's own patience begins with its first part, and that one does not come before the last."""
    deal, split = in_parts(scene, 16)
    lsp = scene.testbed.lsp("LSP")
    with scene.b.unplugged():
        deal.hand_over(*split)
        held_since = time.time()
        waited = Predicate("waited", lambda: None if time.time() > held_since + MPP_SECONDS + 10 else "not for long")
        wait_for(waited, MPP_SECONDS + 60)
        scene.wait_for_htlcs(A=16, LSP=16, B=0)
        scene.a.unplug()
    deal.wait_until_paid()
    scene.a.plug()
    scene.assert_paid(deal)
    assert not answers(lsp, held_since), "they were paid for, not forwarded: the payer was away"


def test_parts_are_let_go_in_one_breath(scene: Scene) -> None:
    """So the payee never waits for one of them: a release slower than its patience cannot happen."""
    deal, split = in_parts(scene, 16)
    lsp = scene.testbed.lsp("LSP")
    with scene.b.unplugged():
        deal.hand_over(*split)
        released_after = time.time()
    deal.wait_until_paid()
    scene.assert_paid(deal)
    times = answers(lsp, released_after)
    assert len(times) == 16
    assert max(times) - min(times) < 70, "CLN would have returned the first part by now"


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
        hold.stage(Stage.UNLOCKED)
        hold.pay(parts=2).update(BlockState.SETTLED, 1)
        by_hand.assert_paid(hold)


def test_two_invoices_under_one_pid(scene: Scene) -> None:
    """Neither is paid before both are held; then one release pays both."""
    with payer_by_hand(scene) as by_hand:
        first, second = by_hand.invoice(PART_MSAT), by_hand.invoice(2 * PART_MSAT)
        both = {"payment_hashes": (first.payment_hash, second.payment_hash), "amount_msat": 3 * PART_MSAT}
        hold = by_hand.hold(first, **both).ask().announce(by_hand.payee).pay()
        wait_for(htlcs_held(scene.testbed.lsp("LSP"), 1))
        scene.wait_for_htlcs(A=1, LSP=1, B=0)
        other = by_hand.hold(second).pay(parts=2)
        by_hand.assert_paid(hold, other)
        [claim] = [each for each in scene.b.wallet.announced() if len(each["payment_hashes"]) == 2]
        assert claim["state"] == "paid"


@pytest.mark.full
def test_lsp_stands_still_between_two_answers(scene: Scene) -> None:
    """For longer than the payee waits for the second part: both go back, and the payee has not kept the first."""
    deal, split = in_parts(scene, 2)
    lsp = scene.testbed.lsp("LSP")
    scene.b.unplug()
    deal.hand_over(*split)
    with frozen_before(scene.testbed, lsp, "Answer", 2) as store:
        scene.b.plug()
        wait_for(store.frozen, 60)
        scene.fault("LSP component stands still")
        scene.wait_for_htlcs(A=2, LSP=3, B=1)
        returned = Predicate("first_part_returned", lambda: "B has it" if scene.htlcs("B") else None)
        wait_for(returned, MPP_SECONDS + 60)
    deal.wait_until("failed", timeout_seconds=MPP_SECONDS + 120)
    scene.assert_nobody_paid(deal)
