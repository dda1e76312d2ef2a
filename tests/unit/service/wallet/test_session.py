"""The wallet's whole life beside a node that breaks and a process that is killed: all is done, and money moves once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from asyncpay.engine.core import Put, StoredClock
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.log_events import LogEvent
from asyncpay.node_events import OnionReceived
from asyncpay.nodes.base import NodeError
from asyncpay.service.common.control_client import NotRunningError
from asyncpay.store import StoreError, WalletStore
from asyncpay.wire.messages import (
    BlockReply,
    BlockRequest,
    BlockStatus,
    CancelRequest,
    PaymentPending,
    PaymentRelease,
)

from .scripted_node import HASH, LSP, PID
from .wallet_harness import WalletHarness, awake, until, until_asked, until_claim_is, until_payment_is

# --- killed between storing and acting ---


@pytest.mark.parametrize(
    ("effect", "number"),
    [("SendToLsp", 1), ("Pay", 1), ("LookUp", 1), ("SendPending", 1), ("Log", 1), ("Log", 4)],
)
def test_killed_before_any_of_its_actions_it_pays_once(phone: WalletHarness, effect: str, number: int) -> None:
    async def story() -> None:
        await phone.is_killed_before(effect, phone.pay, number)
        async with phone.awake():
            await until_payment_is(phone, "handed over")
            await phone.node.payee_takes()
            await until_payment_is(phone, "settled")

    asyncio.run(story())
    assert len(phone.node.begun) == 1
    assert len({each.encode() for each in phone.node.got(BlockRequest)}) == 1
    assert len({each.pid for each in phone.node.got(PaymentPending)}) == 1


def test_killed_before_its_cancel_it_cancels(phone: WalletHarness) -> None:
    async def story() -> None:
        async with phone.awake():
            await phone.pay()

        async def cancel() -> None:
            await phone.until_attached()
            await phone.ask("cancel", payment_hash=HASH.hex())

        await phone.is_killed_before("SendToLsp", cancel)
        async with phone.awake():
            await until_payment_is(phone, "failed")

    asyncio.run(story())
    assert len(phone.node.got(CancelRequest)) == 1
    assert len(phone.node.begun) == 1


@pytest.mark.parametrize("effect", ["SendRelease", "LookUpInvoices"])
def test_killed_before_any_of_its_actions_it_is_paid(phone: WalletHarness, effect: str) -> None:
    phone.node.make_invoice()

    async def announce() -> None:
        await phone.until_attached()
        phone.node.announce()

    async def story() -> None:
        if effect == "LookUpInvoices":
            async with phone.awake():
                phone.node.failing["send_onion"] = NodeError("the line is bad")
                phone.node.announce()
                await until_claim_is(phone, "releasing")
            phone.node.failing.clear()
        await phone.is_killed_before(effect, announce)
        async with phone.awake():
            await until(lambda: len(phone.node.got(PaymentRelease)) > 0)
            phone.node.is_paid()
            await until_claim_is(phone, "paid")

    asyncio.run(story())
    assert {each.pid for each in phone.node.got(PaymentRelease)} == {PID}


def test_paid_while_the_wallet_was_dead(phone: WalletHarness) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        async with phone.awake():
            phone.node.announce()
            await until_claim_is(phone, "releasing")
        phone.node.is_paid()
        async with phone.awake():
            await until_claim_is(phone, "paid")

    asyncio.run(story())


# --- a node, and a disk, that break ---


def test_a_node_that_goes_away_while_it_pays_is_asked_when_it_is_back(phone: WalletHarness) -> None:
    phone.node.holds = False

    async def story() -> None:
        paying = asyncio.create_task(phone.pay(wait=True))
        await until(lambda: len(phone.node.begun) == 1)
        phone.node.stop()
        await until(lambda: len(phone.lines("the node is away")) > 0)
        await phone.node.decide(PaymentResult(status=PaymentStatus.IN_FLIGHT, parts_in_flight=1, in_flight_msat=1000))
        phone.node.holds = phone.node.running = True
        await until(lambda: len(phone.node.got(PaymentPending)) == 1)
        await phone.node.payee_takes()
        assert (await paying)["state"] == "settled"

    awake(phone, story)
    assert len(phone.node.begun) == 1


@pytest.mark.parametrize("verb", ["look_up_payment", "send_onion"])
def test_what_the_node_refuses_for_a_while_is_told_and_done_later(
    phone: WalletHarness, verb: str, tmp_path: Path
) -> None:
    hasty = WalletHarness(tmp_path, policy={"request_seconds": 0.1})
    hasty.node = phone.node
    phone.node.failing[verb] = NodeError("LND at x is busy")

    async def story() -> None:
        paying = asyncio.create_task(hasty.pay())
        await until_asked(lambda: _last_error_is(hasty, "LND at x is busy"))
        phone.node.failing.clear()
        assert (await paying)["state"] in ("handed over", "failed")

    awake(hasty, story)
    assert len(phone.node.begun) <= 1


async def _last_error_is(phone: WalletHarness, because: str) -> bool:
    errors = (await phone.ask("status"))["last_errors"]
    return any(error["because"] == because and error["what"] == LogEvent.EFFECT_FAILED for error in errors)


def test_what_cannot_be_stored_is_not_done_and_all_begins_again_from_the_store(
    phone: WalletHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, full = WalletStore.commit, [True]

    def may_fail(store: WalletStore, changes: Any) -> None:
        if full and any(getattr(change.record, "state", None) for change in changes):
            full.pop()
            raise StoreError("the disk is full")
        commit(store, changes)

    monkeypatch.setattr(WalletStore, "commit", may_fail)

    async def story() -> None:
        with pytest.raises(NotRunningError, match="stopped before it answered"):
            await phone.pay()
        assert (phone.node.sent, phone.node.begun) == ([], [])
        await until_asked(lambda: _answers(phone))
        assert await phone.payments() == []
        assert (await phone.pay())["state"] == "handed over"

    awake(phone, story)
    assert phone.lines("restarting from the store")[0]["error"] == "the disk is full"
    assert len(phone.node.begun) == 1


async def _answers(phone: WalletHarness) -> bool:
    try:
        return bool((await phone.ask("status"))["healthy"])
    except NotRunningError:
        return False


def test_an_lsp_that_never_answers_ends_the_payment_before_anything_is_paid(
    phone: WalletHarness, tmp_path: Path
) -> None:
    hasty = WalletHarness(tmp_path, policy={"request_seconds": 0.05})
    hasty.node = phone.node
    phone.node.accepts = False

    async def story() -> None:
        failed = await hasty.pay()
        assert failed["state"] == "failed"
        assert f"nothing was paid: LSP {LSP.hex()} did not answer 4 requests" in failed["failure"]

    awake(hasty, story)
    assert phone.node.begun == []
    assert len({each.encode() for each in phone.node.got(BlockRequest)}) == 1


def test_an_lsp_that_will_not_hold_ends_the_payment_with_its_reason(phone: WalletHarness) -> None:
    phone.node.accepts = False

    async def story() -> None:
        paying = asyncio.create_task(phone.pay())
        await until(lambda: len(phone.node.got(BlockRequest)) == 1)
        (request,) = phone.node.got(BlockRequest)
        refusal = BlockReply(unblock_hash=request.unblock_hash, status=BlockStatus.TOO_MANY_HOLDS, reason="two already")
        phone.node.tell(OnionReceived(async_payment=refusal.encode()))
        failed = await paying
        assert "it holds the maximum for this wallet" in failed["failure"]
        assert "(two already)" in failed["failure"]

    awake(phone, story)
    assert phone.node.begun == []


# --- its clock ---


def test_the_clock_goes_on_as_the_store_has_it(phone: WalletHarness) -> None:
    """It was an hour ahead when the file was new, and was put right since; no process ran for a minute."""
    ahead = time.time() + 3600
    with WalletStore(phone.store) as store:
        store.commit([Put(StoredClock(ahead - 60, -3600.0, -3600.0))])

    async def story() -> None:
        async with phone.awake():
            await phone.pay()
            (payment,) = await phone.payments()
            assert abs(payment["created_at"] - ahead) < 60
            assert await phone.claims() == []

    asyncio.run(story())
    with WalletStore(phone.store) as store:
        clock = store.clock()
    assert clock is not None
    assert abs(clock.believed_offset_seconds + 3660) < 60
