"""Invoices from people and other wallets: paid, or refused with the reason before anything is sent.

All channels are private, as behind an LSP that serves only phones.
"""

from collections.abc import Iterator

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.services.wallet import WalletError
from harness.testbed import Testbed
from tests.support.implementations import IMPLEMENTATIONS, all_on, capabilities
from tests.support.payment_harness import AMOUNT_MSAT, PaymentHarness, restore

METADATA_DEMANDED = (
    "lnbcrt10n1p4sjnnqpp5naew5r85j5mw83nv0plhq5vxm7dyx7qgxaf6a9fk6edn44lumhzqsp5xvenxvenxvenxvenxvenxvenxvenxvenxvenxvenxve"
    "nxvenxvesdp9wpshjmt9de6zqmt9w3skgct5vysxjmnnd9jx2xq9f395qcqpj9q2gqqqqqqsgqmq8q8a04uqanehurqt9hlr9pfqmtt860e4k4epd03dv"
    "fwjy4g07ntrdsqy4029jng32e3as2sz9wql0p7fulwxx0gkkrsk0jvhjy9p6c0jkgkvs7gqrpueur"
)
"""Features 8, 14 and 48; its payee does not exist (spesmilo/electrum#10593)."""


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(all_on(request.param, "private-phones.yaml"), request.config) as running:
        restore(running.phones.values())
        yield running


def blocks(payments: PaymentHarness) -> int:
    return len(payments.testbed.lsp("LSP").status()["blocks"])


def test_an_invoice_as_people_paste_it_over_private_channels_alone(payments: PaymentHarness) -> None:
    """lightningnetwork/lnd#7132 and #7753: the payer finds a payee that is in no graph."""
    case = payments.new_case()
    payment = payments.a.wallet.pay(f" lightning:{case.invoice.upper()}", "--wait")
    assert payment["state"] == "settled"
    payments.assert_paid(case)


def test_the_testbeds_own_payment_over_private_channels_alone(payments: PaymentHarness) -> None:
    payment = payments.testbed.pay("A", "B", AMOUNT_MSAT)
    moved = balances.count(payments.testbed).moved_since(payments.before)
    assert (moved["A"], moved["B"]) == (-AMOUNT_MSAT - payment.fee_msat, AMOUNT_MSAT)


def test_ones_own_invoice_is_refused_before_a_block_is_made(payments: PaymentHarness) -> None:
    case = payments.new_case()
    before = blocks(payments)
    with pytest.raises(WalletError, match="this invoice is this wallet's own"):
        payments.b.wallet.pay(case.invoice)
    assert blocks(payments) == before
    assert payments.b.wallet.payments() == []


def test_metadata_that_the_node_cannot_send_is_refused_before_anything_leaves(payments: PaymentHarness) -> None:
    before = blocks(payments)
    can = capabilities(payments.testbed, "A").metadata_with_slack
    why = "no message can reach the payee" if can else "payment metadata, which this wallet's node cannot send"
    with pytest.raises(WalletError, match=why):
        payments.a.wallet.pay(METADATA_DEMANDED)
    assert blocks(payments) == before


def test_a_refused_invoice_is_paid_later(payments: PaymentHarness) -> None:
    """The LSP accepts no second payment while the first is held; afterwards it does."""
    first, second = payments.new_case(), payments.new_case()
    with payments.b.disconnected():
        first.hand_over()
        refused = payments.a.wallet.pay(second.invoice)
        assert refused["state"] == "failed"
        assert "it holds the maximum for this wallet" in refused["failure"]
        payments.wait_for_htlcs(A=1, LSP=1)
    first.wait_until("settled")
    assert payments.a.wallet.pay(second.invoice, "--wait")["state"] == "settled"
    payments.assert_paid(first, second)


def test_a_cancel_by_the_first_digits_of_the_payment_hash(payments: PaymentHarness) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over()
        assert payments.a.wallet.cancel(case.payment_hash[:16])["payment_hash"] == case.payment_hash
        payments.assert_nobody_paid(case)
