"""The onion mailbox and the courier: messages for an offline client wait at its LSP."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from asyncpay.lightning import Invoice
from asyncpay.lsps import lsps5
from asyncpay.node_events import OnionReceived
from asyncpay.service.common import onions
from asyncpay.service.common.onions import release_path
from asyncpay.wire import blinding, onion
from asyncpay.wire.blinding import BlindedPath, HopData
from asyncpay.wire.messages import (
    BlockState,
    Courier,
    Message,
    PaymentPending,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
    unblock_hash,
)
from asyncpay.wire.onion import LARGE_ROOM, SMALL_ROOM, OnionMessage, Payload
from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.balance_checks import assert_paid_once
from tests.support.implementations import IMPLEMENTATIONS, capabilities, topology_on
from tests.support.scripted_peer import Hold, ScriptedPeer

AMOUNT_MSAT = 20_000_000
NOWHERE = "https://127.0.0.1/"
"""A webhook turns a node into a client; it need not answer."""


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(topology_on(request.param, "phones.yaml", "LSP"), request.config) as running:
        yield running


@pytest.fixture
def a(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The payer, which is not a client."""
    with ScriptedPeer(testbed, "A") as phone:
        phone.go_online("LSP")
        yield phone


@pytest.fixture
def b(testbed: Testbed, lsp_id: bytes) -> Iterator[ScriptedPeer]:
    """The payee, a client of the LSP."""
    with ScriptedPeer(testbed, "B") as phone:
        phone.go_online("LSP")
        phone.call(lsp_id, lsps5.SET_WEBHOOK, app_name="phone", webhook=NOWHERE).result()
        yield phone


def some_messages(count: int) -> list[PaymentPending]:
    return [
        PaymentPending(
            pid=secrets.token_bytes(32),
            payment_hashes=(secrets.token_bytes(32),),
            amount_msat=1,
            release_by_height=1,
            hold_until=1,
        )
        for _ in range(count)
    ]


def sealed(message: Message, *hops: bytes, room: int = SMALL_ROOM, reply: BlindedPath | None = None) -> OnionMessage:
    path = blinding.build(blinding.hops_through(hops, HopData()), secrets.token_bytes(32))
    payload = Payload(async_payment=message.encode(), reply_path=reply)
    return onion.build(path, payload, secrets.token_bytes(32), rooms=(room,))


def send(sender: ScriptedPeer, receiver: ScriptedPeer, *messages: Message, room: int = SMALL_ROOM) -> None:
    """Send through the LSP; return when it has handled all of them: it has answered a later request."""
    lsp_id = bytes.fromhex(sender.testbed["LSP"].node_id)
    for message in messages:
        sender.send_onion(lsp_id, sealed(message, lsp_id, receiver.node_id, room=room))
    pid = secrets.token_bytes(32)
    sender.send(lsp_id, PaymentRelease(pid=pid), reply_to_me=True)
    sender.expect(ReleaseReply(unblock_hash=unblock_hash(pid), status=ReleaseStatus.UNKNOWN))


def stored(lsp: Lsp, client: ScriptedPeer) -> int:
    """Return the number of stored messages for this client."""
    messages: int = lsp.status()["mailbox"].get(client.node_id.hex(), {"messages": 0})["messages"]
    return messages


def has_exactly(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, messages: list[PaymentPending]) -> None:
    """No message waits for B any more, and exactly these have arrived, in this order."""
    wait_for(Predicate("mailbox_empty", lambda: f"{left} messages wait" if (left := stored(lsp, b)) else None))
    (last,) = some_messages(1)
    send(a, b, last)  # after all messages that have left the LSP before
    b.expect(last)
    assert b.inbox == [*messages, last]


def test_an_offline_client_gets_its_messages_in_order_and_once(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> None:
    messages = some_messages(3)
    b.go_offline("LSP")
    send(a, b, *messages)
    assert stored(lsp, b) == 3
    assert b.inbox == []

    b.go_online("LSP")
    has_exactly(a, b, lsp, messages)


def test_a_message_that_is_repeated_waits_once(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, lsp_id: bytes) -> None:
    again, other = some_messages(2)
    message = sealed(again, lsp_id, b.node_id)
    b.go_offline("LSP")
    a.send_onion(lsp_id, message)
    send(a, b, other)
    a.send_onion(lsp_id, message)
    send(a, b)
    assert stored(lsp, b) == 2

    b.go_online("LSP")
    has_exactly(a, b, lsp, [again, other])


def test_messages_outlive_the_component_and_the_node(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, testbed: Testbed
) -> None:
    messages = some_messages(2)
    b.go_offline("LSP")
    send(a, b, messages[0])
    lsp.kill()
    lsp.start()
    wait_for(interceptor_attached(lsp), 60)
    send(a, b, messages[1])
    lsp.kill()
    testbed.kill("LSP")
    testbed.start_and_wait("LSP")  # it dials its peers, so that the component finds B online
    assert b.inbox == []

    lsp.start()
    wait_for(interceptor_attached(lsp), 60)
    has_exactly(a, b, lsp, messages)


def test_nobody_but_a_client_has_a_mailbox(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> None:
    lost, seen = some_messages(2)
    a.go_offline("LSP")
    send(b, a, lost)
    assert lsp.status()["mailbox"] == {}

    a.go_online("LSP")
    send(b, a, seen)
    a.expect(seen)
    assert a.inbox == [seen]


def test_of_too_many_messages_the_oldest_go(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> None:
    messages = some_messages(6)
    b.go_offline("LSP")
    send(a, b, *messages)
    assert stored(lsp, b) == lsp_limit(b, "mailbox_messages") == 4

    b.go_online("LSP")
    has_exactly(a, b, lsp, messages[-4:])


def test_of_too_many_bytes_the_oldest_go(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> None:
    small, large, another_large, another_small = some_messages(4)
    b.go_offline("LSP")
    send(a, b, small)
    send(a, b, large, another_large, room=LARGE_ROOM)
    send(a, b, another_small)
    assert LARGE_ROOM < lsp.status()["mailbox"][b.node_id.hex()]["bytes"] <= lsp_limit(b, "mailbox_bytes")

    b.go_online("LSP")
    has_exactly(a, b, lsp, [another_large, another_small])


def lsp_limit(phone: ScriptedPeer, name: str) -> int:
    limit: int = getattr(phone.testbed.topology.components["LSP"].policy, name)
    return limit


class PaymentWithCourier:
    """A payment whose payer leaves its message to the payee with its LSP."""

    def __init__(self, a: ScriptedPeer, b: ScriptedPeer, invoice: Invoice, shown: bool) -> None:
        """shown: the LSP receives the invoice, so that it can pay on A's behalf."""
        self.hold = hold = Hold(a, "LSP", invoice)
        self.pending = PaymentPending(
            pid=hold.pid,
            payment_hashes=hold.request.payment_hashes,
            amount_msat=hold.request.amount_msat,
            release_by_height=hold.request.release_by_height,
            hold_until=hold.request.hold_until,
        )
        transit = capabilities(a.testbed, "LSP").transit_release.able
        release = release_path(hold.lsp_id, a.node_id, hold.pid, transit)
        self.message = sealed(self.pending, hold.lsp_id, b.node_id, reply=release)
        courier = Courier(path_key=self.message.path_key, onion=self.message.packet)
        request = replace(hold.request, courier=courier, invoice=invoice.text if shown else None)
        hold.request = a.signed(request, hold.lsp_id)

    def hold_and_hand_over(self) -> None:
        """Act like a payer before it goes offline: all parts held, then its own copy of the message."""
        hold = self.hold.ask().pay().update(BlockState.HELD)
        hold.payer.run(hold.payer.node.send_onion(hold.lsp_id, self.message))

    def release(self, b: ScriptedPeer) -> None:
        """Release the payment like the payee, with the data of the message."""
        b.expect(self.pending, 60)
        path = next(e.reply_path for e in b.events if isinstance(e, OnionReceived) and e.reply_path)
        b.run(onions.send_along(b.node, b.node_id, path, PaymentRelease(pid=self.pending.pid)))

    def in_state(self, lsp: Lsp, state: str) -> Predicate:
        def missing() -> str | None:
            seen = self.block(lsp)["state"]
            return None if seen == state else f"the block is {seen}"

        return Predicate(f"block_{state}", missing)

    def sent(self, lsp: Lsp, times: int) -> Predicate:
        def missing() -> str | None:
            seen = self.block(lsp)["courier_sent"]
            return None if seen >= times else f"the courier was sent {seen} times"

        return Predicate("courier_sent", missing)

    def block(self, lsp: Lsp) -> dict[str, Any]:
        mine = self.hold.request.unblock_hash.hex()
        return next(block for block in lsp.status()["blocks"] if block["unblock_hash"] == mine)


def is_paid(b: ScriptedPeer, invoice: Invoice) -> bool:
    known = b.run(b.node.look_up_invoice(invoice.payment_hash))
    return known is not None and known.paid


def test_the_courier_goes_for_a_payer_that_is_gone_and_the_payee_is_paid(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp
) -> None:
    before = balances.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    payment = PaymentWithCourier(a, b, invoice, shown=True)
    b.go_offline("LSP")
    payment.hold_and_hand_over()
    with a.away():
        wait_for(payment.sent(lsp, 2))
        assert stored(lsp, b) == 1  # every copy is the same message

        b.go_online("LSP")
        payment.release(b)
        wait_for(Predicate("paid", lambda: None if is_paid(b, invoice) else "B is not paid"))
        forwarded = capabilities(a.testbed, "LSP").forwards_with_payer_offline
        wait_for(payment.in_state(lsp, "settled" if forwarded else "claimed"))
    payment.hold.ask().update(BlockState.SETTLED)  # it may have been told before its wallet listened
    result = payment.hold.outcome()
    assert_paid_once(a.testbed, before, result, AMOUNT_MSAT)


def test_the_courier_reaches_a_payee_that_was_switched_off_and_the_parts_wait_for_the_payer_if_they_must(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp
) -> None:
    """Without an invoice the LSP cannot pay, and LND cannot forward. A message that arrives before B's wallet listens
    is lost: therefore the courier repeats it.
    """
    before = balances.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    payment = PaymentWithCourier(a, b, invoice, shown=False)
    with b.away():
        payment.hold_and_hand_over()
        a.go_offline("LSP")
    payment.release(b)
    forwarded = bool(capabilities(a.testbed, "LSP").forwards_with_payer_offline)
    wait_for(payment.in_state(lsp, "settled" if forwarded else "due"))
    assert is_paid(b, invoice) == forwarded

    a.go_online("LSP")
    result = payment.hold.result()
    payment.hold.update(BlockState.SETTLED)
    assert_paid_once(a.testbed, before, result, AMOUNT_MSAT)
