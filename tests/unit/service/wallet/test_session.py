"""The wallet's whole life beside a node that breaks and a process that is killed: all is done, and money moves once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import OwnInvoice, PaymentResult, PaymentStatus
from asyncpay.node_events import OnionReceived, PeerConnected, PeerDisconnected
from asyncpay.nodes.base import NodeError
from asyncpay.service.control import NotRunningError
from asyncpay.service.wallet import session
from asyncpay.service.wallet.chain_watch import ChainWatch
from asyncpay.store import StoreError, WalletStore
from asyncpay.wire.messages import (
    BlockReply,
    BlockRequest,
    BlockStatus,
    CancelRequest,
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
    release_path_id,
    unblock_hash,
)

from .phone import HASH, LSP, ME, OTHER, PID, THEIR_LSP, Phone, until, until_asked


def awake(phone: Phone, story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with phone.awake():
            await story()

    asyncio.run(whole())


async def until_payment_is(phone: Phone, state: str) -> None:
    async def is_so() -> bool:
        return [each["state"] for each in await phone.payments()] == [state]

    await until_asked(is_so)


async def until_claim_is(phone: Phone, state: str) -> None:
    async def is_so() -> bool:
        return [each["state"] for each in await phone.claims()] == [state]

    await until_asked(is_so)


# --- killed between storing and acting ---


@pytest.mark.parametrize(
    ("effect", "number"),
    [("SendToLsp", 1), ("Pay", 1), ("LookUp", 1), ("SendPending", 1), ("Log", 1), ("Log", 4)],
)
def test_killed_before_any_of_its_actions_it_pays_once(phone: Phone, effect: str, number: int) -> None:
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


def test_killed_before_its_cancel_it_cancels(phone: Phone) -> None:
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
def test_killed_before_any_of_its_actions_it_is_paid(phone: Phone, effect: str) -> None:
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


def test_paid_while_the_wallet_was_dead(phone: Phone) -> None:
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


def test_a_node_that_goes_away_while_it_pays_is_asked_when_it_is_back(phone: Phone) -> None:
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
def test_what_the_node_refuses_for_a_while_is_told_and_done_later(phone: Phone, verb: str, tmp_path: Path) -> None:
    hasty = Phone(tmp_path, policy={"request_seconds": 0.1})
    hasty.node = phone.node
    phone.node.failing[verb] = NodeError("LND at x is busy")

    async def story() -> None:
        paying = asyncio.create_task(hasty.pay())
        await until_asked(lambda: _last_error_is(hasty, "LND at x is busy"))
        phone.node.failing.clear()
        assert (await paying)["state"] in ("handed over", "failed")

    awake(hasty, story)
    assert len(phone.node.begun) <= 1


async def _last_error_is(phone: Phone, because: str) -> bool:
    errors = (await phone.ask("status"))["last_errors"]
    return any(error["because"] == because and "did not succeed" in error["what"] for error in errors)


def test_what_cannot_be_stored_is_not_done_and_all_begins_again_from_the_store(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, full = WalletStore.commit, [True]

    def may_fail(store: WalletStore, changes: Any) -> None:
        if full and any(getattr(change.record, "stage", None) for change in changes):
            full.pop()
            raise StoreError("the disk is full")
        commit(store, changes)

    monkeypatch.setattr(WalletStore, "commit", may_fail)

    async def story() -> None:
        with pytest.raises(NotRunningError, match="went away before it answered"):
            await phone.pay()
        assert (phone.node.sent, phone.node.begun) == ([], [])
        await until_asked(lambda: _answers(phone))
        assert await phone.payments() == []
        assert (await phone.pay())["state"] == "handed over"

    awake(phone, story)
    assert phone.lines("beginning again from the store")[0]["error"] == "the disk is full"
    assert len(phone.node.begun) == 1


async def _answers(phone: Phone) -> bool:
    try:
        return bool((await phone.ask("status"))["healthy"])
    except NotRunningError:
        return False


def test_an_lsp_that_never_answers_ends_the_payment_before_anything_is_paid(phone: Phone, tmp_path: Path) -> None:
    hasty = Phone(tmp_path, policy={"request_seconds": 0.05})
    hasty.node = phone.node
    phone.node.accepts = False

    async def story() -> None:
        failed = await hasty.pay()
        assert failed["state"] == "failed"
        assert f"LSP {LSP.hex()} did not answer, asked 4 times; nothing was paid" in failed["failure"]

    awake(hasty, story)
    assert phone.node.begun == []
    assert len({each.encode() for each in phone.node.got(BlockRequest)}) == 1


def test_an_lsp_that_will_not_hold_ends_the_payment_with_its_reason(phone: Phone) -> None:
    phone.node.accepts = False

    async def story() -> None:
        paying = asyncio.create_task(phone.pay())
        await until(lambda: len(phone.node.got(BlockRequest)) == 1)
        (request,) = phone.node.got(BlockRequest)
        refusal = BlockReply(unblock_hash=request.unblock_hash, status=BlockStatus.TOO_MANY_HOLDS, reason="two already")
        phone.node.tell(OnionReceived(async_payment=refusal.encode()))
        failed = await paying
        assert "it holds as much for this wallet as it will" in failed["failure"]
        assert "(two already)" in failed["failure"]

    awake(phone, story)
    assert phone.node.begun == []


# --- messages that come in ---


def test_a_payment_that_waits_is_released_until_it_is_paid(phone: Phone) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)
        phone.node.is_paid()
        await until_claim_is(phone, "paid")

    awake(phone, story)
    (sent,) = phone.node.sent
    assert sent.to == OTHER  # by way of the payer's LSP, which sees it pass
    assert sent.reply_path is not None
    assert ME not in sent.reply_path.encode()


def test_a_payer_that_says_who_and_where_it_is_is_released_by_a_path_of_our_own(phone: Phone) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(payer_node_id=OTHER, payer_lsp_node_id=THEIR_LSP)
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(phone, story)
    assert phone.node.sent[0].to == OTHER


@pytest.mark.parametrize("literal", [False, True])
def test_what_is_not_owed_is_refused_to_the_payer_s_lsp_with_the_reason(phone: Phone, literal: bool) -> None:
    payer: dict[str, Any] = {"payer_node_id": OTHER, "payer_lsp_node_id": THEIR_LSP} if literal else {}
    phone.node.make_invoice(payable=False, paid=True)

    async def story() -> None:
        phone.node.announce(**payer)
        await until(lambda: len(phone.node.got(PaymentRefused)) == 1)
        phone.node.announce(**payer)
        await until_claim_is(phone, "refused")

    awake(phone, story)
    (sent,) = phone.node.sent
    assert sent.to == THEIR_LSP  # and not on the path for the release, where its pid would mean "release"
    assert isinstance(sent.message, PaymentRefused)
    assert sent.message.reason == f"the invoice {HASH.hex()} is paid already"


@pytest.mark.parametrize("has_invoice", [False, True])
def test_a_stranger_with_the_payment_hash_gets_no_answer(phone: Phone, has_invoice: bool) -> None:
    if has_invoice:
        phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(proven=False)
        await until(lambda: len(phone.lines("announcement dropped")) == 1)
        assert await phone.claims() == []

    awake(phone, story)
    assert phone.node.sent == []


def test_a_flood_of_announcements_asks_the_node_little(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that prove nothing; few at a time that claim to. The payer's own, sent again, is released afterwards."""
    phone.node.make_invoice()
    asked: list[bytes] = []
    answer = asyncio.Event()

    async def look_up_invoice(payment_hash: bytes) -> OwnInvoice | None:
        asked.append(payment_hash)
        await answer.wait()
        return phone.node.own.get(payment_hash)

    monkeypatch.setattr(phone.node, "look_up_invoice", look_up_invoice)

    async def story() -> None:
        for number in range(50):
            phone.node.announce(bytes([number]) * 32, proven=False)
        for number in range(50):
            phone.node.announce(bytes([number]) * 32, proven=False, invoice_proof=bytes(32))
        await until(lambda: len(phone.lines("message dropped")) == 50 - session.MAX_LOOKUPS)
        assert len(asked) <= session.MAX_LOOKUPS
        answer.set()
        await until(lambda: len(phone.lines("announcement dropped")) == 50 + session.MAX_LOOKUPS)
        phone.node.announce()
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(phone, story)


def test_a_payer_of_another_implementation_is_released_where_the_payee_says_so(phone: Phone, tmp_path: Path) -> None:
    lenient = Phone(tmp_path, policy={"accept_unproven": True})
    lenient.node = phone.node
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(proven=False)
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(lenient, story)


def test_nothing_is_released_while_the_node_is_behind_the_chain(phone: Phone, tmp_path: Path) -> None:
    hasty = Phone(tmp_path, policy={"release_seconds": 0.1, "unsynced_seconds": 0.1})
    hasty.node = phone.node
    phone.node.make_invoice()
    phone.node.in_sync = False

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(hasty.lines("release not sent")) >= 2)
        assert phone.node.sent == []
        phone.node.in_sync = True
        await until(lambda: len(phone.node.got(PaymentRelease)) > 0)

    awake(hasty, story)


def test_the_watch_of_an_old_chain_begins_afresh_when_the_node_or_the_lsp_has_come_back(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[None] = []
    monkeypatch.setattr(ChainWatch, "begin_afresh", lambda _: begun.append(None))

    async def story() -> None:
        await until(lambda: len(begun) == 1)
        phone.node.tell(PeerDisconnected(LSP))
        phone.node.tell(PeerConnected(LSP))
        await until(lambda: len(begun) == 2)

    awake(phone, story)


def test_an_announcement_that_the_node_could_not_check_is_taken_when_it_comes_again(phone: Phone) -> None:
    phone.node.make_invoice()
    phone.node.failing["look_up_invoice"] = NodeError("LND at x is busy")

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(phone.lines("a payment_pending could not be checked")) == 1)
        assert await phone.claims() == []
        phone.node.failing.clear()
        phone.node.announce()  # the courier's copy
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(phone, story)


def test_too_late(phone: Phone) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)
        late = ReleaseReply(unblock_hash=unblock_hash(PID), status=ReleaseStatus.TOO_LATE)
        phone.node.tell(OnionReceived(async_payment=late.encode()))
        await until_claim_is(phone, "too late")

    awake(phone, story)


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"\x04\x00\x01x", bytes(2000)])
def test_rubbish_is_dropped_and_noted(phone: Phone, rubbish: bytes) -> None:
    async def story() -> None:
        phone.node.tell(OnionReceived(async_payment=rubbish))
        await until(lambda: len(phone.lines("message dropped")) == 1)
        assert (await phone.ask("status"))["healthy"]

    awake(phone, story)
    assert phone.node.sent == []


def test_a_release_that_reaches_the_payer_is_passed_on_to_its_lsp(phone: Phone) -> None:
    async def story() -> None:
        await phone.pay()
        (pending,) = phone.node.got(PaymentPending)
        phone.node.tell(OnionReceived(path_id=release_path_id(pending.pid)))
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)
        assert phone.node.got(PaymentRelease)[0].pid == pending.pid
        assert phone.node.sent[-1].to == LSP

    awake(phone, story)
