"""Onion messages for clients that are away."""

from typing import Any

import pytest

from asyncpay.engine.lsp.interface import Deliver, Delivery, DeliveryReported, SendToClient, WebhookSet
from asyncpay.engine.lsp.records import Delivered, StoredMessage
from asyncpay.engine.policy import LspPolicy
from asyncpay.node_events import OnionInTransit
from asyncpay.wire.messages import BlockState, BlockUpdate
from asyncpay.wire.onion import OnionMessage
from tests.support.keys import node_id

from .factories import ROUTER, STRANGER, A, B, cln
from .harness import LspHarness

ONION = "lsps5.onion_message_incoming"
DAY = 86_400


def onion(number: int, size: int = 1366) -> OnionMessage:
    return OnionMessage(B, number.to_bytes(4, "big") + bytes(size - 4))


def send(harness: LspHarness, number: int, to: bytes = B, source: bytes = ROUTER, **changes: Any) -> list[Any]:
    undelivered = changes.pop("undelivered", False)
    return harness.feed(
        OnionInTransit(source=source, message=onion(number, **changes), next_node_id=to, undelivered=undelivered)
    )


def kept(harness: LspHarness, client: bytes = B) -> list[int]:
    messages = [record for record in harness.stored.values() if isinstance(record, StoredMessage)]
    messages = sorted((each for each in messages if each.client == client), key=lambda message: message.number)
    return [int.from_bytes(message.message.packet[:4], "big") for message in messages]


def got(harness: LspHarness) -> list[int]:
    return [int.from_bytes(effect.message.packet[:4], "big") for effect in harness.did(Deliver)]


def test_kept_notified_delivered_in_order_and_dropped() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    for number in range(5):
        send(harness, number)
    assert kept(harness) == [0, 1, 2, 3, 4]
    assert harness.pushes(B) == [ONION]
    harness.connect(B)
    harness.sleep(10)
    assert got(harness) == [0, 1, 2, 3, 4]
    assert kept(harness) == []


def test_the_order_survives_a_crash() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    for number in (3, 1, 2):
        send(harness, number)
    harness.restart()
    send(harness, 0)
    harness.restart()
    harness.connect(B)
    harness.sleep(10)
    assert got(harness) == [3, 1, 2, 0]


def test_no_faster_than_a_cln_client_can_take_them() -> None:
    harness = LspHarness(policy=LspPolicy(pace_seconds=0.3))
    harness.disconnect(B)
    for number in range(4):
        send(harness, number)
    harness.connect(B)
    assert got(harness) == [0]
    harness.sleep(0.29)
    assert got(harness) == [0]
    harness.sleep(0.01)
    assert got(harness) == [0, 1]


def test_what_the_node_forwards_itself_is_not_kept() -> None:
    harness = LspHarness()
    send(harness, 1)
    assert kept(harness) == []
    assert harness.did(Deliver) == []


@pytest.mark.parametrize("destination", [ROUTER, STRANGER])
def test_nobody_but_a_client_has_a_mailbox(destination: bytes) -> None:
    harness = LspHarness()
    harness.disconnect(ROUTER)
    send(harness, 1, to=destination, undelivered=True)
    assert kept(harness, destination) == []


def test_what_cln_could_not_forward_is_kept_although_the_client_seems_to_be_there() -> None:
    harness = LspHarness(cln())
    harness.deliveries_work = False
    send(harness, 1, undelivered=True)
    assert kept(harness) == [1]
    harness.deliveries_work = True
    harness.sleep(5)
    assert got(harness)[-1] == 1
    assert kept(harness) == []


def test_a_client_that_only_seems_to_be_there_does_not_make_it_spin() -> None:
    harness = LspHarness(cln())
    harness.feed(DeliveryReported(B, b"", Delivery.DONE))
    for _ in range(50):  # CLN takes every injection, then reports that it could not forward it
        send(harness, 1, undelivered=True)
        harness.sleep(0.1)
    assert len(got(harness)) <= 3


def test_one_delivery_at_a_time() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    send(harness, 2)
    harness.deliveries_hang = True
    harness.connect(B)
    for _ in range(10):
        harness.pay(payment_hash=b"u" * 32)
        harness.sleep(1)
        harness.feed(WebhookSet(B, "phone", "https://push.example/z"))
        send(harness, 3, to=A, undelivered=True)
    assert got(harness).count(1) == 1
    assert 2 not in got(harness)


def test_a_failed_delivery_is_tried_again_and_loses_nothing() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.deliveries_work = False
    harness.connect(B)
    harness.sleep(60)
    assert kept(harness) == [1]
    assert 2 <= len(got(harness)) <= 13
    harness.deliveries_work = True
    harness.sleep(5)
    assert kept(harness) == []


def test_a_message_that_cannot_be_delivered_at_all_does_not_block_the_others() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    send(harness, 2)
    harness.deliveries_work = False
    harness.connect(B)
    (first,) = harness.did(Deliver)
    harness.feed(DeliveryReported(B, first.message_id, Delivery.IMPOSSIBLE))
    assert kept(harness) == [2]


def test_50_messages_a_client_and_the_oldest_of_the_greediest_source_goes() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 0, source=A)
    for number in range(1, 50):
        send(harness, number)
    assert len(kept(harness)) == 50
    send(harness, 50, source=A)
    assert kept(harness) == [0, *range(2, 51)]


def test_one_source_cannot_push_out_another() -> None:
    harness = LspHarness(policy=LspPolicy(mailbox_messages=10))
    harness.disconnect(B)
    send(harness, 0, source=A)
    for number in range(1, 500):
        send(harness, number)
    assert kept(harness) == [0, *range(491, 500)]


@pytest.mark.parametrize(("connections", "size"), [(50, 1366), (4, 32_834)])
def test_peers_without_a_channel_share_one_part_of_a_mailbox(connections: int, size: int) -> None:
    """Connections cost nothing: however many somebody makes, a message that came over a channel stays."""
    harness = LspHarness(cln())
    harness.disconnect(B)
    send(harness, 0, source=ROUTER)
    for number in range(connections):
        send(harness, 100 + number, source=node_id(f"connection {number}"), size=size)
    assert kept(harness)[0] == 0
    assert kept(harness)[-1] == 100 + connections - 1, "strangers have what room is left"


@pytest.mark.parametrize(("limit", "left"), [(100_000, [0, 2, 3, 4]), (99_999, [0, 3, 4])])
def test_100_kilobytes_a_client(limit: int, left: list[int]) -> None:
    harness = LspHarness(policy=LspPolicy(mailbox_bytes=limit))
    harness.disconnect(B)
    send(harness, 0, source=A)
    for number in range(1, 5):
        send(harness, number, size=32_834)
    assert kept(harness) == left  # 1399 and three times 32867 bytes


def test_a_mailbox_of_one_client_does_not_touch_anothers() -> None:
    harness = LspHarness(policy=LspPolicy(mailbox_messages=2))
    for client in (A, B):
        harness.disconnect(client)
    send(harness, 0, to=A)
    for number in range(5):
        send(harness, number, to=B)
    assert kept(harness, A) == [0]


def test_14_days() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.sleep(14 * DAY - 1)
    assert kept(harness) == [1]
    harness.sleep(1)
    assert kept(harness) == []


def test_the_same_message_is_kept_once() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    for _ in range(3):
        send(harness, 1)
    assert kept(harness) == [1]


def deliver(harness: LspHarness, number: int) -> None:
    harness.disconnect(B)
    send(harness, number)
    harness.connect(B)
    assert kept(harness) == []
    harness.disconnect(B)
    harness.effects.clear()


def test_a_repetition_after_delivery_is_kept_again_and_notified_hourly_at_most() -> None:
    """Its client may have lost it, and sleeps now: as long as it is repeated, it is called again every hour."""
    harness = LspHarness()
    deliver(harness, 1)
    harness.sleep(600)
    send(harness, 1)
    assert kept(harness) == [1]
    assert harness.pushes(B) == []
    harness.sleep(2999)
    send(harness, 1)
    assert harness.pushes(B) == []
    harness.sleep(1)
    send(harness, 1)
    send(harness, 1)
    assert harness.pushes(B) == [ONION]
    deliver(harness, 1)
    send(harness, 1)
    assert harness.pushes(B) == []


def test_a_repetition_of_what_was_never_delivered_is_nothing_new() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    send(harness, 1)
    harness.sleep(3 * 3600)
    called = len(harness.pushes(B))
    send(harness, 1)
    harness.sleep(3600)
    assert len(harness.pushes(B)) == called


def test_a_delivered_message_is_new_again_after_a_day() -> None:
    harness = LspHarness()
    deliver(harness, 1)
    harness.sleep(DAY - 1)
    assert [kind for kind, _ in harness.stored if kind is Delivered]
    harness.sleep(1)
    assert not [kind for kind, _ in harness.stored if kind is Delivered]


def test_memories_of_delivered_messages_are_limited() -> None:
    harness = LspHarness(policy=LspPolicy(max_delivered=3))
    for number in range(6):
        deliver(harness, number)
    assert sum(kind is Delivered for kind, _ in harness.stored) == 3


# --- block_update ---


def test_a_block_update_is_never_mailboxed_and_the_state_is_told_when_the_payer_connects() -> None:
    harness = LspHarness()
    harness.block()
    harness.disconnect(A)
    harness.pay()
    assert not [effect for effect in harness.did(SendToClient) if isinstance(effect.message, BlockUpdate)]
    assert kept(harness, A) == []
    harness.connect(A)
    assert harness.updates() == [(BlockState.HELD, 1)]


def test_each_block_is_told_and_finished_ones_until_the_payer_knows() -> None:
    harness = LspHarness()
    hashes = [bytes([number]) * 32 for number in range(3)]
    for each in hashes:
        harness.block(unblock_hash=each, payment_hashes=(each,))
        harness.pay(payment_hash=each)
    harness.disconnect(A)
    harness.sleep(86_401)
    harness.effects.clear()
    for _ in range(3):
        harness.connect(A)
        harness.sleep(5)
        harness.disconnect(A)
    assert harness.updates() == [(BlockState.FAILED_BACK, 1)] * 3
