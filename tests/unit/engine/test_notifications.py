"""Notifications: the five reasons, the cooldown, the tries, and the peace of those who are there."""

from itertools import pairwise

import pytest

from asyncpay.engine.lsp.interface import Notify, WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.notifications import KEPT_WITHOUT_CHANNEL_SECONDS
from asyncpay.engine.lsp.records import PushAttempt, Webhook
from asyncpay.engine.policy import LspPolicy

from .factories import CHANNEL_A, CHANNEL_A2, CHANNEL_B, HEIGHT, PREIMAGE, ROUTER, A, B
from .harness import LspHarness
from .test_mailbox import ONION, send

SETTLEMENT = "async_payments.settlement_pending"
PAYMENT = "lsps5.payment_incoming"
EXPIRY = "lsps5.expiry_soon"


def times(harness: LspHarness, seconds: int, client: bytes = B) -> list[float]:
    begin, found = harness.now, []
    while harness.now < begin + seconds:
        before = len(harness.pushes(client))
        harness.sleep(1)
        found += [harness.now - begin] * (len(harness.pushes(client)) - before)
    return found


# --- the five reasons ---


def test_1_an_onion_message_waits() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    assert harness.pushes(B) == [ONION]


def test_2_a_preimage_or_a_failure_waits() -> None:
    for settled in (True, False):
        harness = LspHarness()
        key = harness.pay(outgoing_channel=CHANNEL_B)  # any payment of a client's, blocked or not
        harness.disconnect(A)
        if settled:
            harness.payee_settles(PREIMAGE)
        else:
            harness.payee_fails(key)
        assert harness.pushes(A) == [SETTLEMENT]


def test_2_also_when_it_was_missed_while_the_lsp_was_down() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.disconnect(A)
    harness.restart()
    assert harness.pushes(A) == []  # the payee has not taken it yet
    harness.detach()
    harness.payee_settles()
    harness.restart()
    assert harness.pushes(A) == [SETTLEMENT]


def test_2_also_when_it_left_before_its_failure_could_reach_it() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness._resolve = lambda each: None  # type: ignore[method-assign]
    harness.cancel()
    assert harness.pushes(A) == []
    harness.disconnect(A)
    assert harness.pushes(A) == [SETTLEMENT]
    assert key in harness.htlcs


def test_3_an_htlc_waits() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert harness.pushes(B) == [PAYMENT]


def test_4_an_htlc_nears_its_expiry() -> None:
    harness = LspHarness()
    harness.pay(incoming_expiry=HEIGHT + 100)
    harness.disconnect(A)
    harness.mine_to(HEIGHT + 75)
    assert harness.pushes(A) == []
    harness.mine()
    assert harness.did(Notify) == [Notify(A, harness.did(Notify)[0].method, timeout=HEIGHT + 100)]
    assert harness.pushes(A) == [EXPIRY]


def test_5_its_channel_is_needed_to_forward() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.disconnect(A)
    harness.release()
    assert harness.pushes(A) == [SETTLEMENT]


# --- how often ---


def test_at_most_8_tries_with_doubling_distance() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    harness.effects.clear()
    send(harness, 1)
    later = times(harness, 4 * 3600)
    assert len(later) + 1 == 8
    assert [b - a for a, b in pairwise([0, *later])] == [60, 120, 240, 480, 960, 1920, 3840]


def test_something_new_rings_again_after_the_last_try() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.sleep(4 * 3600)
    assert len(harness.pushes(B)) == 8
    send(harness, 2)
    harness.sleep(4 * 3600)
    assert len(harness.pushes(B)) == 16


def test_what_failed_is_tried_again_sooner() -> None:
    harness = LspHarness()
    harness.pushes_work = False
    harness.disconnect(B)
    send(harness, 1)
    later = times(harness, 3600)
    assert [b - a for a, b in pairwise([0, *later])] == [2, 4, 8, 16, 32, 64, 128]


def test_something_new_is_notified_but_not_within_the_cooldown() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.sleep(30)
    send(harness, 2)
    assert len(harness.pushes(B)) == 1
    assert times(harness, 31)[0] == 30


def test_a_storm_of_messages_is_one_notification_a_cooldown() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    for number in range(599):
        send(harness, number)
        harness.sleep(1)
    assert len(harness.pushes(B)) == 10


def test_the_cooldown_outlives_its_reason() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    for _ in range(3):
        harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
        harness.sleep(45)
    assert times(harness, 300) == []
    assert len(harness.pushes(B)) <= 3


def test_methods_have_their_own_cooldowns() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert harness.pushes(B) == [ONION, PAYMENT]


def test_connecting_ends_all_calls_and_cooldowns() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.connect(B)
    harness.sleep(1)
    harness.disconnect(B)
    assert times(harness, 3600) == []
    send(harness, 2)
    assert harness.pushes(B) == [ONION, ONION]


def test_who_has_its_result_is_not_called_for_it() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.payee_settles()
    harness.disconnect(A)
    harness.sleep(3600)
    assert harness.pushes(A) == []


def test_whoever_is_there_is_never_notified() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.payee_settles()
    send(harness, 1, undelivered=True)
    harness.mine_to(HEIGHT + 670)
    assert harness.did(Notify) == []


def test_a_client_that_leaves_with_something_still_there_is_called() -> None:
    harness = LspHarness(policy=LspPolicy())
    harness.disconnect(B)
    for number in range(3):
        send(harness, number)
    harness.connect(B)
    harness.effects.clear()
    harness.disconnect(B)
    assert harness.pushes(B) == [ONION]


def test_a_crash_does_not_ring_again() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.sleep(5)
    for _ in range(5):
        harness.restart()
    assert len(harness.pushes(B)) == 1
    assert times(harness, 60) == [55]


def test_without_a_node_nobody_knows_who_is_away() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.effects.clear()
    harness.detach()
    harness.sleep(3600)
    assert harness.did(Notify) == []


# --- who is a client ---


def test_without_a_webhook_nobody_is_notified_and_nothing_kept() -> None:
    harness = LspHarness()
    harness.feed(WebhookRemoved(B, "phone"))
    harness.disconnect(B)
    send(harness, 1)
    assert harness.did(Notify) == []


def test_with_the_last_webhook_its_calls_are_forgotten() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.feed(WebhookRemoved(B, "phone"))
    assert not [kind for kind, _ in harness.stored if kind is PushAttempt]


def test_one_of_two_webhooks_is_enough() -> None:
    harness = LspHarness()
    harness.feed(WebhookSet(B, "tablet", "https://push.example/y"))
    harness.feed(WebhookRemoved(B, "phone"))
    harness.disconnect(B)
    send(harness, 1)
    assert harness.pushes(B) == [ONION]


@pytest.mark.parametrize(("seconds", "there"), [(-1, True), (0, False)])
def test_webhooks_lapse_a_week_after_the_last_channel(seconds: int, there: bool) -> None:
    harness = LspHarness()
    for _ in range(30):
        harness.sleep(86_400)
        harness.mine()
    for channel in (CHANNEL_A, CHANNEL_A2):
        harness.close_channel(channel)
    harness.sleep(KEPT_WITHOUT_CHANNEL_SECONDS + seconds)
    harness.mine()
    assert ((Webhook, (A, "phone")) in harness.stored) is there
    assert (Webhook, (B, "phone")) in harness.stored
