"""Faults between two phones: frozen phones, flapping links, crashed wallets, and LSPs that are down."""

import pytest

from harness.faults.failpoints import frozen_before, killed_before
from harness.services.lsp import interceptor_attached
from harness.waits import wait_for
from tests.support.payment_harness import PaymentHarness

pytestmark = pytest.mark.seconds(12)


@pytest.mark.parametrize(
    "effect",
    ["Pay", "LookUp", "SendPending"],
    ids=["between block and pay", "between pay and held", "between held and handed over"],
)
def test_payer_frozen(payments: PaymentHarness, effect: str) -> None:
    """The whole phone is frozen for some time, its connection half open, and then resumes."""
    case = payments.new_case()
    with frozen_before(payments.testbed, payments.a, effect) as store:
        paying = payments.a.wallet.paying(case.invoice)
        wait_for(store.frozen)
        with payments.a.frozen():
            payments.testbed.chain.mine(1)
    assert paying.result(90)["state"] in ("handed over", "settled")
    payments.assert_paid(case)


@pytest.mark.parametrize("effect", ["SendToLsp", "Pay", "LookUp", "SendPending"])
def test_payer_s_wallet_killed(payments: PaymentHarness, effect: str) -> None:
    """In each of its states: its request is stored, and it pays once."""
    case = payments.new_case()
    killed_before(payments.testbed, payments.a, effect, lambda: payments.a.wallet.paying(case.invoice))
    case.wait_until_paid()
    payments.assert_paid(case)


def test_payer_s_wallet_killed_after_the_hand_over(payments: PaymentHarness) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        payments.a.container.do_to_app("wallet", "crash")
    case.wait_until_paid()
    payments.assert_paid(case)


@pytest.mark.parametrize("effect", ["SendRelease"])
def test_payee_s_wallet_killed(payments: PaymentHarness, effect: str) -> None:
    case = payments.new_case()
    killed_before(payments.testbed, payments.b, effect, case.hand_over)
    case.wait_until_paid()
    payments.assert_paid(case)


def test_payee_flaps_while_its_message_is_delivered(payments: PaymentHarness) -> None:
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    for _ in range(3):
        payments.b.reconnect()
        payments.b.disconnect()
    payments.b.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)


def test_payee_releases_and_is_gone_before_the_htlc_comes(payments: PaymentHarness) -> None:
    """The payee's LSP holds the HTLC, and notifies the payee."""
    case = payments.new_case()
    lsp_a = payments.testbed.lsp("LSP_a")
    payments.b.disconnect()
    case.hand_over()
    with frozen_before(payments.testbed, lsp_a, "ResolveHtlc") as store:
        payments.b.reconnect()
        wait_for(store.frozen, 60)
        payments.b.disconnect()
    payments.wait_for_htlcs(LSP_b=1)
    payments.b.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)


def test_payee_s_lsp_down_when_the_payer_hands_over(payments: PaymentHarness) -> None:
    """The message is lost; the courier of the payer's LSP sends it again."""
    case = payments.new_case()
    lsp_b = payments.testbed.lsp("LSP_b")
    with payments.b.disconnected():
        lsp_b.kill()
        case.hand_over()
        payments.a.disconnect()
        lsp_b.start()
        wait_for(interceptor_attached(lsp_b), 60)
    case.wait_until_paid()
    payments.a.reconnect()
    payments.assert_paid(case)


def test_payer_s_lsp_down_when_the_payee_releases(payments: PaymentHarness) -> None:
    case = payments.new_case()
    lsp_a = payments.testbed.lsp("LSP_a")
    with payments.b.disconnected():
        case.hand_over()
        lsp_a.kill()
    lsp_a.start()
    wait_for(interceptor_attached(lsp_a), 60)
    case.wait_until_paid()
    payments.assert_paid(case)
