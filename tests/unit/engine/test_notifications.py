"""Notifications: the five reasons, the cooldown, the tries, and the peace of those who are there."""

from itertools import pairwise

import pytest

from asyncpay.engine.lsp.effects import Notify
from asyncpay.engine.lsp.events import WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.notifications import KEPT_WITHOUT_CHANNEL_SECONDS
from asyncpay.engine.lsp.records import PushAttempt, Webhook

from .given import CHANNEL_A, CHANNEL_A2, CHANNEL_B, HEIGHT, PREIMAGE, ROUTER, A, B
from .test_mailbox import ONION, send
from .world import World

SETTLEMENT = "async_payments.settlement_pending"
PAYMENT = "lsps5.payment_incoming"
EXPIRY = "lsps5.expiry_soon"


def times(world: World, seconds: int, client: bytes = B) -> list[float]:
    begin, found = world.now, []
    while world.now < begin + seconds:
        before = len(world.pushes(client))
        world.sleep(1)
        found += [world.now - begin] * (len(world.pushes(client)) - before)
    return found


# --- the five reasons ---


def test_1_an_onion_message_waits() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    assert world.pushes(B) == [ONION]


def test_2_a_preimage_or_a_failure_waits() -> None:
    for settled in (True, False):
        world = World()
        key = world.pay(outgoing_channel=CHANNEL_B)  # any payment of a client's, blocked or not
        world.disconnect(A)
        if settled:
            world.payee_settles(PREIMAGE)
        else:
            world.payee_fails(key)
        assert world.pushes(A) == [SETTLEMENT]


def test_2_also_when_it_was_missed_while_the_lsp_was_down() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    world.disconnect(A)
    world.restart()
    assert world.pushes(A) == []  # the payee has not taken it yet
    world.detach()
    world.payee_settles()
    world.restart()
    assert world.pushes(A) == [SETTLEMENT]


def test_2_also_when_it_left_before_its_failure_could_reach_it() -> None:
    world = World()
    world.block()
    key = world.pay()
    world._resolve = lambda each: None  # type: ignore[method-assign]
    world.cancel()
    assert world.pushes(A) == []
    world.disconnect(A)
    assert world.pushes(A) == [SETTLEMENT]
    assert key in world.htlcs


def test_3_an_htlc_waits() -> None:
    world = World()
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert world.pushes(B) == [PAYMENT]


def test_4_an_htlc_nears_its_expiry() -> None:
    world = World()
    world.pay(incoming_expiry=HEIGHT + 100)
    world.disconnect(A)
    world.mine_to(HEIGHT + 75)
    assert world.pushes(A) == []
    world.mine()
    assert world.did(Notify) == [Notify(A, world.did(Notify)[0].method, timeout=HEIGHT + 100)]
    assert world.pushes(A) == [EXPIRY]


def test_5_its_channel_is_needed_to_forward() -> None:
    world = World()
    world.block()
    world.pay()
    world.disconnect(A)
    world.release()
    assert world.pushes(A) == [SETTLEMENT]


# --- how often ---


def test_at_most_8_tries_with_doubling_distance() -> None:
    world = World()
    world.disconnect(B)
    world.effects.clear()
    send(world, 1)
    later = times(world, 4 * 3600)
    assert len(later) + 1 == 8
    assert [b - a for a, b in pairwise([0, *later])] == [60, 120, 240, 480, 960, 1920, 3840]


def test_something_new_rings_again_after_the_last_try() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.sleep(4 * 3600)
    assert len(world.pushes(B)) == 8
    send(world, 2)
    world.sleep(4 * 3600)
    assert len(world.pushes(B)) == 16


def test_what_failed_is_tried_again_sooner() -> None:
    world = World()
    world.pushes_work = False
    world.disconnect(B)
    send(world, 1)
    later = times(world, 3600)
    assert [b - a for a, b in pairwise([0, *later])] == [2, 4, 8, 16, 32, 64, 128]


def test_something_new_is_notified_but_not_within_the_cooldown() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.sleep(30)
    send(world, 2)
    assert len(world.pushes(B)) == 1
    assert times(world, 31)[0] == 30


def test_a_storm_of_messages_is_one_notification_a_cooldown() -> None:
    world = World()
    world.disconnect(B)
    for number in range(599):
        send(world, number)
        world.sleep(1)
    assert len(world.pushes(B)) == 10


def test_the_cooldown_outlives_its_reason() -> None:
    world = World()
    world.disconnect(B)
    for _ in range(3):
        world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
        world.sleep(45)
    assert times(world, 300) == []
    assert len(world.pushes(B)) <= 3


def test_methods_have_their_own_cooldowns() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert world.pushes(B) == [ONION, PAYMENT]


def test_connecting_ends_all_calls_and_cooldowns() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.connect(B)
    world.sleep(1)
    world.disconnect(B)
    assert times(world, 3600) == []
    send(world, 2)
    assert world.pushes(B) == [ONION, ONION]


def test_who_has_its_result_is_not_called_for_it() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    world.payee_settles()
    world.disconnect(A)
    world.sleep(3600)
    assert world.pushes(A) == []


def test_whoever_is_there_is_never_notified() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    world.payee_settles()
    send(world, 1, undelivered=True)
    world.mine_to(HEIGHT + 670)
    assert world.did(Notify) == []


def test_a_client_that_leaves_with_something_still_there_is_called() -> None:
    world = World()
    world.disconnect(B)
    for number in range(3):
        send(world, number)
    world.connect(B)
    world.effects.clear()
    world.disconnect(B)
    assert world.pushes(B) == [ONION]


def test_a_crash_does_not_ring_again() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.sleep(5)
    for _ in range(5):
        world.restart()
    assert len(world.pushes(B)) == 1
    assert times(world, 60) == [55]


def test_without_a_node_nobody_knows_who_is_away() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.effects.clear()
    world.detach()
    world.sleep(3600)
    assert world.did(Notify) == []


# --- who is a client ---


def test_without_a_webhook_nobody_is_notified_and_nothing_kept() -> None:
    world = World()
    world.feed(WebhookRemoved(B, "phone"))
    world.disconnect(B)
    send(world, 1)
    assert world.did(Notify) == []


def test_with_the_last_webhook_its_calls_are_forgotten() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.feed(WebhookRemoved(B, "phone"))
    assert not [kind for kind, _ in world.stored if kind is PushAttempt]


def test_one_of_two_webhooks_is_enough() -> None:
    world = World()
    world.feed(WebhookSet(B, "tablet", "https://push.example/y"))
    world.feed(WebhookRemoved(B, "phone"))
    world.disconnect(B)
    send(world, 1)
    assert world.pushes(B) == [ONION]


@pytest.mark.parametrize(("seconds", "there"), [(-1, True), (0, False)])
def test_webhooks_lapse_a_week_after_the_last_channel(seconds: int, there: bool) -> None:
    world = World()
    for _ in range(30):
        world.sleep(86_400)
        world.mine()
    for channel in (CHANNEL_A, CHANNEL_A2):
        world.close_channel(channel)
    world.sleep(KEPT_WITHOUT_CHANNEL_SECONDS + seconds)
    world.mine()
    assert ((Webhook, (A, "phone")) in world.stored) is there
    assert (Webhook, (B, "phone")) in world.stored
