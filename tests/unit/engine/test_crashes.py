"""Killed after any of its actions, the LSP ends where it would have ended undisturbed."""

from collections.abc import Callable

import pytest

from asyncpay.engine.lsp.effects import Deliver, Relay
from asyncpay.engine.lsp.records import StoredMessage
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capabilities
from asyncpay.wire.messages import BlockState

from .given import CHANNEL_A2, CHANNEL_B, PREIMAGE, ROUTER, A, B, cln, courier, lnd
from .test_mailbox import send
from .world import World

Done = Callable[[], bool]


def persist(world: World, act: Callable[[], object], done: Done) -> None:
    """People repeat what was not answered: a crash loses the message that it falls on."""
    for _ in range(3):
        act()
        if done():
            return
    raise AssertionError(f"not done after three times: {world.state()}, {world.fates()}")


def blocked(world: World, **changes: object) -> None:
    persist(world, lambda: world.block(**changes), lambda: world.state() is not None)


def released(world: World) -> None:
    """The payee repeats its release until it is paid, or has given up."""
    early = (State.ACCEPTED, State.HELD)
    persist(world, world.release, lambda: world.state() not in early)


def plain(world: World) -> None:
    blocked(world, amount_msat=2000)
    world.pay()
    world.pay(channel=CHANNEL_A2)
    released(world)
    world.payee_settles()


def early_pid(world: World) -> None:
    blocked(world, amount_msat=2000)
    released(world)
    world.pay()
    world.pay()
    world.payee_settles()


def payer_away(world: World) -> None:
    blocked(world)
    world.pay()
    world.disconnect(A)
    released(world)
    world.sleep(100)
    world.connect(A)
    world.payee_settles()


def on_behalf(world: World) -> None:
    blocked(world, invoice="lnbcrt1")
    world.pay(1100)
    world.disconnect(A)
    released(world)
    world.finish_own_payment(preimage=PREIMAGE)
    world.connect(A)


def on_behalf_fails(world: World) -> None:
    blocked(world, invoice="lnbcrt1")
    world.pay(1100)
    world.disconnect(A)
    released(world)
    world.finish_own_payment(preimage=None)
    world.connect(A)
    world.sleep(610)  # after a crash an order may still be on its way to the node for so long
    world.payee_settles()


def cancelled(world: World) -> None:
    blocked(world)
    world.pay()
    persist(world, world.cancel, lambda: world.state() is State.FAILED_BACK)


def refused(world: World) -> None:
    blocked(world)
    world.pay()
    persist(world, world.refuse, lambda: world.state() is State.FAILED_BACK)


def too_late(world: World) -> None:
    blocked(world)
    world.pay()
    world.sleep(86_402)


def incomplete(world: World) -> None:
    blocked(world, amount_msat=2000)
    world.pay()
    world.sleep(121)


def node_killed(world: World) -> None:
    blocked(world)
    world.pay()
    world.restart_node()
    world.connect(ROUTER)
    released(world)
    world.connect(A)
    world.payee_settles()


def two_payments(world: World) -> None:
    plain(world)
    world.pay(payment_hash=b"u" * 32)


def waiting(world: World) -> None:
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    world.sleep(10)
    world.connect(B)


def waited_in_vain(world: World) -> None:
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    world.sleep(60)


SCENARIOS = [
    plain,
    early_pid,
    payer_away,
    on_behalf,
    on_behalf_fails,
    cancelled,
    refused,
    too_late,
    incomplete,
    node_killed,
    two_payments,
    waiting,
    waited_in_vain,
]


def outcome(world: World) -> object:
    """What people see in the end. A settlement that fell into the crash is known to the node alone."""
    assert world.losses == []
    assert "held" not in world.fates()
    stage = State.SETTLED if world.state() is State.RELEASED else world.state()
    return stage, world.fates()


@pytest.mark.parametrize("capabilities", [lnd, cln])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_after_every_action(
    scenario: Callable[[World], None], capabilities: Callable[[], Capabilities]
) -> None:
    calm = World(capabilities())
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World(capabilities())
        world.crash_at = crash
        scenario(world)
        assert outcome(world) == outcome(calm), f"crash at action {crash - begin} of {calm.actions - begin}"
        assert len(world.pay_orders) <= 2
        assert [order.fee_limit_msat for order in world.pay_orders] in ([], [100], [100, 100])


def test_no_message_is_lost_by_a_crash() -> None:
    def scenario(world: World) -> None:
        world.disconnect(B)
        for number in range(3):
            persist(world, lambda number=number: send(world, number), lambda number=number: number in kept(world))
        world.connect(B)
        world.sleep(30)

    def kept(world: World) -> set[int]:
        messages = [record for record in world.stored.values() if isinstance(record, StoredMessage)]
        return {int.from_bytes(message.message.packet[:4], "big") for message in messages}

    calm = World()
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World()
        world.crash_at = crash
        scenario(world)
        delivered = [effect.message.packet[3] for effect in world.did(Deliver)]
        assert sorted(set(delivered)) == [0, 1, 2]
        assert delivered == sorted(delivered)


def test_no_courier_is_lost_by_a_crash() -> None:
    def scenario(world: World) -> None:
        blocked(world, courier=courier())
        world.pay()
        world.sleep(20)

    calm = World()
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World()
        world.crash_at = crash
        scenario(world)
        world.effects.clear()
        world.sleep(60)
        assert len(world.did(Relay)) >= 1


def test_the_payer_is_told_how_it_ended_whatever_a_crash_falls_on() -> None:
    def scenario(world: World) -> None:
        blocked(world)
        world.pay()
        persist(world, world.cancel, lambda: world.state() is State.FAILED_BACK)
        world.disconnect(A)
        world.connect(A)
        world.sleep(1)

    calm = World()
    begin = calm.actions
    scenario(calm)
    for crash in range(begin + 1, calm.actions + 1):
        world = World()
        world.crash_at = crash
        scenario(world)
        assert (BlockState.FAILED_BACK, 1) in world.updates(), f"crash at action {crash - begin}"
