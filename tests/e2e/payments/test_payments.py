"""Payments between phones that are online at any time: together, in turn, or for seconds."""

import pytest

from harness.services.phone import Phone
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities
from tests.support.payment_harness import PaymentHarness

pytestmark = pytest.mark.seconds(10)


def test_all_online(payments: PaymentHarness) -> None:
    case = payments.new_case()
    payment = payments.a.wallet.pay(case.invoice, "--wait")
    assert payment["state"] == "settled"
    payments.assert_paid(case)


def test_payee_offline_when_it_is_paid(payments: PaymentHarness) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        payments.wait_for_htlcs(A=1, LSP_a=1, LSP_b=0)
    case.wait_until_paid()
    payments.assert_paid(case)


def test_never_online_together(payments: PaymentHarness) -> None:
    """The payer goes offline before the payee is back, and comes back when the payee is offline again."""
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    payments.wait_for_htlcs(A=1, LSP_a=1, router=0, LSP_b=0)
    payments.a.disconnect()
    payments.b.reconnect()
    case.wait_until_paid()
    payments.wait_for_htlcs(B=0)  # LSP_b has the preimage
    assert payments.htlcs("A") == 1, "the payer cannot have been told yet"
    payments.b.disconnect()
    payments.a.reconnect()
    case.wait_until("settled")
    payments.b.reconnect()
    payments.assert_paid(case)


def test_payer_asleep_from_the_hand_over_to_the_push(payments: PaymentHarness) -> None:
    """A sleeping payer is notified once the preimage waits for it."""
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        payments.a.sleep()
    case.wait_until_paid()
    payments.assert_paid(case)


def test_payer_back_before_the_payee(payments: PaymentHarness) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        with payments.a.disconnected():
            payments.wait_for_htlcs(LSP_a=1, LSP_b=0)
    case.wait_until_paid()
    payments.assert_paid(case)


def test_a_payment_after_one_that_was_returned(payments: PaymentHarness) -> None:
    """The payer's node keeps its route, whatever reason the LSP's node gives for the HTLC that it returns."""
    returned, case = payments.new_case(), payments.new_case()
    with payments.b.disconnected():
        returned.hand_over()
        payments.a.wallet.cancel(returned.payment_hash)
        payments.assert_nobody_paid(returned)
        case.hand_over()
    case.wait_until_paid()
    payments.assert_paid(case)


def test_without_the_invoice_a_sleeping_payer_is_woken_to_forward(payments: PaymentHarness) -> None:
    """With --private the LSP does not receive the invoice, so it cannot pay on the payer's behalf."""
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over("--private")
        payments.a.sleep()
    case.wait_until_paid()
    payments.assert_paid(case)
    assert "paying" not in payments.logged("LSP_a", case)
    assert "released" in payments.logged("LSP_a", case)


def test_the_payee_may_find_the_way_back_itself(payments: PaymentHarness) -> None:
    """The release is sent to the payer, through its LSP. An LSP that cannot read it stores it for the payer, who then
    sends it to the LSP.
    """
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over("--literal-release")
        payments.a.disconnect()
    if capabilities(payments.testbed, "LSP_a").transit_release:
        case.wait_until_paid()
    else:
        wait_for(mail_for(payments, payments.a), 60)
        payments.wait_for_htlcs(LSP_a=1, LSP_b=0)
    payments.a.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)


def mail_for(payments: PaymentHarness, phone: Phone) -> Predicate:
    """The phone's LSP stores a message for it."""

    def missing() -> str | None:
        mailbox = payments.testbed.lsp(phone.lsp.name).status()["mailbox"]
        return None if phone.node.node_id in mailbox else f"the mailbox has {mailbox}"

    return Predicate("mail", missing)
