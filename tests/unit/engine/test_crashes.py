"""Killed after any of its actions, the LSP ends where it would have ended undisturbed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from asyncpay.engine.lsp.interface import Deliver, Relay
from asyncpay.engine.lsp.records import StoredMessage
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capabilities
from asyncpay.wire.messages import BlockState
from tests.support.engine_harness import with_a_crash_before_each_action

from .factories import CHANNEL_A2, CHANNEL_B, PREIMAGE, ROUTER, A, B, cln, courier, lnd
from .harness import LspHarness
from .test_mailbox import send

Done = Callable[[], bool]


def persist(harness: LspHarness, act: Callable[[], object], done: Done) -> None:
    """People repeat what was not answered: a crash loses the message that it falls on."""
    for _ in range(3):
        act()
        if done():
            return
    raise AssertionError(f"not done after three times: {harness.state()}, {harness.fates()}")


def blocked(harness: LspHarness, **changes: Any) -> None:
    persist(harness, lambda: harness.block(**changes), lambda: harness.state() is not None)


def released(harness: LspHarness) -> None:
    """The payee repeats its release until it is paid, or has given up."""
    early = (State.ACCEPTED, State.HELD)
    persist(harness, harness.release, lambda: harness.state() not in early)


def plain(harness: LspHarness) -> None:
    blocked(harness, amount_msat=2000)
    harness.pay()
    harness.pay(channel=CHANNEL_A2)
    released(harness)
    harness.payee_settles()


def early_pid(harness: LspHarness) -> None:
    blocked(harness, amount_msat=2000)
    released(harness)
    harness.pay()
    harness.pay()
    harness.payee_settles()


def payer_away(harness: LspHarness) -> None:
    blocked(harness)
    harness.pay()
    harness.disconnect(A)
    released(harness)
    harness.sleep(100)
    harness.connect(A)
    harness.payee_settles()


def on_behalf(harness: LspHarness) -> None:
    blocked(harness, invoice="lnbcrt1")
    harness.pay(1100)
    harness.disconnect(A)
    released(harness)
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.connect(A)


def on_behalf_fails(harness: LspHarness) -> None:
    blocked(harness, invoice="lnbcrt1")
    harness.pay(1100)
    harness.disconnect(A)
    released(harness)
    harness.finish_own_payment(preimage=None)
    harness.connect(A)
    harness.sleep(610)  # after a crash an order may still be on its way to the node for so long
    harness.payee_settles()


def cancelled(harness: LspHarness) -> None:
    blocked(harness)
    harness.pay()
    persist(harness, harness.cancel, lambda: harness.state() is State.FAILED_BACK)


def refused(harness: LspHarness) -> None:
    blocked(harness)
    harness.pay()
    persist(harness, harness.refuse, lambda: harness.state() is State.FAILED_BACK)


def too_late(harness: LspHarness) -> None:
    blocked(harness)
    harness.pay()
    harness.sleep(86_402)


def incomplete(harness: LspHarness) -> None:
    blocked(harness, amount_msat=2000)
    harness.pay()
    harness.sleep(121)


def node_killed(harness: LspHarness) -> None:
    blocked(harness)
    harness.pay()
    harness.restart_node()
    harness.connect(ROUTER)
    released(harness)
    harness.connect(A)
    harness.payee_settles()


def two_payments(harness: LspHarness) -> None:
    plain(harness)
    harness.pay(payment_hash=b"u" * 32)


def waiting(harness: LspHarness) -> None:
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    harness.sleep(10)
    harness.connect(B)


def waited_in_vain(harness: LspHarness) -> None:
    harness.disconnect(B)
    harness.pay(peer=ROUTER, outgoing_channel=CHANNEL_B)
    harness.sleep(60)


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


def outcome(harness: LspHarness) -> object:
    """What people see in the end. A settlement that fell into the crash is known to the node alone."""
    assert harness.losses == []
    assert "held" not in harness.fates()
    state = State.SETTLED if harness.state() is State.RELEASED else harness.state()
    return state, harness.fates()


@pytest.mark.parametrize("capabilities", [lnd, cln])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_after_every_action(
    scenario: Callable[[LspHarness], None], capabilities: Callable[[], Capabilities]
) -> None:
    for calm, harness, where in with_a_crash_before_each_action(lambda: LspHarness(capabilities()), scenario):
        assert outcome(harness) == outcome(calm), where
        assert len(harness.pay_orders) <= 2
        assert [order.fee_limit_msat for order in harness.pay_orders] in ([], [100], [100, 100])


def test_no_message_is_lost_by_a_crash() -> None:
    def scenario(harness: LspHarness) -> None:
        harness.disconnect(B)
        for number in range(3):
            persist(harness, partial(send, harness, number), lambda: number in kept(harness))  # noqa: B023 - called here
        harness.connect(B)
        harness.sleep(30)

    def kept(harness: LspHarness) -> set[int]:
        messages = [record for record in harness.stored.values() if isinstance(record, StoredMessage)]
        return {int.from_bytes(message.message.packet[:4], "big") for message in messages}

    for _, harness, where in with_a_crash_before_each_action(LspHarness, scenario):
        delivered = [effect.message.packet[3] for effect in harness.did(Deliver)]
        assert sorted(set(delivered)) == [0, 1, 2], where
        assert delivered == sorted(delivered)


def test_no_courier_is_lost_by_a_crash() -> None:
    def scenario(harness: LspHarness) -> None:
        blocked(harness, courier=courier())
        harness.pay()
        harness.sleep(20)

    for _, harness, where in with_a_crash_before_each_action(LspHarness, scenario):
        harness.effects.clear()
        harness.sleep(60)
        assert len(harness.did(Relay)) >= 1, where


def test_the_payer_is_told_how_it_ended_whatever_a_crash_falls_on() -> None:
    def scenario(harness: LspHarness) -> None:
        blocked(harness)
        harness.pay()
        persist(harness, harness.cancel, lambda: harness.state() is State.FAILED_BACK)
        harness.disconnect(A)
        harness.connect(A)
        harness.sleep(1)

    for _, harness, where in with_a_crash_before_each_action(LspHarness, scenario):
        assert (BlockState.FAILED_BACK, 1) in harness.updates(), where
