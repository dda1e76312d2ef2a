"""The payee is told when every part is held, and only then."""

import pytest

from asyncpay.engine.payer.interface import LookUp, PaymentSeen, SendPending
from asyncpay.engine.payer.states import State
from asyncpay.lightning import PaymentResult
from asyncpay.wire.messages import BlockState, Courier

from .factories import AMOUNT, HASH, HEIGHT, IN_FLIGHT, LSP, START, order
from .harness import PayerHarness

COURIER = Courier(path_key=LSP, onion=bytes(1366))


def paying(courier: Courier | None = COURIER) -> PayerHarness:
    harness = PayerHarness()
    harness.blackhole_from_lsp = True
    harness.order(courier=courier)
    harness.lsp_accepts()
    return harness


def test_handed_over() -> None:
    harness = PayerHarness(parts=(600, 400))
    harness.order()
    assert harness.state is State.HANDED_OVER
    assert harness.did(SendPending) == [SendPending(HASH, order().lsp, order().pending)]
    assert (harness.payment.told, harness.payment.told_parts) == (BlockState.HELD, 2)


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
    harness = paying()
    harness.node[HASH].parts = list(parts)
    harness.update(BlockState.HELD, told)
    assert harness.state is (State.HANDED_OVER if held else State.PAYING)
    assert len(harness.did(SendPending)) == held


def test_an_update_with_another_count_is_looked_into_again() -> None:
    harness = paying()
    harness.update(BlockState.HELD, 2)
    assert harness.state is State.PAYING
    harness.update(BlockState.HELD, 1)
    assert harness.state is State.HANDED_OVER


def test_a_lost_update_is_told_again_after_a_while() -> None:
    harness = paying()
    harness.blackhole_from_lsp = False
    harness.sleep(9)
    assert harness.state is State.PAYING
    harness.sleep(1)
    assert harness.state is State.HANDED_OVER


def test_what_the_node_saw_before_the_lsp_spoke_proves_nothing() -> None:
    harness = paying()
    seen = PaymentResult(status=IN_FLIGHT, parts_in_flight=1, in_flight_msat=AMOUNT)
    harness.feed(PaymentSeen(HASH, seen))
    assert harness.state is State.PAYING
    harness.update(BlockState.FAILED_BACK)
    harness.feed(PaymentSeen(HASH, seen))
    assert harness.state is State.PAYING
    assert harness.did(SendPending) == []


def test_a_cancelled_payment_is_not_handed_over() -> None:
    harness = paying()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.update(BlockState.HELD)
    assert harness.did(LookUp) == []
    harness.feed(PaymentSeen(HASH, harness.node[HASH].result()))
    assert harness.state is State.PAYING


def held_but_not_sent(courier: Courier | None = COURIER) -> PayerHarness:
    harness = paying(courier)
    harness.disconnect()
    harness.update(BlockState.HELD)
    assert harness.state is State.HELD
    assert harness.pending_left == 0
    return harness


def test_the_message_is_sent_again_until_it_has_left() -> None:
    harness = held_but_not_sent()
    harness.sleep(30)
    assert len(harness.did(SendPending)) == 4
    assert harness.state is State.HELD
    harness.online = True  # the engine has not heard of it
    harness.sleep(10)
    assert harness.state is State.HANDED_OVER
    harness.sleep(1000)
    assert harness.pending_left == 1


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_a_new_connection_is_used_at_once(how: str) -> None:
    harness = held_but_not_sent()
    match how:
        case "connection":
            harness.connect()
        case "node":
            harness.detach()
            harness.online = True
            harness.attach()
        case "wallet":
            harness.online = True
            harness.restart()
    assert harness.state is State.HANDED_OVER


def test_while_the_node_is_away_nothing_is_sent() -> None:
    harness = held_but_not_sent()
    harness.detach()
    sent = len(harness.did(SendPending))
    harness.sleep(1000)
    assert len(harness.did(SendPending)) == sent


@pytest.mark.parametrize("state", [BlockState.FAILED_BACK, BlockState.RELEASED])
def test_a_block_that_is_over_is_not_announced_any_more(state: BlockState) -> None:
    harness = held_but_not_sent()
    harness.update(state)
    harness.online = True
    harness.sleep(1000)
    assert harness.pending_left == 0


def test_a_payment_that_is_cancelled_is_not_announced_any_more() -> None:
    harness = held_but_not_sent()
    harness.blackhole_to_lsp = True
    harness.cancel()
    harness.connect()
    harness.sleep(1000)
    assert harness.state is State.HELD
    assert harness.pending_left == 0


def test_what_the_lsp_said_last_is_not_undone_by_what_it_said_before() -> None:
    harness = paying()
    harness.update(BlockState.FAILED_BACK)
    harness.update(BlockState.HELD)
    assert harness.payment.told is BlockState.FAILED_BACK
    assert harness.state is State.PAYING
    harness = paying()
    harness.update(BlockState.RELEASED)
    harness.update(BlockState.HELD)
    assert harness.payment.told is BlockState.RELEASED
    harness.update(BlockState.SETTLED)
    harness.update(BlockState.FAILED_BACK)
    assert harness.payment.told is BlockState.SETTLED


def test_the_message_leaving_is_told_though_the_payment_ended_first() -> None:
    harness = held_but_not_sent()
    harness.node_fails("expired")
    harness.run()
    harness.connect()
    assert harness.state is State.FAILED
    assert harness.pending_left == 0


# --- an LSP without a courier: the wallet repeats the message itself, while it is there ---


def handed_over_without_courier() -> PayerHarness:
    harness = paying(courier=None)
    harness.update(BlockState.HELD)
    assert (harness.state, harness.pending_left) == (State.HANDED_OVER, 1)
    return harness


def times_sent(harness: PayerHarness, seconds: int) -> list[int]:
    """At which of the coming seconds the message leaves again."""
    times = []
    for second in range(1, seconds + 1):
        before = harness.pending_left
        harness.sleep(1)
        times += [second] * (harness.pending_left - before)
    return times


def test_without_a_courier_the_message_is_repeated_ever_more_rarely_with_the_same_bytes() -> None:
    harness = handed_over_without_courier()
    assert times_sent(harness, 160) == [10, 30, 70, 150]
    harness.sleep(86_000)
    assert harness.pending_left <= 8 + 86_000 // 600
    assert set(harness.did(SendPending)) == {SendPending(HASH, LSP, order().pending)}
    assert harness.state is State.HANDED_OVER


@pytest.mark.parametrize("how", ["connection", "node", "wallet"])
def test_without_a_courier_it_is_repeated_at_once_when_the_phone_is_back(how: str) -> None:
    harness = handed_over_without_courier()
    harness.sleep(200)
    sent = harness.pending_left
    match how:
        case "connection":
            harness.disconnect()
            harness.connect()
        case "node":
            harness.detach()
            harness.attach()
        case "wallet":
            harness.restart()
    assert harness.pending_left == sent + 1
    assert times_sent(harness, 40) == [20]


@pytest.mark.parametrize("end", ["released", "returned", "paid", "cancelled", "hold_until", "height", "node away"])
def test_without_a_courier_it_is_not_repeated_for_nothing(end: str) -> None:
    harness = handed_over_without_courier()
    match end:
        case "released":
            harness.update(BlockState.RELEASED)
        case "returned":
            harness.update(BlockState.FAILED_BACK)
        case "paid":
            harness.node_succeeds()
            harness.run()
        case "cancelled":
            harness.blackhole_to_lsp = True
            harness.cancel()
        case "hold_until":
            harness.over = True  # the LSP says nothing
            harness.sleep(START + 86_401 - harness.now)
        case "height":
            harness.over = True
            harness.mine(HEIGHT + 433 - harness.height)
        case "node away":
            harness.detach()
    sent = len(harness.did(SendPending))
    harness.sleep(3600)
    assert len(harness.did(SendPending)) == sent


def test_with_a_courier_it_is_not_repeated_either_when_the_phone_is_back() -> None:
    harness = held_but_not_sent()
    harness.connect()
    assert (harness.state, harness.pending_left) == (State.HANDED_OVER, 1)
    harness.restart()
    harness.disconnect()
    harness.connect()
    harness.sleep(3600)
    assert harness.pending_left == 1
