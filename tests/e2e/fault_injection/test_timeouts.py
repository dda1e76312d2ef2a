"""Deadlines: until the last useful block a payment can be released, and from the next one on it is back."""

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
from tests.support.implementations import capabilities
from tests.support.payment_harness import Deal, Scene

from .scripted_payer import payer_by_hand

PART_MSAT = 1_000_000
SLACKS = [pytest.param(0, marks=pytest.mark.full), 10, pytest.param(144, marks=pytest.mark.full)]
"""How many blocks the payee has."""


@pytest.fixture(scope="module")
def testbed(pocket: Testbed) -> Testbed:
    return pocket


def mine(scene: Scene, blocks: int) -> None:
    """Let time pass for HTLCs, until the LSP has heard of it."""
    height = scene.testbed.mine(blocks)

    def missing() -> str | None:
        seen = scene.testbed.lsp("LSP").status()["node"]["height_blocks"]
        return None if seen == height else f"the LSP is at block {seen} of {height}"

    wait_for(Predicate("lsp_at_height", missing), 60)
    scene.fault("blocks pass")


def assert_learns_that_it_is_too_late(scene: Scene, deal: Deal) -> None:
    """The payee is back, and gets the message that waited for it."""

    def missing() -> str | None:
        states = [each["state"] for each in scene.b.wallet.announced() if deal.payment_hash in each["payment_hashes"]]
        return None if states and set(states) <= {"refused", "too late", "expired"} else f"B says {states}"

    wait_for(Predicate("payee_knows", missing), 60)


@pytest.mark.parametrize("slack_blocks", SLACKS)
def test_released_at_the_last_useful_block(scene: Scene, slack_blocks: int) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over(f"--slack-blocks={slack_blocks}")
        mine(scene, slack_blocks)
        scene.wait_for_htlcs(A=1, LSP=1, B=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


@pytest.mark.parametrize("slack_blocks", SLACKS)
def test_released_one_block_after_it(scene: Scene, slack_blocks: int) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over(f"--slack-blocks={slack_blocks}")
        mine(scene, slack_blocks + 1)
        scene.wait_for_block(deal, "failed back")
    assert_learns_that_it_is_too_late(scene, deal)
    scene.assert_nobody_paid(deal)


def test_payee_never_wakes(scene: Scene) -> None:
    """And the payer was gone, too: the LSP gives back what it holds, and the payer learns it when it returns."""
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over("--slack-blocks=10")
        with scene.a.disconnected():
            mine(scene, 11)
            scene.wait_for_block(deal, "failed back")
        scene.assert_nobody_paid(deal)


def most_slack_blocks(scene: Scene, deal: Deal) -> int:
    """What the wallet says when it refuses to ask for more."""
    with pytest.raises(WalletError, match="too much slack") as refused:
        scene.a.wallet.pay(deal.invoice, "--slack-blocks=1900")
    most = re.search(r"(\d+) at most", str(refused.value))
    assert most is not None
    return int(most[1])


def test_more_slack_than_a_route_may_take_is_refused(scene: Scene) -> None:
    deal = scene.deal()
    assert most_slack_blocks(scene, deal) < 1900
    assert scene.a.wallet.payment(deal.payment_hash) is None
    assert scene.block(deal) is None, "the LSP has been asked"
    scene.outcome(scenario_table.REFUSED)


def test_slack_that_only_the_node_finds_to_be_too_much(scene: Scene) -> None:
    """The wallet does not know what the hops on the way add: the node finds no route, and the block is taken back."""
    deal = scene.deal()
    slack = f"--slack-blocks={most_slack_blocks(scene, deal)}"
    assert scene.a.wallet.pay(deal.invoice, slack)["state"] == "failed"
    scene.wait_for_block(deal, "failed back")
    scene.assert_nobody_paid(deal)


@pytest.mark.full
def test_invoice_expires_while_held(scene: Scene) -> None:
    """A wallet holds no payment for so long; a payer that does is refused by the payee, and gets it back at once."""
    with payer_by_hand(scene) as by_hand:
        invoice = by_hand.invoice(PART_MSAT, "--expiry-days=0.0002")
        with scene.b.disconnected():
            hold = by_hand.hold(invoice).ask().pay().update(BlockState.HELD)
            hold.announce(by_hand.payee)
            expired = Predicate("expired", lambda: None if time.time() > invoice.expires_at + 1 else "not yet")
            wait_for(expired, 60)
            scene.fault("invoice expires")
        hold.update(BlockState.FAILED_BACK, timeout_seconds=60)
        by_hand.assert_returned(hold)
        payment_hash = invoice.payment_hash.hex()
        [claim] = [each for each in scene.b.wallet.announced() if payment_hash in each["payment_hashes"]]
        assert claim["state"] == "refused"


def test_hold_until_passes(scene: Scene) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        hold_until = deal.hand_over("--hold-for=12")["hold_until"]
        scene.wait_for_block(deal, "failed back")
        scene.fault("hold_until passes")
        assert time.time() > hold_until
    scene.assert_nobody_paid(deal)


def test_block_without_any_htlc(scene: Scene) -> None:
    """The payer's wallet stands still between block and payment, and goes on when the block is over."""
    deal = scene.deal()
    with frozen_before(scene.testbed, scene.a, "Pay") as store:
        scene.fault("wallet stands still")
        paying = scene.a.wallet.paying(deal.invoice, "--slack-blocks=2")
        wait_for(store.frozen, 60)
        mine(scene, 3)
        scene.wait_for_block(deal, "failed back")
    assert paying.result(120)["state"] == "failed"
    scene.assert_nobody_paid(deal)


@pytest.mark.full
def test_cancelled_before_the_parts(scene: Scene) -> None:
    """The LSP is away: the payment ends at once, and the LSP is told once it can hear it."""
    deal, lsp = scene.deal(), scene.testbed.lsp("LSP")
    lsp.kill()
    scene.fault("SIGKILL LSP component")
    paying = scene.a.wallet.paying(deal.invoice)
    deal.wait_until("requested")
    scene.a.wallet.cancel(deal.payment_hash)
    assert paying.result(60)["state"] == "failed"
    lsp.start()
    wait_for(interceptor_attached(lsp), 90)
    scene.assert_nobody_paid(deal)


def test_cancelled_between_the_parts(scene: Scene) -> None:
    deal = scene.deal(16 * PART_MSAT)
    scene.fault("latency 2 s")
    with scene.a.latency_ms(2_000):
        paying = scene.a.wallet.paying(deal.invoice, f"--max-part={PART_MSAT}msat")
        scene.wait_for_htlcs(A=16)
        scene.a.wallet.cancel(deal.payment_hash)
        scene.wait_for_block(deal, "failed back")
    assert paying.result(150)["state"] == "failed"
    scene.assert_nobody_paid(deal)


def test_cancelled_after_the_parts(scene: Scene) -> None:
    deal = scene.deal(16 * PART_MSAT)
    with scene.b.disconnected():
        deal.hand_over(f"--max-part={PART_MSAT}msat")
        scene.a.wallet.cancel(deal.payment_hash)
        scene.wait_for_block(deal, "failed back")
    assert_learns_that_it_is_too_late(scene, deal)
    scene.assert_nobody_paid(deal)


def test_nodes_own_cut_off_is_never_reached(scene: Scene) -> None:
    """The node itself fails a held HTLC some blocks before its expiry; the LSP's margin comes before that."""
    with payer_by_hand(scene) as by_hand:
        far = scene.testbed.chain.height_blocks + 1000
        hold = by_hand.hold(by_hand.invoice(PART_MSAT), release_by_height=far)
        hold.ask().pay(slack_blocks=0).update(BlockState.HELD)
        [part] = held(scene, hold.request.unblock_hash)
        margin_blocks = scene.testbed.topology.components["LSP"].policy.min_margin_blocks
        mine(scene, part["incoming_expiry"] - margin_blocks - 1 - scene.testbed.chain.height_blocks)
        wait_for(htlcs_held(scene.testbed.lsp("LSP"), 1))
        mine(scene, 1)
        hold.update(BlockState.FAILED_BACK)
        by_hand.assert_returned(hold)
        assert part["incoming_expiry"] - scene.testbed.chain.height_blocks > cutoff_blocks(scene)


@pytest.mark.full
def test_blocks_in_a_burst_past_both_margins(scene: Scene) -> None:
    """Both want to fail the HTLC now, LSP and node. It is back once, and the LSP goes on serving."""
    with payer_by_hand(scene) as by_hand:
        far = scene.testbed.chain.height_blocks + 1000
        hold = by_hand.hold(by_hand.invoice(PART_MSAT), release_by_height=far)
        hold.ask().pay(slack_blocks=0).update(BlockState.HELD)
        [part] = held(scene, hold.request.unblock_hash)
        both_blocks = min(cutoff_blocks(scene) - 2, 17)  # LND fails what it holds at 19, sooner only what comes back
        mine(scene, part["incoming_expiry"] - both_blocks - scene.testbed.chain.height_blocks)
        by_hand.assert_returned(hold)
        wait_for(interceptor_attached(scene.testbed.lsp("LSP")), 60)
        by_hand.a.forget_failures()
        again = by_hand.hold(by_hand.invoice(PART_MSAT)).ask().pay().update(BlockState.HELD)
        again.announce(by_hand.payee)
        assert again.result(60).preimage is not None


def cutoff_blocks(scene: Scene) -> int:
    """So many blocks before its expiry the LSP's node fails a held HTLC by itself."""
    blocks = capabilities(scene.testbed, "LSP").cutoff_blocks
    assert blocks is not None
    return blocks


def held(scene: Scene, unblock_hash: bytes) -> list[dict[str, int]]:
    """The parts that the LSP has under a block."""
    blocks = scene.testbed.lsp("LSP").status()["blocks"]
    parts: list[dict[str, int]] = next(each["parts"] for each in blocks if each["unblock_hash"] == unblock_hash.hex())
    return parts
