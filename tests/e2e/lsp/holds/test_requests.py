"""Whose block_request counts, and which does not."""

import time
from dataclasses import replace
from typing import Any

import pytest

from asyncpay.wire.messages import (
    UNSIGNED,
    BlockReply,
    BlockState,
    BlockStatus,
    BlockUpdate,
    CancelRequest,
    ReleaseStatus,
)
from harness.waits import Predicate, wait_for
from tests.support.scripted_peer import Hold

from .hold_harness import Scene, wait_until_got

DAY_SECONDS = 86_400


def test_payees_own_request_does_not_hold_the_payers_htlc(scene: Scene) -> None:
    hold = scene.hold()
    Hold(scene.b, "LSP", hold.invoice).ask()

    scene.assert_paid(hold.pay())


def test_request_with_a_signature_of_nobody_holds_nothing(scene: Scene) -> None:
    hold = scene.hold()
    signature_of_another = scene.hold().request.signature
    earlier = len(scene.noted("block_request ignored"))

    scene.a.send(hold.lsp_id, replace(hold.request, signature=signature_of_another))
    wait_for(Predicate("ignored", lambda: None if len(scene.noted("block_request ignored")) > earlier else "not yet"))

    scene.assert_paid(hold.pay())


def test_strangers_request_does_not_stand_in_the_way(scene: Scene) -> None:
    hold = scene.hold()
    strangers = Hold(scene.b, "LSP", hold.invoice).ask()
    hold.ask().pay().update(BlockState.HELD)

    assert scene.release(strangers) is ReleaseStatus.RELEASED  # of what it has, and that is nothing

    scene.assert_held(hold, 1)
    assert scene.release(hold) is ReleaseStatus.RELEASED
    scene.assert_paid(hold)


def test_stranger_cannot_cancel(scene: Scene) -> None:
    hold = scene.hold().ask().pay().update(BlockState.HELD)
    name = hold.request.unblock_hash

    scene.b.send(hold.lsp_id, scene.b.signed(CancelRequest(unblock_hash=name, signature=UNSIGNED), hold.lsp_id))
    scene.b.expect(BlockUpdate(unblock_hash=name, state=BlockState.FAILED_BACK, parts=0))

    scene.assert_held(hold, 1)
    assert scene.release(hold) is ReleaseStatus.RELEASED
    scene.assert_paid(hold)


def test_same_request_again_gets_the_same_answer_and_the_news(scene: Scene) -> None:
    hold = scene.hold().ask().pay(parts=2).update(BlockState.HELD, 2)
    name = hold.request.unblock_hash
    accepted = BlockReply(unblock_hash=name, status=BlockStatus.ACCEPTED)

    scene.a.send(hold.lsp_id, hold.request)
    wait_until_got(scene.a, 2, accepted)
    wait_until_got(scene.a, 2, BlockUpdate(unblock_hash=name, state=BlockState.HELD, parts=2))
    scene.assert_held(hold, 2)

    assert scene.release(hold) is ReleaseStatus.RELEASED
    hold.update(BlockState.SETTLED, 2)
    scene.a.send(hold.lsp_id, hold.request)
    wait_until_got(scene.a, 3, accepted)
    wait_until_got(scene.a, 2, BlockUpdate(unblock_hash=name, state=BlockState.SETTLED, parts=2))

    scene.assert_paid(hold)


def test_request_that_contradicts_another_is_refused(scene: Scene) -> None:
    hold = scene.hold().ask().pay().update(BlockState.HELD)
    request = hold.request

    other_terms = {"unblock_hash": request.unblock_hash, "hold_until": request.hold_until + 1}
    Hold(scene.a, "LSP", hold.invoice, **other_terms).ask(BlockStatus.CONFLICT)
    other_pid = Hold(scene.a, "LSP", hold.invoice).ask(BlockStatus.CONFLICT)
    other_payment = scene.hold(unblock_hash=request.unblock_hash).ask(BlockStatus.CONFLICT).pay()

    assert scene.release(other_pid) is ReleaseStatus.UNKNOWN
    other_payment.result()
    scene.assert_held(hold, 1)
    assert scene.release(hold) is ReleaseStatus.RELEASED
    scene.assert_paid(hold, other_payment)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"release_by_height": 1}, BlockStatus.BAD_VALUE),
        ({"release_by_height": 1_000_000}, BlockStatus.HOLD_TOO_LONG),
        ({"hold_until": 1}, BlockStatus.BAD_VALUE),
        ({"hold_until": int(time.time()) + 30 * DAY_SECONDS}, BlockStatus.HOLD_TOO_LONG),
        ({"amount_msat": 0}, BlockStatus.BAD_VALUE),
        ({"amount_msat": 5_000_000_001}, BlockStatus.AMOUNT_TOO_LARGE),
    ],
    ids=lambda value: value.name if isinstance(value, BlockStatus) else "".join(value),
)
def test_refused_request_holds_nothing(scene: Scene, changes: dict[str, Any], status: BlockStatus) -> None:
    hold = scene.hold(**changes).ask(status)
    scene.assert_paid(hold.pay())
