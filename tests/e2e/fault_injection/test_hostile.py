"""A stranger who knows invoice and protocol, and has a channel with the LSP: it steals nothing, and blocks nothing.

Attacks of phones on their own LSP, and tests of pids at the LSP only, are in tests/e2e/lsp/holds.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.wire import blinding, messages, onion
from asyncpay.wire.blinding import HopData
from asyncpay.wire.messages import (
    BlockReply,
    BlockState,
    BlockStatus,
    BlockUpdate,
    PaymentRefused,
    PaymentRelease,
)
from asyncpay.wire.onion import Payload
from harness.checks import balances
from harness.inside.interface import Behaviour
from harness.nodes import node_class
from harness.services.phone_container import WALLET
from harness.topology import ASYNCPAY, Topology
from harness.waits import Predicate, wait_for
from tests.support.implementations import IMPLEMENTATIONS, all_on
from tests.support.payment_harness import AMOUNT_MSAT, PaymentCase, PaymentHarness
from tests.support.scripted_peer import Hold, ScriptedPeer

from .scripted_payer import announcement, scripted_payer, send_raw, wait_until_read
from .steps import assert_paid_once_or_returned
from .stranger import announce, ask_all, b_id, flood, kept_for_b, lsp_id, read, request_for, wait_until_dealt_with

MOST_HOLDS = 483


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def topology(request: pytest.FixtureRequest) -> Topology:
    """If only our plugin receives messages, the stranger is a phone, which has the plugin, without its wallet."""
    as_a_phone = {"M.component": ASYNCPAY} if node_class(request.param).reports_only_to_plugin else {}
    return all_on(request.param, "with-stranger.yaml", as_a_phone)


@pytest.fixture
def stranger(payments: PaymentHarness) -> Iterator[ScriptedPeer]:
    payments.testbed["A"].forget_failures()
    if "M" in payments.testbed.phones:
        payments.testbed.phone("M").container.do_to_app(WALLET, "stop")
    with ScriptedPeer(payments.testbed, "M") as phone:
        yield phone


def held(payments: PaymentHarness) -> PaymentCase:
    """A payment that the LSP holds, while the payee is offline and does not know of it. The caller reconnects it."""
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    payments.wait_for_htlcs(A=1, LSP=1)
    return case


def pay(payments: PaymentHarness, case: PaymentCase) -> None:
    """Pay while all phones are online."""
    payments.a.wallet.paying(case.invoice)
    case.wait_until_paid()
    payments.assert_paid(case)


def assert_still_held_and_then_paid(payments: PaymentHarness, case: PaymentCase) -> None:
    payments.wait_for_block(case, "held")
    payments.wait_for_htlcs(A=1, LSP=1)
    payments.b.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)


def unsigned(request: messages.BlockRequest, _: ScriptedPeer) -> messages.BlockRequest:
    return replace(request, signature=bytes(65))


def altered(request: messages.BlockRequest, _: ScriptedPeer) -> messages.BlockRequest:
    return replace(request, amount_msat=request.amount_msat + 1)


def signed_for_another_lsp(request: messages.BlockRequest, stranger: ScriptedPeer) -> messages.BlockRequest:
    """Return the request as if one for another LSP were replayed."""
    return stranger.signed(request, stranger.node_id)


@pytest.mark.parametrize("forge", [unsigned, altered, signed_for_another_lsp])
def test_forged_request_is_not_answered_and_holds_nothing(
    payments: PaymentHarness,
    stranger: ScriptedPeer,
    forge: Callable[[messages.BlockRequest, ScriptedPeer], messages.BlockRequest],
) -> None:
    case = payments.new_case()
    payments.record_fault(f"forged request: {forge.__name__.replace('_', ' ')}")
    hold = Hold(stranger, "LSP", read(stranger, case))

    stranger.send(hold.lsp_id, forge(hold.request, stranger))
    wait_until_dealt_with(payments, stranger)

    assert not [each for each in stranger.inbox if isinstance(each, BlockReply)]
    assert payments.block(case) is None
    pay(payments, case)


def test_payers_own_request_replayed_by_somebody_else(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """Byte for byte, before the payer sends it, while its payment is held and after its end: the payer receives the
    answer, and no new block is created. The same is true if the payer itself repeats it."""
    with scripted_payer(payments) as scripted:
        hold = scripted.hold(scripted.invoice(AMOUNT_MSAT))

        def replay(by: ScriptedPeer, status: BlockStatus = BlockStatus.ACCEPTED) -> None:
            payments.record_fault(f"replayed request by {by.name}")
            answers = scripted.a.inbox.count(
                answer := BlockReply(unblock_hash=hold.request.unblock_hash, status=status)
            )
            by.send(hold.lsp_id, hold.request)
            once_more = Predicate("payer_answered", lambda: None if answered(answer) > answers else "no new answer")
            wait_for(once_more)
            wait_until_dealt_with(payments, stranger)

        def answered(answer: BlockReply) -> int:
            return scripted.a.inbox.count(answer)

        replay(stranger)
        hold.ask().pay().update(BlockState.HELD)
        replay(stranger)
        hold.wait_for_state(State.HELD)
        payments.wait_for_htlcs(A=1, LSP=1)

        hold.announce(scripted.payee).update(BlockState.SETTLED)
        for sender in (stranger, scripted.a):
            replay(sender)
            hold.wait_for_state(State.SETTLED)
        assert not [each for each in stranger.inbox if isinstance(each, BlockReply | BlockUpdate)]
        scripted.assert_paid(hold)


def test_request_for_more_payments_than_a_request_may_name(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """It has a valid signature, but is not a valid message of the protocol: it is dropped."""

    def asked(payment_hashes: int) -> str:
        payments.record_fault(f"request with {payment_hashes} hashes")
        request, content = request_for(payments, stranger, payment_hashes)
        send_raw(stranger, [lsp_id(payments)], content)
        wait_until_dealt_with(payments, stranger)
        replies = [each for each in stranger.inbox if isinstance(each, BlockReply)]
        return next((each.status.name for each in replies if each.unblock_hash == request.unblock_hash), "not answered")

    assert [asked(number) for number in (4, 5, MOST_HOLDS)] == ["ACCEPTED", "not answered", "not answered"]
    pay(payments, payments.new_case())


def test_foreign_block_of_the_same_payment_changes_nothing(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """The block is accepted as the stranger's own; its pid releases only the stranger's parts, and there are none."""
    case = held(payments)
    payments.record_fault("foreign block")
    foreign = Hold(stranger, "LSP", read(stranger, case)).ask()

    foreign.release(stranger)

    assert_still_held_and_then_paid(payments, case)


def test_wrong_and_short_pids_release_nothing(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """In a payment_release, or in the blinded path like in the payer's own path."""
    case = held(payments)
    block = payments.block(case)
    assert block is not None
    public = [bytes.fromhex(block["unblock_hash"]), bytes.fromhex(case.payment_hash), b_id(payments)[1:]]
    for pid in (*public, sha256(public[0]).digest(), bytes(32), secrets.token_bytes(32)):
        payments.record_fault("wrong pid")
        stranger.send(lsp_id(payments), PaymentRelease(pid=pid))
        hops = stranger.hops(lsp_id(payments), last=HopData(path_id=pid, payment_unblock=pid))
        path = blinding.build(hops, secrets.token_bytes(32))
        stranger.send_onion(lsp_id(payments), onion.build(path, Payload(), secrets.token_bytes(32)))
    for length in (0, 1, 31, 33):
        payments.record_fault("pid of another length")
        send_raw(stranger, [lsp_id(payments)], bytes([5, 0, length]) + bytes(length))
    wait_until_dealt_with(payments, stranger)

    assert_still_held_and_then_paid(payments, case)


MALFORMED = {
    "nothing": b"",
    "unknown kind": b"\xff",
    "truncated": b"\x05\x00\x20\x01",
    "unknown even record": b"\x05\x00\x20" + bytes(32) + b"\x02\x00",
    "records out of order": b"\x04\x06\x01\x01\x00\x20" + bytes(32),
    "length beyond all measure": b"\x05\x00\xff" + b"\xff" * 8,
    "30 kB of an odd record": b"\x05\x00\x20" + bytes(32) + b"\x0b\xfd\x75\x30" + bytes(30_000),
}


def test_malformed_messages_are_dropped(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """LSP and wallets drop them and keep running."""
    starts_before = wallet_starts(payments)
    for what, content in MALFORMED.items():
        payments.record_fault(f"malformed message: {what}")
        send_raw(stranger, [lsp_id(payments)], content)
        for phone in (payments.a, payments.b):
            send_raw(stranger, [lsp_id(payments), bytes.fromhex(phone.node.node_id)], content)
    wait_until_dealt_with(payments, stranger)

    assert wallet_starts(payments) == starts_before, "a wallet has crashed"
    pay(payments, payments.new_case())


def wallet_starts(payments: PaymentHarness) -> int:
    return [event["what"] for phone in (payments.a, payments.b) for event in phone.events()].count("started")


def test_flooded_mailbox_keeps_room_for_the_payer(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """The flood comes before the payer's message and after it."""
    case = payments.new_case()
    with payments.b.disconnected():
        flood(payments, stranger)
        case.hand_over()
        flood(payments, stranger)
    case.wait_until_paid(180)
    payments.assert_paid(case)
    wait_for(Predicate("mailbox_empty", lambda: f"{kept} messages" if (kept := kept_for_b(payments)) else None), 60)


def test_stranger_with_the_payment_hash_alone_gets_no_answer(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """The invoice is unpaid, paid, or does not exist; and three false announcements do not stop a payment."""
    paid, case = payments.new_case(), payments.new_case()
    pay(payments, paid)
    before = replace(payments, before=balances.count(payments.testbed))
    for payment_hash in (case.payment_hash, paid.payment_hash, secrets.token_hex(32)):
        for amount_msat in (1, case.amount_msat, 10**15):
            payments.record_fault("announcement by a stranger")
            message = announcement(bytes.fromhex(payment_hash), amount_msat)
            announce(payments, stranger, message)
            wait_until_read(payments, message)

    pay(before, case)

    wait_until_dealt_with(payments, stranger)
    assert not [each for each in stranger.inbox if isinstance(each, PaymentRelease | PaymentRefused)]
    assert [each["state"] for each in payments.b.wallet.announced() if case.payment_hash in each["payment_hashes"]] == [
        "paid"
    ]


def test_false_announcements_by_who_has_the_invoice_cost_nobody_money(
    payments: PaymentHarness, stranger: ScriptedPeer
) -> None:
    """They can exhaust the payee's limit for this invoice: then the payment is returned, and nothing is lost."""
    case = payments.new_case()
    invoice = read(stranger, case)
    for _ in range(5):
        payments.record_fault("false announcement")
        message = announcement(invoice.payment_hash, case.amount_msat, invoice.payment_secret)
        announce(payments, stranger, message)
        wait_until_read(payments, message)

    payments.a.wallet.paying(case.invoice)

    assert_paid_once_or_returned(payments, case)


@pytest.mark.full
def test_client_that_blocks_as_much_as_it_may_and_never_pays(payments: PaymentHarness, stranger: ScriptedPeer) -> None:
    """It exhausts its own share, and no other client's."""
    case = payments.new_case()
    invoice = read(stranger, case)

    def block() -> Hold:
        return Hold(stranger, "LSP", replace(invoice, payment_hash=secrets.token_bytes(32)))

    payments.record_fault(f"{MOST_HOLDS} blocks that are never paid")
    ask_all(stranger, [block() for _ in range(MOST_HOLDS)])
    block().ask(BlockStatus.TOO_MANY_HOLDS)

    pay(payments, case)


def test_webhook_that_is_slow_to_answer(payments: PaymentHarness) -> None:
    """The payment waits, and the payee is notified once its webhook works. (tests/e2e/phones has other failures.)"""
    case = payments.new_case()
    payments.b.sleep()
    payments.record_fault("webhook that never answers")
    payments.testbed.push.answer(Behaviour.HANG)
    try:
        case.hand_over()
        wait_for(Predicate("posted", lambda: None if unanswered_posts(payments) else "nothing was posted"), 60)
        payments.wait_for_htlcs(A=1, LSP=1)
    finally:
        payments.testbed.push.answer(Behaviour.NORMALLY)
    case.wait_until_paid()
    payments.assert_paid(case)


def unanswered_posts(payments: PaymentHarness) -> int:
    return sum(push.refused is not None for push in payments.testbed.push.pushes("B"))
