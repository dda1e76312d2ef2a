"""An HTLC for a client that is away (LSP_b): it waits, the client is called, and it passes or fails in time."""

import secrets

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import HtlcKey, Resolution, ShortChannelId

from .factories import CHANNEL_A, CHANNEL_B, CHANNEL_ROUTER, HEIGHT, ROUTER, A, B, cln
from .harness import LspHarness


def test_an_htlc_for_an_absent_client_waits_and_the_client_is_called() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    key = harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert harness.answered(key) == [[]]
    assert harness.pushes(B) == ["lsps5.payment_incoming"]
    harness.connect(B)
    assert harness.fates() == ["forwarded"]


@pytest.mark.parametrize(("seconds", "fate"), [(44.9, "held"), (45, "failed")])
def test_it_waits_for_the_wake_timeout(seconds: float, fate: str) -> None:
    harness = LspHarness()
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    harness.sleep(seconds)
    assert harness.fates() == [fate]


def test_its_wait_outlives_a_crash_and_does_not_begin_anew() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    harness.sleep(30)
    harness.restart()
    harness.sleep(15)
    assert harness.fates() == ["failed"]


def test_it_is_never_held_into_its_margin() -> None:
    harness = LspHarness(policy=LspPolicy(min_margin_blocks=30, wake_timeout_seconds=1e9))
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B, incoming_expiry=HEIGHT + 31)
    assert harness.fates() == ["held"]
    harness.mine()
    assert harness.fates() == ["failed"]


def test_only_clients_are_waited_for() -> None:
    harness = LspHarness(clients=(A,))
    harness.disconnect(B)
    key = harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    assert harness.answered(key) == [[Resolution.RESUME]]


@pytest.mark.parametrize("policy", [LspPolicy(max_waiting=2), LspPolicy(max_waiting_msat=2999)])
def test_a_client_has_a_share_of_waiting_htlcs_beyond_which_they_pass(policy: LspPolicy) -> None:
    harness = LspHarness(policy=policy)
    harness.disconnect(B)
    keys = [harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B) for _ in range(3)]
    assert harness.answered(*keys) == [[], [], [Resolution.RESUME]]


def wait_for_b(
    harness: LspHarness, *amounts_msat: int, peer: bytes = ROUTER, channel: ShortChannelId = CHANNEL_ROUTER
) -> list[HtlcKey]:
    """HTLCs for B of these amounts, over this channel."""
    return [
        harness.pay(
            amount, peer=peer, channel=channel, outgoing_channel=CHANNEL_B, payment_hash=secrets.token_bytes(32)
        )
        for amount in amounts_msat
    ]


def fates(harness: LspHarness, keys: list[HtlcKey]) -> list[str]:
    return [harness.htlcs[key].fate.split()[0] for key in keys]


def test_dust_of_a_stranger_makes_room_for_a_payment() -> None:
    """Both come by way of the same peer, and nobody can tell them apart but by what they bring."""
    harness = LspHarness()
    harness.disconnect(B)
    dust = wait_for_b(harness, *[1] * 30)
    payment = wait_for_b(harness, 1000)
    more_dust = wait_for_b(harness, *[1] * 30)
    assert fates(harness, payment) == ["held"]
    assert fates(harness, dust) == [*["held"] * 29, "failed"]
    assert fates(harness, more_dust) == ["failed"] * 30
    harness.connect(B)
    assert fates(harness, payment) == ["forwarded"]


def test_one_peer_cannot_take_the_slots_of_another() -> None:
    harness = LspHarness(policy=LspPolicy(max_waiting=4))
    harness.disconnect(B)
    large = wait_for_b(harness, *[1_000_000] * 4)
    from_a = wait_for_b(harness, 10, 20, 30, peer=A, channel=CHANNEL_A)
    assert fates(harness, large) == ["held", "held", "failed", "failed"]
    assert fates(harness, from_a) == ["failed", "held", "held"]


def test_one_peer_cannot_take_the_value_of_another() -> None:
    harness = LspHarness(policy=LspPolicy(max_waiting_msat=10_000))
    harness.disconnect(B)
    greedy = wait_for_b(harness, 6000, 4000)
    honest = wait_for_b(harness, 5000, peer=A, channel=CHANNEL_A)
    assert fates(harness, greedy) == ["failed", "held"]
    assert fates(harness, honest) == ["held"]


def test_nothing_is_displaced_for_an_htlc_that_does_not_fit() -> None:
    harness = LspHarness(policy=LspPolicy(max_waiting=2, max_waiting_msat=10_000))
    harness.disconnect(B)
    waiting = wait_for_b(harness, 1000, 1000)
    assert fates(harness, wait_for_b(harness, 20_000, peer=A, channel=CHANNEL_A)) == ["failed"]
    assert fates(harness, waiting) == ["held", "held"]


def test_behind_one_lsp_the_block_rules_instead_of_the_wake_timeout() -> None:
    harness = LspHarness()
    harness.disconnect(B)
    harness.block()
    harness.pay(outgoing_channel=CHANNEL_B)
    harness.sleep(3600)
    assert harness.fates() == ["held"]
    assert harness.pushes(B) == []
    harness.release()
    assert harness.state() is State.DUE
    assert harness.pushes(B) == ["lsps5.payment_incoming"]
    harness.connect(B)
    assert harness.fates() == ["forwarded"]


def test_on_lnd_an_htlc_waits_for_its_payer_too() -> None:
    for capabilities, fate in ((None, "held"), (cln(), "forwarded")):
        harness = LspHarness(capabilities)
        harness.disconnect(B)
        harness.pay(peer=ROUTER, channel=CHANNEL_A, outgoing_channel=CHANNEL_B)
        harness.disconnect(A)
        harness.connect(B)
        assert harness.fates() == [fate]
