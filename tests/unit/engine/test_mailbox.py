"""Onion messages for clients that are away."""

from typing import Any

import pytest

from asyncpay.engine.lsp.effects import Deliver, SendToClient
from asyncpay.engine.lsp.events import Delivery, DeliveryReported, WebhookSet
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Delivered, StoredMessage
from asyncpay.node_events import OnionInTransit
from asyncpay.wire.messages import BlockState, BlockUpdate
from asyncpay.wire.onion import OnionMessage

from .given import ROUTER, STRANGER, A, B, cln, node_id
from .world import World

ONION = "lsps5.onion_message_incoming"
DAY = 86_400


def onion(number: int, size: int = 1366) -> OnionMessage:
    return OnionMessage(B, number.to_bytes(4, "big") + bytes(size - 4))


def send(world: World, number: int, to: bytes = B, source: bytes = ROUTER, **changes: Any) -> list[Any]:
    undelivered = changes.pop("undelivered", False)
    return world.feed(
        OnionInTransit(source=source, message=onion(number, **changes), next_node_id=to, undelivered=undelivered)
    )


def kept(world: World, client: bytes = B) -> list[int]:
    messages = sorted(
        (record for (kind, _), record in world.stored.items() if kind is StoredMessage and record.client == client),
        key=lambda message: message.number,
    )
    return [int.from_bytes(message.message.packet[:4], "big") for message in messages]


def got(world: World) -> list[int]:
    return [int.from_bytes(effect.message.packet[:4], "big") for effect in world.did(Deliver)]


def test_kept_notified_delivered_in_order_and_dropped() -> None:
    world = World()
    world.disconnect(B)
    for number in range(5):
        send(world, number)
    assert kept(world) == [0, 1, 2, 3, 4]
    assert world.pushes(B) == [ONION]
    world.connect(B)
    world.sleep(10)
    assert got(world) == [0, 1, 2, 3, 4]
    assert kept(world) == []


def test_the_order_survives_a_crash() -> None:
    world = World()
    world.disconnect(B)
    for number in (3, 1, 2):
        send(world, number)
    world.restart()
    send(world, 0)
    world.restart()
    world.connect(B)
    world.sleep(10)
    assert got(world) == [3, 1, 2, 0]


def test_no_faster_than_a_cln_client_can_take_them() -> None:
    world = World(policy=LspPolicy(pace_seconds=0.3))
    world.disconnect(B)
    for number in range(4):
        send(world, number)
    world.connect(B)
    assert got(world) == [0]
    world.sleep(0.29)
    assert got(world) == [0]
    world.sleep(0.01)
    assert got(world) == [0, 1]


def test_what_the_node_forwards_itself_is_not_kept() -> None:
    world = World()
    send(world, 1)
    assert kept(world) == []
    assert world.did(Deliver) == []


@pytest.mark.parametrize("destination", [ROUTER, STRANGER])
def test_nobody_but_a_client_has_a_mailbox(destination: bytes) -> None:
    world = World()
    world.disconnect(ROUTER)
    send(world, 1, to=destination, undelivered=True)
    assert kept(world, destination) == []


def test_what_cln_could_not_forward_is_kept_although_the_client_seems_to_be_there() -> None:
    world = World(cln())
    world.deliveries_work = False
    send(world, 1, undelivered=True)
    assert kept(world) == [1]
    world.deliveries_work = True
    world.sleep(5)
    assert got(world)[-1] == 1
    assert kept(world) == []


def test_a_client_that_only_seems_to_be_there_does_not_make_it_spin() -> None:
    world = World(cln())
    world.feed(DeliveryReported(B, b"", Delivery.DONE))
    for _ in range(50):  # CLN takes every injection, then reports that it could not forward it
        send(world, 1, undelivered=True)
        world.sleep(0.1)
    assert len(got(world)) <= 3


def test_one_delivery_at_a_time() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    send(world, 2)
    world.deliveries_hang = True
    world.connect(B)
    for _ in range(10):
        world.pay(payment_hash=b"u" * 32)
        world.sleep(1)
        world.feed(WebhookSet(B, "phone", "https://push.example/z"))
        send(world, 3, to=A, undelivered=True)
    assert got(world).count(1) == 1
    assert 2 not in got(world)


def test_a_failed_delivery_is_tried_again_and_loses_nothing() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.deliveries_work = False
    world.connect(B)
    world.sleep(60)
    assert kept(world) == [1]
    assert 2 <= len(got(world)) <= 13
    world.deliveries_work = True
    world.sleep(5)
    assert kept(world) == []


def test_a_message_that_cannot_be_delivered_at_all_does_not_block_the_others() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    send(world, 2)
    world.deliveries_work = False
    world.connect(B)
    (first,) = world.did(Deliver)
    world.feed(DeliveryReported(B, first.message_id, Delivery.IMPOSSIBLE))
    assert kept(world) == [2]


def test_50_messages_a_client_and_the_oldest_of_the_greediest_source_goes() -> None:
    world = World()
    world.disconnect(B)
    send(world, 0, source=A)
    for number in range(1, 50):
        send(world, number)
    assert len(kept(world)) == 50
    send(world, 50, source=A)
    assert kept(world) == [0, *range(2, 51)]


def test_one_source_cannot_push_out_another() -> None:
    world = World(policy=LspPolicy(mailbox_messages=10))
    world.disconnect(B)
    send(world, 0, source=A)
    for number in range(1, 500):
        send(world, number)
    assert kept(world) == [0, *range(491, 500)]


@pytest.mark.parametrize(("connections", "size"), [(50, 1366), (4, 32_834)])
def test_peers_without_a_channel_share_one_part_of_a_mailbox(connections: int, size: int) -> None:
    """Connections cost nothing: however many somebody makes, a message that came over a channel stays."""
    world = World(cln())
    world.disconnect(B)
    send(world, 0, source=ROUTER)
    for number in range(connections):
        send(world, 100 + number, source=node_id(f"connection {number}"), size=size)
    assert kept(world)[0] == 0
    assert kept(world)[-1] == 100 + connections - 1, "strangers have what room is left"


@pytest.mark.parametrize(("limit", "left"), [(100_000, [0, 2, 3, 4]), (99_999, [0, 3, 4])])
def test_100_kilobytes_a_client(limit: int, left: list[int]) -> None:
    world = World(policy=LspPolicy(mailbox_bytes=limit))
    world.disconnect(B)
    send(world, 0, source=A)
    for number in range(1, 5):
        send(world, number, size=32_834)
    assert kept(world) == left  # 1399 and three times 32867 bytes


def test_a_mailbox_of_one_client_does_not_touch_anothers() -> None:
    world = World(policy=LspPolicy(mailbox_messages=2))
    for client in (A, B):
        world.disconnect(client)
    send(world, 0, to=A)
    for number in range(5):
        send(world, number, to=B)
    assert kept(world, A) == [0]


def test_14_days() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.sleep(14 * DAY - 1)
    assert kept(world) == [1]
    world.sleep(1)
    assert kept(world) == []


def test_the_same_message_is_kept_once() -> None:
    world = World()
    world.disconnect(B)
    for _ in range(3):
        send(world, 1)
    assert kept(world) == [1]


def deliver(world: World, number: int) -> None:
    world.disconnect(B)
    send(world, number)
    world.connect(B)
    assert kept(world) == []
    world.disconnect(B)
    world.effects.clear()


def test_a_repetition_after_delivery_is_kept_again_and_notified_hourly_at_most() -> None:
    """Its client may have lost it, and sleeps now: as long as it is repeated, it is called again every hour."""
    world = World()
    deliver(world, 1)
    world.sleep(600)
    send(world, 1)
    assert kept(world) == [1]
    assert world.pushes(B) == []
    world.sleep(2999)
    send(world, 1)
    assert world.pushes(B) == []
    world.sleep(1)
    send(world, 1)
    send(world, 1)
    assert world.pushes(B) == [ONION]
    deliver(world, 1)
    send(world, 1)
    assert world.pushes(B) == []


def test_a_repetition_of_what_was_never_delivered_is_nothing_new() -> None:
    world = World()
    world.disconnect(B)
    send(world, 1)
    world.sleep(3 * 3600)
    called = len(world.pushes(B))
    send(world, 1)
    world.sleep(3600)
    assert len(world.pushes(B)) == called


def test_a_delivered_message_is_new_again_after_a_day() -> None:
    world = World()
    deliver(world, 1)
    world.sleep(DAY - 1)
    assert [kind for kind, _ in world.stored if kind is Delivered]
    world.sleep(1)
    assert not [kind for kind, _ in world.stored if kind is Delivered]


def test_memories_of_delivered_messages_are_limited() -> None:
    world = World(policy=LspPolicy(max_delivered=3))
    for number in range(6):
        deliver(world, number)
    assert sum(kind is Delivered for kind, _ in world.stored) == 3


# --- block_update ---


def test_a_block_update_is_never_mailboxed_and_the_state_is_told_when_the_payer_connects() -> None:
    world = World()
    world.block()
    world.disconnect(A)
    world.pay()
    assert not [effect for effect in world.did(SendToClient) if isinstance(effect.message, BlockUpdate)]
    assert kept(world, A) == []
    world.connect(A)
    assert world.updates() == [(BlockState.HELD, 1)]


def test_each_block_is_told_and_finished_ones_until_the_payer_knows() -> None:
    world = World()
    hashes = [bytes([number]) * 32 for number in range(3)]
    for each in hashes:
        world.block(unblock_hash=each, payment_hashes=(each,))
        world.pay(payment_hash=each)
    world.disconnect(A)
    world.sleep(86_401)
    world.effects.clear()
    for _ in range(3):
        world.connect(A)
        world.sleep(5)
        world.disconnect(A)
    assert world.updates() == [(BlockState.FAILED_BACK, 1)] * 3
