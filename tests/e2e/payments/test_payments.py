"""Payments between phones that are online when it suits them: together, in turn, or for seconds."""

from harness.services.phone import Phone
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities
from tests.support.payment_harness import Scene


def test_all_online(scene: Scene) -> None:
    deal = scene.deal()
    payment = scene.a.wallet.pay(deal.invoice, "--wait")
    assert payment["state"] == "settled"
    scene.assert_paid(deal)


def test_payee_offline_when_it_is_paid(scene: Scene) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over()
        scene.wait_for_htlcs(A=1, LSP_a=1, LSP_b=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_never_online_together(scene: Scene) -> None:
    """The main job: the payer is gone before the payee is back, and comes back when the payee is gone again."""
    deal = scene.deal()
    scene.b.disconnect()
    deal.hand_over()
    scene.wait_for_htlcs(A=1, LSP_a=1, router=0, LSP_b=0)
    scene.a.disconnect()
    scene.b.reconnect()
    deal.wait_until_paid()
    assert scene.htlcs("A") == 1, "the payer cannot have been told yet"
    scene.b.disconnect()
    scene.a.reconnect()
    deal.wait_until("settled")
    scene.b.reconnect()
    scene.assert_paid(deal)


def test_payer_asleep_from_the_hand_over_to_the_push(scene: Scene) -> None:
    """A sleeping payer is called once the preimage waits for it."""
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over()
        scene.a.sleep()
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_payer_back_before_the_payee(scene: Scene) -> None:
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over()
        with scene.a.disconnected():
            scene.wait_for_htlcs(LSP_a=1, LSP_b=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)


def test_without_the_invoice_a_sleeping_payer_is_woken_to_forward(scene: Scene) -> None:
    """--private keeps the invoice from the LSP, which therefore cannot pay in the payer's place."""
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over("--private")
        scene.a.sleep()
    deal.wait_until_paid()
    scene.assert_paid(deal)
    assert "paying" not in scene.noted("LSP_a", deal)
    assert "released" in scene.noted("LSP_a", deal)


def test_the_payee_may_find_the_way_back_itself(scene: Scene) -> None:
    """The release goes to the payer, by way of its LSP. One that does not see it pass keeps it for the payer, who then
    shows it to the LSP.
    """
    deal = scene.deal()
    with scene.b.disconnected():
        deal.hand_over("--literal-release")
        scene.a.disconnect()
    if capabilities(scene.testbed, "LSP_a").transit_release:
        deal.wait_until_paid()
    else:
        wait_for(mail_for(scene, scene.a), 60)
        scene.wait_for_htlcs(LSP_a=1, LSP_b=0)
    scene.a.reconnect()
    deal.wait_until_paid()
    scene.assert_paid(deal)


def mail_for(scene: Scene, phone: Phone) -> Predicate:
    """Its LSP keeps a message for this phone."""

    def missing() -> str | None:
        mailbox = scene.testbed.lsp(phone.lsp.name).status()["mailbox"]
        return None if phone.node.node_id in mailbox else f"the mailbox has {mailbox}"

    return Predicate("mail", missing)
