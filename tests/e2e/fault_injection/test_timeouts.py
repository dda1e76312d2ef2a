"""Deadlines: until the last useful block a payment can be released, and from the next one on it is returned."""

import re
import time

import pytest

from asyncpay.wire.messages import BlockState
from harness.checks import scenario_table
from harness.faults.failpoints import frozen_before
from harness.services.lsp import htlcs_held, interceptor_attached
from harness.services.wallet import WalletError
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities, lsp_policy
from tests.support.payment_harness import PaymentCase, PaymentHarness

from .scripted_payer import scripted_payer

PART_MSAT = 1_000_000
SLACKS = [pytest.param(0, marks=pytest.mark.full), 10, pytest.param(144, marks=pytest.mark.full)]
"""The number of blocks that the payee has."""


@pytest.fixture(scope="module")
def testbed(pocket: Testbed, lsp_disk: str) -> Testbed:
    return pocket


def mine(payments: PaymentHarness, blocks: int) -> None:
    """Mine blocks, and wait until the LSP has received them."""
    height = payments.testbed.mine(blocks)

    def missing() -> str | None:
        seen = payments.testbed.lsp("LSP").status()["node"]["height_blocks"]
        return None if seen == height else f"the LSP is at block {seen} of {height}"

    wait_for(Predicate("lsp_at_height", missing), 60)
    payments.record_fault("blocks pass")


def assert_learns_that_it_is_too_late(payments: PaymentHarness, case: PaymentCase) -> None:
    """Bring the payee back; assert that it refuses the stored message as too late."""

    def missing() -> str | None:
        states = [
            each["state"] for each in payments.b.wallet.announced() if case.payment_hash in each["payment_hashes"]
        ]
        return None if states and set(states) <= {"refused", "too late", "expired"} else f"B says {states}"

    wait_for(Predicate("payee_knows", missing), 60)


@pytest.mark.parametrize("slack_blocks", SLACKS)
def test_released_at_the_last_useful_block(payments: PaymentHarness, slack_blocks: int) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over(f"--slack-blocks={slack_blocks}")
        mine(payments, slack_blocks)
        payments.wait_for_htlcs(A=1, LSP=1, B=0)
    case.wait_until_paid()
    payments.assert_paid(case)


@pytest.mark.parametrize("slack_blocks", SLACKS)
def test_released_one_block_after_it(payments: PaymentHarness, slack_blocks: int) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over(f"--slack-blocks={slack_blocks}")
        mine(payments, slack_blocks + 1)
        payments.wait_for_block(case, "failed back")
    assert_learns_that_it_is_too_late(payments, case)
    payments.assert_nobody_paid(case)


def test_payee_never_wakes(payments: PaymentHarness) -> None:
    """The payer is offline, too: the LSP returns the held parts, and the payer learns that when it is back."""
    case = payments.new_case()
    with payments.b.disconnected():
        case.hand_over("--slack-blocks=10")
        with payments.a.disconnected():
            mine(payments, 11)
            payments.wait_for_block(case, "failed back")
        payments.assert_nobody_paid(case)


def most_slack_blocks(payments: PaymentHarness, case: PaymentCase) -> int:
    """Return the maximum that the wallet names when it refuses a larger slack."""
    with pytest.raises(WalletError, match="too much slack") as refused:
        payments.a.wallet.pay(case.invoice, "--slack-blocks=1900")
    most = re.search(r"(\d+) at most", str(refused.value))
    assert most is not None
    return int(most[1])


def test_more_slack_than_a_route_may_take_is_refused(payments: PaymentHarness) -> None:
    case = payments.new_case()
    assert most_slack_blocks(payments, case) < 1900
    assert payments.a.wallet.payment(case.payment_hash) is None
    assert payments.block(case) is None, "the LSP has been asked"
    payments.record_outcome(scenario_table.REFUSED)


def test_slack_that_only_the_node_finds_to_be_too_much(payments: PaymentHarness) -> None:
    """The wallet does not know the CLTV deltas of the hops: the node finds no route, and the block is cancelled."""
    case = payments.new_case()
    slack = f"--slack-blocks={most_slack_blocks(payments, case)}"
    assert payments.a.wallet.pay(case.invoice, slack)["state"] == "failed"
    payments.wait_for_block(case, "failed back")
    payments.assert_nobody_paid(case)


@pytest.mark.full
def test_invoice_expires_while_held(payments: PaymentHarness) -> None:
    """No wallet holds a payment that long; a scripted payer does, the payee refuses, and the payment is returned."""
    with scripted_payer(payments) as scripted:
        invoice = scripted.invoice(PART_MSAT, "--expiry-days=0.0002")
        with payments.b.disconnected():
            hold = scripted.hold(invoice).ask().pay().update(BlockState.HELD)
            hold.announce(scripted.payee)
            expired = Predicate("expired", lambda: None if time.time() > invoice.expires_at + 1 else "not yet")
            wait_for(expired, 60)
            payments.record_fault("invoice expires")
        hold.update(BlockState.FAILED_BACK, timeout_seconds=60)
        scripted.assert_returned(hold)
        payment_hash = invoice.payment_hash.hex()
        [claim] = [each for each in payments.b.wallet.announced() if payment_hash in each["payment_hashes"]]
        assert claim["state"] == "refused"


def test_hold_until_passes(payments: PaymentHarness) -> None:
    case = payments.new_case()
    with payments.b.disconnected():
        hold_until = case.hand_over("--hold-for=12")["hold_until"]
        payments.wait_for_block(case, "failed back")
        payments.record_fault("hold_until passes")
        assert time.time() > hold_until
    payments.assert_nobody_paid(case)


def test_block_without_any_htlc(payments: PaymentHarness) -> None:
    """The payer's wallet is frozen between block and payment, and continues when the block is over."""
    case = payments.new_case()
    with frozen_before(payments.testbed, payments.a, "Pay") as store:
        payments.record_fault("wallet frozen")
        paying = payments.a.wallet.paying(case.invoice, "--slack-blocks=2")
        wait_for(store.frozen, 60)
        mine(payments, 3)
        payments.wait_for_block(case, "failed back")
    assert paying.result(120)["state"] == "failed"
    payments.assert_nobody_paid(case)


@pytest.mark.full
def test_cancelled_before_the_parts(payments: PaymentHarness) -> None:
    """The LSP is down: the payment ends immediately, and the LSP receives the cancel when it is back."""
    case, lsp = payments.new_case(), payments.testbed.lsp("LSP")
    lsp.kill()
    payments.record_fault("SIGKILL LSP component")
    paying = payments.a.wallet.paying(case.invoice)
    case.wait_until("requested")
    payments.a.wallet.cancel(case.payment_hash)
    assert paying.result(60)["state"] == "failed"
    lsp.start()
    wait_for(interceptor_attached(lsp), 90)
    payments.assert_nobody_paid(case)


def test_cancelled_between_the_parts(payments: PaymentHarness) -> None:
    case = payments.new_case(16 * PART_MSAT)
    payments.record_fault("latency 2 s")
    with payments.a.latency_ms(2_000):
        paying = payments.a.wallet.paying(case.invoice, f"--max-part={PART_MSAT}msat")
        payments.wait_for_htlcs(A=16)
        payments.a.wallet.cancel(case.payment_hash)
        payments.wait_for_block(case, "failed back")
    assert paying.result(150)["state"] == "failed"
    payments.assert_nobody_paid(case)


def test_cancelled_after_the_parts(payments: PaymentHarness) -> None:
    case = payments.new_case(16 * PART_MSAT)
    with payments.b.disconnected():
        case.hand_over(f"--max-part={PART_MSAT}msat")
        payments.a.wallet.cancel(case.payment_hash)
        payments.wait_for_block(case, "failed back")
    assert_learns_that_it_is_too_late(payments, case)
    payments.assert_nobody_paid(case)


def test_nodes_own_cut_off_is_never_reached(payments: PaymentHarness) -> None:
    """The node itself fails a held HTLC some blocks before its expiry; the LSP's margin comes before that."""
    with scripted_payer(payments) as scripted:
        far = payments.testbed.chain.height_blocks + 1000
        hold = scripted.hold(scripted.invoice(PART_MSAT), release_by_height=far)
        hold.ask().pay(slack_blocks=0).update(BlockState.HELD)
        [part] = held(payments, hold.request.unblock_hash)
        margin_blocks = lsp_policy(payments.testbed, "LSP").min_margin_blocks
        mine(payments, part["incoming_expiry"] - margin_blocks - 1 - payments.testbed.chain.height_blocks)
        wait_for(htlcs_held(payments.testbed.lsp("LSP"), 1))
        mine(payments, 1)
        hold.update(BlockState.FAILED_BACK)
        scripted.assert_returned(hold)
        assert part["incoming_expiry"] - payments.testbed.chain.height_blocks > cutoff_blocks(payments)


@pytest.mark.full
def test_blocks_in_a_burst_past_both_margins(payments: PaymentHarness) -> None:
    """LSP and node both decide to fail the HTLC. It is returned once, and the LSP continues to serve."""
    with scripted_payer(payments) as scripted:
        far = payments.testbed.chain.height_blocks + 1000
        hold = scripted.hold(scripted.invoice(PART_MSAT), release_by_height=far)
        hold.ask().pay(slack_blocks=0).update(BlockState.HELD)
        [part] = held(payments, hold.request.unblock_hash)
        both_blocks = min(cutoff_blocks(payments) - 2, 17)  # LND fails what it holds at 19, sooner only what comes back
        mine(payments, part["incoming_expiry"] - both_blocks - payments.testbed.chain.height_blocks)
        scripted.assert_returned(hold)
        wait_for(interceptor_attached(payments.testbed.lsp("LSP")), 60)
        scripted.a.forget_failures()
        again = scripted.hold(scripted.invoice(PART_MSAT)).ask().pay().update(BlockState.HELD)
        again.announce(scripted.payee)
        assert again.result(60).preimage is not None


def cutoff_blocks(payments: PaymentHarness) -> int:
    """Return the number of blocks before its expiry at which the LSP's node fails a held HTLC by itself."""
    blocks = capabilities(payments.testbed, "LSP").cutoff_blocks
    assert blocks is not None
    return blocks


def held(payments: PaymentHarness, unblock_hash: bytes) -> list[dict[str, int]]:
    """Return the parts of a block at the LSP."""
    blocks = payments.testbed.lsp("LSP").status()["blocks"]
    parts: list[dict[str, int]] = next(each["parts"] for each in blocks if each["unblock_hash"] == unblock_hash.hex())
    return parts
