"""An HTLC for a client that is away (LSP_b): it waits, the client is called, and it passes or fails in time."""

import secrets

import pytest

from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HtlcKey, Resolution, ShortChannelId

from .given import CHANNEL_A, CHANNEL_B, CHANNEL_ROUTER, HEIGHT, ROUTER, A, B, cln
from .world import World


def test_an_htlc_for_an_absent_client_waits_and_the_client_is_called() -> None:
    world = World()
    world.disconnect(B)
    key = world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert world.answered(key) == [[]]
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.fates() == ["forwarded"]


@pytest.mark.parametrize(("seconds", "fate"), [(44.9, "held"), (45, "failed")])
def test_it_waits_for_the_wake_timeout(seconds: float, fate: str) -> None:
    world = World()
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    world.sleep(seconds)
    assert world.fates() == [fate]


def test_its_wait_outlives_a_crash_and_does_not_begin_anew() -> None:
    world = World()
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    world.sleep(30)
    world.restart()
    world.sleep(15)
    assert world.fates() == ["failed"]


def test_it_is_never_held_into_its_margin() -> None:
    world = World(policy=LspPolicy(min_margin_blocks=30, wake_timeout_seconds=1e9))
    world.disconnect(B)
    world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B, incoming_expiry=HEIGHT + 31)
    assert world.fates() == ["held"]
    world.mine()
    assert world.fates() == ["failed"]


def test_only_clients_are_waited_for() -> None:
    world = World(clients=(A,))
    world.disconnect(B)
    key = world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert world.answered(key) == [[Resolution.RESUME]]


@pytest.mark.parametrize("policy", [LspPolicy(max_waiting=2), LspPolicy(max_waiting_msat=2999)])
def test_a_client_has_a_share_of_waiting_htlcs_beyond_which_they_pass(policy: LspPolicy) -> None:
    world = World(policy=policy)
    world.disconnect(B)
    keys = [world.pay(peer=ROUTER, outgoing_channel=CHANNEL_B) for _ in range(3)]
    assert world.answered(*keys) == [[], [], [Resolution.RESUME]]


def wait_for_b(
    world: World, *amounts_msat: int, peer: bytes = ROUTER, channel: ShortChannelId = CHANNEL_ROUTER
) -> list[HtlcKey]:
    """HTLCs for B of these amounts, over this channel."""
    return [
        world.pay(amount, peer=peer, channel=channel, outgoing_channel=CHANNEL_B, payment_hash=secrets.token_bytes(32))
        for amount in amounts_msat
    ]


def fates(world: World, keys: list[HtlcKey]) -> list[str]:
    return [world.htlcs[key].fate.split()[0] for key in keys]


def test_dust_of_a_stranger_makes_room_for_a_payment() -> None:
    """Both come by way of the same peer, and nobody can tell them apart but by what they bring."""
    world = World()
    world.disconnect(B)
    dust = wait_for_b(world, *[1] * 30)
    payment = wait_for_b(world, 1000)
    more_dust = wait_for_b(world, *[1] * 30)
    assert fates(world, payment) == ["held"]
    assert fates(world, dust) == [*["held"] * 29, "failed"]
    assert fates(world, more_dust) == ["failed"] * 30
    world.connect(B)
    assert fates(world, payment) == ["forwarded"]


def test_one_peer_cannot_take_the_slots_of_another() -> None:
    world = World(policy=LspPolicy(max_waiting=4))
    world.disconnect(B)
    large = wait_for_b(world, *[1_000_000] * 4)
    from_a = wait_for_b(world, 10, 20, 30, peer=A, channel=CHANNEL_A)
    assert fates(world, large) == ["held", "held", "failed", "failed"]
    assert fates(world, from_a) == ["failed", "held", "held"]


def test_one_peer_cannot_take_the_value_of_another() -> None:
    world = World(policy=LspPolicy(max_waiting_msat=10_000))
    world.disconnect(B)
    greedy = wait_for_b(world, 6000, 4000)
    honest = wait_for_b(world, 5000, peer=A, channel=CHANNEL_A)
    assert fates(world, greedy) == ["failed", "held"]
    assert fates(world, honest) == ["held"]


def test_nothing_is_displaced_for_an_htlc_that_does_not_fit() -> None:
    world = World(policy=LspPolicy(max_waiting=2, max_waiting_msat=10_000))
    world.disconnect(B)
    waiting = wait_for_b(world, 1000, 1000)
    assert fates(world, wait_for_b(world, 20_000, peer=A, channel=CHANNEL_A)) == ["failed"]
    assert fates(world, waiting) == ["held", "held"]


def test_behind_one_lsp_the_block_rules_instead_of_the_wake_timeout() -> None:
    world = World()
    world.disconnect(B)
    world.block()
    world.pay(outgoing_channel=CHANNEL_B)
    world.sleep(3600)
    assert world.fates() == ["held"]
    assert world.pushes(B) == []
    world.release()
    assert world.state() is State.DUE
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.fates() == ["forwarded"]


def test_on_lnd_an_htlc_waits_for_its_payer_too() -> None:
    for capabilities, fate in ((None, "held"), (cln(), "forwarded")):
        world = World(capabilities)
        world.disconnect(B)
        world.pay(peer=ROUTER, channel=CHANNEL_A, outgoing_channel=CHANNEL_B)
        world.disconnect(A)
        world.connect(B)
        assert world.fates() == [fate]
