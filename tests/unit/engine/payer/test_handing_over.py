"""The payee is told when every part is held, and only then."""

import pytest

from asyncpay.engine.payer.effects import LookUp, SendPending
from asyncpay.engine.payer.events import PaymentSeen
from asyncpay.engine.payer.stages import Stage
from asyncpay.lightning import PaymentResult
from asyncpay.wire.messages import BlockState, Courier

from .given import AMOUNT, HASH, HEIGHT, IN_FLIGHT, LSP, START, order
from .world import World

COURIER = Courier(path_key=LSP, onion=bytes(1366))


def paying(courier: Courier | None = COURIER) -> World:
    world = World()
    world.mute = True
    world.order(courier=courier)
    world.lsp_accepts()
    return world


def test_handed_over() -> None:
    world = World(parts=(600, 400))
    world.order()
    assert world.stage is Stage.HANDED_OVER
    assert world.did(SendPending) == [SendPending(HASH, order().lsp, order().pending)]
    assert (world.payment.told, world.payment.told_parts) == (BlockState.HELD, 2)


@pytest.mark.parametrize(
    ("told", "parts", "held"),
    [
        (1, (AMOUNT,), True),
        (2, (600, 400), True),
        (2, (600, 500), True),
        (2, (AMOUNT,), False),  # the LSP has one more than the node
        (1, (600, 400), False),  # the node has one that the LSP has not
        (2, (600, 399), False),  # an attempt has failed, and is not made up for
        (0, (), False),
    ],
)
def test_it_takes_two_witnesses(told: int, parts: tuple[int, ...], held: bool) -> None:
    world = paying()
    world.node[HASH].parts = list(parts)
    world.update(BlockState.HELD, told)
    assert world.stage is (Stage.HANDED_OVER if held else Stage.PAYING)
    assert len(world.did(SendPending)) == held


def test_an_update_with_another_count_is_looked_into_again() -> None:
    world = paying()
    world.update(BlockState.HELD, 2)
    assert world.stage is Stage.PAYING
    world.update(BlockState.HELD, 1)
    assert world.stage is Stage.HANDED_OVER


def test_a_lost_update_is_told_again_after_a_while() -> None:
    world = paying()
    world.mute = False
    world.sleep(9)
    assert world.stage is Stage.PAYING
    world.sleep(1)
    assert world.stage is Stage.HANDED_OVER


def test_what_the_node_saw_before_the_lsp_spoke_proves_nothing() -> None:
    world = paying()
    seen = PaymentResult(status=IN_FLIGHT, parts_in_flight=1, in_flight_msat=AMOUNT)
    world.feed(PaymentSeen(HASH, seen))
    assert world.stage is Stage.PAYING
    world.update(BlockState.FAILED_BACK)
    world.feed(PaymentSeen(HASH, seen))
    assert world.stage is Stage.PAYING
    assert world.did(SendPending) == []


def test_a_cancelled_payment_is_not_handed_over() -> None:
    world = paying()
    world.deaf = True
    world.cancel()
    world.update(BlockState.HELD)
    assert world.did(LookUp) == []
    world.feed(PaymentSeen(HASH, world.node[HASH].result()))
    assert world.stage is Stage.PAYING


def held_but_not_sent(courier: Courier | None = COURIER) -> World:
    world = paying(courier)
    world.disconnect()
    world.update(BlockState.HELD)
    assert world.stage is Stage.HELD
    assert world.pending_left == 0
    return world


def test_the_message_is_sent_again_until_it_has_left() -> None:
    world = held_but_not_sent()
    world.sleep(30)
    assert len(world.did(SendPending)) == 4
    assert world.stage is Stage.HELD
    world.online = True  # the engine has not heard of it
    world.sleep(10)
    assert world.stage is Stage.HANDED_OVER
    world.sleep(1000)
    assert world.pending_left == 1


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_a_new_connection_is_used_at_once(how: str) -> None:
    world = held_but_not_sent()
    match how:
        case "connection":
            world.connect()
        case "node":
            world.detach()
            world.online = True
            world.attach()
        case "wallet":
            world.online = True
            world.restart()
    assert world.stage is Stage.HANDED_OVER


def test_while_the_node_is_away_nothing_is_sent() -> None:
    world = held_but_not_sent()
    world.detach()
    sent = len(world.did(SendPending))
    world.sleep(1000)
    assert len(world.did(SendPending)) == sent


@pytest.mark.parametrize("state", [BlockState.FAILED_BACK, BlockState.RELEASED])
def test_a_block_that_is_over_is_not_announced_any_more(state: BlockState) -> None:
    world = held_but_not_sent()
    world.update(state)
    world.online = True
    world.sleep(1000)
    assert world.pending_left == 0


def test_a_payment_that_is_cancelled_is_not_announced_any_more() -> None:
    world = held_but_not_sent()
    world.deaf = True
    world.cancel()
    world.connect()
    world.sleep(1000)
    assert world.stage is Stage.HELD
    assert world.pending_left == 0


def test_what_the_lsp_said_last_is_not_undone_by_what_it_said_before() -> None:
    world = paying()
    world.update(BlockState.FAILED_BACK)
    world.update(BlockState.HELD)
    assert world.payment.told is BlockState.FAILED_BACK
    assert world.stage is Stage.PAYING
    world = paying()
    world.update(BlockState.RELEASED)
    world.update(BlockState.HELD)
    assert world.payment.told is BlockState.RELEASED
    world.update(BlockState.SETTLED)
    world.update(BlockState.FAILED_BACK)
    assert world.payment.told is BlockState.SETTLED


def test_the_message_leaving_is_told_though_the_payment_ended_first() -> None:
    world = held_but_not_sent()
    world.node_fails("expired")
    world.run()
    world.connect()
    assert world.stage is Stage.FAILED
    assert world.pending_left == 0


# --- an LSP without a courier: the wallet repeats the message itself, while it is there ---


def handed_over_without_courier() -> World:
    world = paying(courier=None)
    world.update(BlockState.HELD)
    assert (world.stage, world.pending_left) == (Stage.HANDED_OVER, 1)
    return world


def times_sent(world: World, seconds: int) -> list[int]:
    """At which of the coming seconds the message leaves again."""
    times = []
    for second in range(1, seconds + 1):
        before = world.pending_left
        world.sleep(1)
        times += [second] * (world.pending_left - before)
    return times


def test_without_a_courier_the_message_is_repeated_ever_more_rarely_with_the_same_bytes() -> None:
    world = handed_over_without_courier()
    assert times_sent(world, 160) == [10, 30, 70, 150]
    world.sleep(86_000)
    assert world.pending_left <= 8 + 86_000 // 600
    assert set(world.did(SendPending)) == {SendPending(HASH, LSP, order().pending)}
    assert world.stage is Stage.HANDED_OVER


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_without_a_courier_it_is_repeated_at_once_when_the_phone_is_back(how: str) -> None:
    world = handed_over_without_courier()
    world.sleep(200)
    sent = world.pending_left
    match how:
        case "connection":
            world.disconnect()
            world.connect()
        case "node":
            world.detach()
            world.attach()
        case "wallet":
            world.restart()
    assert world.pending_left == sent + 1
    assert times_sent(world, 40) == [20]


@pytest.mark.parametrize("end", ["released", "returned", "paid", "cancelled", "hold_until", "height", "node away"])
def test_without_a_courier_it_is_not_repeated_for_nothing(end: str) -> None:
    world = handed_over_without_courier()
    match end:
        case "released":
            world.update(BlockState.RELEASED)
        case "returned":
            world.update(BlockState.FAILED_BACK)
        case "paid":
            world.node_succeeds()
            world.run()
        case "cancelled":
            world.deaf = True
            world.cancel()
        case "hold_until":
            world.over = True  # the LSP says nothing
            world.sleep(START + 86_401 - world.now)
        case "height":
            world.over = True
            world.mine(HEIGHT + 433 - world.height)
        case "node away":
            world.detach()
    sent = len(world.did(SendPending))
    world.sleep(3600)
    assert len(world.did(SendPending)) == sent


def test_with_a_courier_it_is_not_repeated_either_when_the_phone_is_back() -> None:
    world = held_but_not_sent()
    world.connect()
    assert (world.stage, world.pending_left) == (Stage.HANDED_OVER, 1)
    world.restart()
    world.disconnect()
    world.connect()
    world.sleep(3600)
    assert world.pending_left == 1
