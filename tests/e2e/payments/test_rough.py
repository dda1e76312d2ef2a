"""Everything that goes wrong between two phones: freezing, flapping, dropping, and LSPs that are down."""

import pytest

from harness.faults.failpoints import frozen_before, killed_before
from harness.services.lsp import interceptor_attached
from harness.waits import wait_for
from tests.support.payment_harness import Scene


@pytest.mark.parametrize(
    "effect",
    ["Pay", "LookUp", "SendPending"],
    ids=["between block and pay", "between pay and held", "between held and handed over"],
)
def test_payer_frozen(scene: Scene, effect: str) -> None:
    """The whole phone stands still for a while, its connection half open, and then goes on."""
    deal = scene.deal()
    with frozen_before(scene.testbed, scene.a, effect) as store:
        paying = scene.a.wallet.paying(deal.invoice)
        wait_for(store.frozen)
        with scene.a.frozen():
            scene.testbed.chain.mine(1)
    assert paying.result(90)["state"] in ("handed over", "settled")
    scene.assert_paid(deal)


@pytest.mark.parametrize("effect", ["SendToLsp", "Pay", "LookUp", "SendPending"])
def test_payer_s_wallet_killed(scene: Scene, effect: str) -> None:
    """In each of its states: what it asked for is stored, and it pays once."""
    deal = scene.deal()
    killed_before(scene.testbed, scene.a, effect, lambda: scene.a.wallet.paying(deal.invoice))
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_payer_s_wallet_killed_after_the_hand_over(scene: Scene) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over()
        scene.a.container.do_to_app("wallet", "crash")
    deal.wait_until_paid()
    scene.assert_paid(deal)


@pytest.mark.parametrize("effect", ["SendRelease"])
def test_payee_s_wallet_killed(scene: Scene, effect: str) -> None:
    deal = scene.deal()
    killed_before(scene.testbed, scene.b, effect, deal.hand_over)
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_payee_flaps_while_its_message_is_delivered(scene: Scene) -> None:
    deal = scene.deal()
    scene.b.disconnect()
    deal.hand_over()
    for _ in range(3):
        scene.b.reconnect()
        scene.b.disconnect()
    scene.b.reconnect()
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_payee_releases_and_is_gone_before_the_htlc_comes(scene: Scene) -> None:
    """Its LSP holds the HTLC for it, and calls it."""
    deal = scene.deal()
    lsp_a = scene.testbed.lsp("LSP_a")
    scene.b.disconnect()
    deal.hand_over()
    with frozen_before(scene.testbed, lsp_a, "ResolveHtlc") as store:
        scene.b.reconnect()
        wait_for(store.frozen, 60)
        scene.b.disconnect()
    scene.wait_for_htlcs(LSP_b=1)
    scene.b.reconnect()
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_payee_s_lsp_down_when_the_payer_hands_over(scene: Scene) -> None:
    """The message is lost; the courier, which the payer's LSP keeps, brings it again."""
    deal = scene.deal()
    lsp_b = scene.testbed.lsp("LSP_b")
    with scene.b.disconnected():
        lsp_b.kill()
        deal.hand_over()
        scene.a.disconnect()
        lsp_b.start()
        wait_for(interceptor_attached(lsp_b), 60)
    deal.wait_until_paid()
    scene.a.reconnect()
    scene.assert_paid(deal)


def test_payer_s_lsp_down_when_the_payee_releases(scene: Scene) -> None:
    deal = scene.deal()
    lsp_a = scene.testbed.lsp("LSP_a")
    with scene.b.disconnected():
        deal.hand_over()
        lsp_a.kill()
    lsp_a.start()
    wait_for(interceptor_attached(lsp_a), 60)
    deal.wait_until_paid()
    scene.assert_paid(deal)
