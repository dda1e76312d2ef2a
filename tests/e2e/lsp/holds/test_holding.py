"""Parts are held and released together; whatever is not blocked passes."""

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.wire.messages import BlockState, ReleaseStatus
from harness.services.lsp import htlcs_held
from harness.waits import wait_for
from tests.support.scripted_peer import Hold

from .hold_harness import AMOUNT_MSAT, Scene


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_payment_is_held_until_it_is_released(scene: Scene, parts: int) -> None:
    hold = scene.hold().ask().pay(parts).update(BlockState.HELD, parts)
    scene.assert_held(hold, parts)

    assert scene.release(hold) is ReleaseStatus.RELEASED

    hold.update(BlockState.RELEASED, parts).update(BlockState.SETTLED, parts)
    scene.assert_paid(hold)


def test_unblocked_payment_passes_while_another_is_held(scene: Scene) -> None:
    held = scene.hold().ask().pay().update(BlockState.HELD)

    unblocked = scene.hold().pay(parts=2)
    assert unblocked.result().status is PaymentStatus.SUCCEEDED

    scene.assert_held(held, 1)
    assert scene.release(held) is ReleaseStatus.RELEASED
    scene.assert_paid(held, unblocked)


def test_pid_may_come_before_the_parts(scene: Scene) -> None:
    hold = scene.hold().ask()
    assert scene.release(hold) is ReleaseStatus.RELEASED

    hold.pay(parts=2).update(BlockState.SETTLED, 2)

    scene.assert_paid(hold)


def test_pid_between_the_parts_waits_for_the_last(scene: Scene) -> None:
    """One block for two payments: nothing goes before both are there."""
    second = scene.b.invoice(AMOUNT_MSAT)
    first = scene.b.invoice(AMOUNT_MSAT)
    both = {"payment_hashes": (first.payment_hash, second.payment_hash), "amount_msat": 2 * AMOUNT_MSAT}
    hold = Hold(scene.a, "LSP", first, **both).ask().pay()
    wait_for(htlcs_held(scene.lsp, 1))
    assert scene.release(hold) is ReleaseStatus.RELEASED
    scene.assert_held(hold, 1)

    sibling = Hold(scene.a, "LSP", second).pay()

    hold.update(BlockState.SETTLED, 2)
    scene.assert_paid(hold, sibling)


def test_part_after_the_release_passes(scene: Scene) -> None:
    hold = scene.hold(amount_msat=AMOUNT_MSAT // 2).ask()
    assert scene.release(hold) is ReleaseStatus.RELEASED

    hold.pay(parts=2).update(BlockState.SETTLED, 1)  # complete, and so released, with the first of the two

    assert len(scene.block(hold)["parts"]) == 1
    scene.assert_paid(hold)
