"""Pushes: an LSP's notification wakes a sleeping phone, once it can be reached, and nothing else does."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from asyncpay.engine.lsp.records import Method
from asyncpay.lsps.notifications import MAX_AGE_SECONDS, WEBHOOK_REGISTERED
from harness.checks import balances
from harness.inside.interface import Behaviour, PhoneState, Push
from harness.services.phone import Phone
from harness.services.push_gateway import check_privacy
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

from .notices import notice, post
from .test_link import paying

AMOUNT_MSAT = 4_000_000


@pytest.fixture(autouse=True)
def nothing_private(testbed: Testbed) -> Iterator[None]:
    yield
    testbed.push.answer(Behaviour.NORMALLY)
    pushes = testbed.push.pushes("A")
    assert any(push.method == WEBHOOK_REGISTERED and push.delivered for push in pushes)  # bring-up's
    check_privacy(pushes)


@pytest.fixture
def webhook(testbed: Testbed, phone: Phone) -> str:
    """A second webhook of the phone, which the LSP does not know, for notifications made by tests."""
    return testbed.push.subscribe("A", testbed["LSP"].node_id)


def is_(phone: Phone, state: PhoneState) -> Predicate:
    def missing() -> str | None:
        seen = phone.state()
        return None if seen is state else f"it is {seen}"

    return Predicate(f"{phone.name}_{state}", missing)


class Pushes:
    """The pushes since the start of the test."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._before = len(testbed.push.pushes("A"))

    def seen(self) -> list[Push]:
        return self._testbed.push.pushes("A")[self._before :]

    def tried(self, times: int) -> Predicate:
        """The last push was tried this number of times, and the phone does not have it."""

        def missing() -> str | None:
            seen = self.seen()
            done = seen and seen[-1].attempts >= times and seen[-1].delivered is None
            return None if done else f"pushes {seen}"

        return Predicate("tried", missing)

    def delivered(self, *methods: str) -> Predicate:
        """The phone has received exactly these, in this order."""

        def missing() -> str | None:
            seen = [push.method for push in self.seen() if push.delivered]
            return None if seen == list(methods) else f"it has had {seen}"

        return Predicate("delivered", missing)


@pytest.fixture
def pushes(testbed: Testbed, phone: Phone) -> Pushes:
    return Pushes(testbed)


def test_a_sleeping_phone_is_woken_and_paid(testbed: Testbed, phone: Phone, pushes: Pushes) -> None:
    invoice = phone.wallet.receive(AMOUNT_MSAT)["invoice"]
    before = balances.count(testbed)
    phone.sleep()
    paying(testbed, invoice).result(90)
    wait_for(pushes.delivered(Method.PAYMENT_INCOMING))
    assert phone.state() is PhoneState.AWAKE
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_a_disconnected_phone_has_its_push_when_it_is_back(testbed: Testbed, phone: Phone, pushes: Pushes) -> None:
    invoice = phone.wallet.receive(AMOUNT_MSAT)["invoice"]
    before = balances.count(testbed)
    phone.disconnect()
    phone.sleep()
    payment = paying(testbed, invoice)
    wait_for(pushes.tried(2))
    assert phone.state() is PhoneState.ASLEEP
    phone.reconnect()
    wait_for(is_(phone, PhoneState.AWAKE))
    payment.result(90)
    wait_for(pushes.delivered(Method.PAYMENT_INCOMING))
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_a_frozen_phone_has_its_push_when_it_is_unfrozen(
    testbed: Testbed, phone: Phone, webhook: str, pushes: Pushes
) -> None:
    with phone.frozen():
        assert post(testbed, webhook, notice(testbed, Method.ONION_MESSAGE)) == 200
        wait_for(pushes.tried(2))
        assert phone.state() is PhoneState.FROZEN
    wait_for(pushes.delivered(Method.ONION_MESSAGE))


def test_forged_old_and_repeated_notifications_wake_nobody(
    testbed: Testbed, phone: Phone, webhook: str, pushes: Pushes
) -> None:
    genuine = notice(testbed, Method.ONION_MESSAGE)
    assert post(testbed, webhook, genuine) == 200
    wait_for(pushes.delivered(Method.ONION_MESSAGE))
    phone.sleep()

    stranger = notice(testbed, Method.PAYMENT_INCOMING, signed_by="sender")
    old = notice(testbed, Method.PAYMENT_INCOMING, age_seconds=MAX_AGE_SECONDS + 5)
    changed = replace(genuine, body=genuine.body.replace(Method.ONION_MESSAGE, Method.PAYMENT_INCOMING))
    unsigned = replace(genuine, headers={})
    for refused in (stranger, old, changed, unsigned, genuine):
        assert post(testbed, webhook, refused) == 403
    reasons = ["not signed by LSP", "more than", "not signed by LSP", "not signed", "a replay"]
    whys = [push.refused or "" for push in pushes.seen()[1:]]
    assert len(whys) == len(reasons)
    assert all(reason in why for reason, why in zip(reasons, whys, strict=True)), whys
    assert post(testbed, "https://push/nobody", notice(testbed, Method.PAYMENT_INCOMING)) == 404

    # A genuine push follows, and is the only one that the phone has received.
    assert phone.state() is PhoneState.ASLEEP
    assert post(testbed, webhook, notice(testbed, Method.EXPIRY_SOON)) == 200
    wait_for(pushes.delivered(Method.ONION_MESSAGE, Method.EXPIRY_SOON))
    assert phone.state() is PhoneState.AWAKE


@pytest.mark.parametrize("broken", [Behaviour.ERROR, Behaviour.HANG, Behaviour.REDIRECT])
def test_an_lsp_tries_a_broken_gateway_again(testbed: Testbed, phone: Phone, pushes: Pushes, broken: Behaviour) -> None:
    invoice = phone.wallet.receive(AMOUNT_MSAT)["invoice"]
    before = balances.count(testbed)
    phone.sleep()
    testbed.push.answer(broken)
    payment = paying(testbed, invoice)
    wait_for(Predicate("posted", lambda: None if pushes.seen() else "no post yet"))
    assert all(push.refused == f"the gateway was told to answer: {broken}" for push in pushes.seen())
    assert phone.state() is PhoneState.ASLEEP
    testbed.push.answer(Behaviour.NORMALLY)
    payment.result(90)
    wait_for(pushes.delivered(Method.PAYMENT_INCOMING))
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_a_gateway_that_dies_remembers_phones_and_pushes(
    testbed: Testbed, phone: Phone, webhook: str, pushes: Pushes
) -> None:
    phone.disconnect()
    phone.sleep()
    assert post(testbed, webhook, notice(testbed, Method.ONION_MESSAGE)) == 200
    testbed.engine.kill("push")
    testbed.engine.start("push")
    wait_for(Predicate("gateway_answers", lambda: None if pushes.seen() else "it forgot the push"))
    phone.reconnect()
    wait_for(pushes.delivered(Method.ONION_MESSAGE))
    assert phone.state() is PhoneState.AWAKE
    assert post(testbed, webhook, notice(testbed, Method.EXPIRY_SOON)) == 200
    wait_for(pushes.delivered(Method.ONION_MESSAGE, Method.EXPIRY_SOON))
