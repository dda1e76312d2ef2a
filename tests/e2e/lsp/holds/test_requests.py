"""Which block_requests are accepted."""

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

from .hold_harness import HoldHarness, wait_until_got

DAY_SECONDS = 86_400


def test_payees_own_request_does_not_hold_the_payers_htlc(payments: HoldHarness) -> None:
    hold = payments.hold()
    Hold(payments.b, "LSP", hold.invoice).ask()

    payments.assert_paid(hold.pay())


def test_request_with_a_signature_of_nobody_holds_nothing(payments: HoldHarness) -> None:
    hold = payments.hold()
    signature_of_another = payments.hold().request.signature
    earlier = len(payments.logged("block_request ignored"))

    payments.a.send(hold.lsp_id, replace(hold.request, signature=signature_of_another))
    wait_for(
        Predicate("ignored", lambda: None if len(payments.logged("block_request ignored")) > earlier else "not yet")
    )

    payments.assert_paid(hold.pay())


def test_strangers_request_does_not_stand_in_the_way(payments: HoldHarness) -> None:
    hold = payments.hold()
    strangers = Hold(payments.b, "LSP", hold.invoice).ask()
    hold.ask().pay().update(BlockState.HELD)

    assert payments.release(strangers) is ReleaseStatus.RELEASED  # of its own parts, and there are none

    payments.assert_held(hold, 1)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)


def test_stranger_cannot_cancel(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)
    name = hold.request.unblock_hash

    payments.b.send(hold.lsp_id, payments.b.signed(CancelRequest(unblock_hash=name, signature=UNSIGNED), hold.lsp_id))
    payments.b.expect(BlockUpdate(unblock_hash=name, state=BlockState.FAILED_BACK, parts=0))

    payments.assert_held(hold, 1)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)


def test_same_request_again_gets_the_same_answer_and_the_news(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay(parts=2).update(BlockState.HELD, 2)
    name = hold.request.unblock_hash
    accepted = BlockReply(unblock_hash=name, status=BlockStatus.ACCEPTED)

    payments.a.send(hold.lsp_id, hold.request)
    wait_until_got(payments.a, 2, accepted)
    wait_until_got(payments.a, 2, BlockUpdate(unblock_hash=name, state=BlockState.HELD, parts=2))
    payments.assert_held(hold, 2)

    assert payments.release(hold) is ReleaseStatus.RELEASED
    hold.update(BlockState.SETTLED, 2)
    payments.a.send(hold.lsp_id, hold.request)
    wait_until_got(payments.a, 3, accepted)
    wait_until_got(payments.a, 2, BlockUpdate(unblock_hash=name, state=BlockState.SETTLED, parts=2))

    payments.assert_paid(hold)


def test_request_that_contradicts_another_is_refused(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)
    request = hold.request

    other_terms = {"unblock_hash": request.unblock_hash, "hold_until": request.hold_until + 1}
    Hold(payments.a, "LSP", hold.invoice, **other_terms).ask(BlockStatus.CONFLICT)
    other_pid = Hold(payments.a, "LSP", hold.invoice).ask(BlockStatus.CONFLICT)
    other_payment = payments.hold(unblock_hash=request.unblock_hash).ask(BlockStatus.CONFLICT).pay()

    assert payments.release(other_pid) is ReleaseStatus.UNKNOWN
    other_payment.result()
    payments.assert_held(hold, 1)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold, other_payment)


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
def test_refused_request_holds_nothing(payments: HoldHarness, changes: dict[str, Any], status: BlockStatus) -> None:
    hold = payments.hold(**changes).ask(status)
    payments.assert_paid(hold.pay())
