"""Messages that come in while the wallet runs: what is released, what is refused, and what gets no answer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import OwnInvoice
from asyncpay.node_events import OnionReceived, PeerConnected, PeerDisconnected
from asyncpay.nodes.base import NodeError
from asyncpay.service.wallet import session
from asyncpay.service.wallet.own_node import ChainWatch
from asyncpay.wire.messages import (
    PaymentPending,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
    release_path_id,
    unblock_hash,
)

from .scripted_node import HASH, LSP, ME, OTHER, PID, THEIR_LSP
from .wallet_harness import WalletHarness, awake, until, until_claim_is


def test_a_payment_that_waits_is_released_until_it_is_paid(phone: WalletHarness) -> None:
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


def test_a_payer_that_says_who_and_where_it_is_is_released_by_a_path_of_our_own(phone: WalletHarness) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(payer_node_id=OTHER, payer_lsp_node_id=THEIR_LSP)
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(phone, story)
    assert phone.node.sent[0].to == OTHER


@pytest.mark.parametrize("literal", [False, True])
def test_what_is_not_owed_is_refused_to_the_payer_s_lsp_with_the_reason(phone: WalletHarness, literal: bool) -> None:
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
def test_a_stranger_with_the_payment_hash_gets_no_answer(phone: WalletHarness, has_invoice: bool) -> None:
    if has_invoice:
        phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(proven=False)
        await until(lambda: len(phone.lines("announcement dropped")) == 1)
        assert await phone.claims() == []

    awake(phone, story)
    assert phone.node.sent == []


@pytest.mark.usefixtures("whole_log")
def test_a_flood_of_announcements_asks_the_node_little(phone: WalletHarness, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_payer_of_another_implementation_is_released_where_the_payee_says_so(
    phone: WalletHarness, tmp_path: Path
) -> None:
    lenient = WalletHarness(tmp_path, policy={"accept_unproven": True})
    lenient.node = phone.node
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce(proven=False)
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(lenient, story)


def test_nothing_is_released_while_the_node_is_behind_the_chain(phone: WalletHarness, tmp_path: Path) -> None:
    hasty = WalletHarness(tmp_path, policy={"release_seconds": 0.1, "unsynced_seconds": 0.1})
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
    phone: WalletHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[None] = []
    monkeypatch.setattr(ChainWatch, "begin_afresh", lambda _: begun.append(None))

    async def story() -> None:
        await until(lambda: len(begun) == 1)
        phone.node.tell(PeerDisconnected(LSP))
        phone.node.tell(PeerConnected(LSP))
        await until(lambda: len(begun) == 2)

    awake(phone, story)


def test_an_announcement_that_the_node_could_not_check_is_taken_when_it_comes_again(phone: WalletHarness) -> None:
    phone.node.make_invoice()
    phone.node.failing["look_up_invoice"] = NodeError("LND at x is busy")

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(phone.lines("announcement not checked")) == 1)
        assert await phone.claims() == []
        phone.node.failing.clear()
        phone.node.announce()  # the courier's copy
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)

    awake(phone, story)


def test_too_late(phone: WalletHarness) -> None:
    phone.node.make_invoice()

    async def story() -> None:
        phone.node.announce()
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)
        late = ReleaseReply(unblock_hash=unblock_hash(PID), status=ReleaseStatus.TOO_LATE)
        phone.node.tell(OnionReceived(async_payment=late.encode()))
        await until_claim_is(phone, "too late")

    awake(phone, story)


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"\x04\x00\x01x", bytes(2000)])
def test_rubbish_is_dropped_and_noted(phone: WalletHarness, rubbish: bytes) -> None:
    async def story() -> None:
        phone.node.tell(OnionReceived(async_payment=rubbish))
        await until(lambda: len(phone.lines("message dropped")) == 1)
        assert (await phone.ask("status"))["healthy"]

    awake(phone, story)
    assert phone.node.sent == []


def test_a_release_that_reaches_the_payer_is_passed_on_to_its_lsp(phone: WalletHarness) -> None:
    async def story() -> None:
        await phone.pay()
        (pending,) = phone.node.got(PaymentPending)
        phone.node.tell(OnionReceived(path_id=release_path_id(pending.pid)))
        await until(lambda: len(phone.node.got(PaymentRelease)) == 1)
        assert phone.node.got(PaymentRelease)[0].pid == pending.pid
        assert phone.node.sent[-1].to == LSP

    awake(phone, story)
