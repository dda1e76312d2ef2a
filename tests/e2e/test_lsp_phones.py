"""Phones and their LSP: what it offers, webhooks over LSPS0, and how an offline phone is woken."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from phone import Hold, Phone
from push import HOST, IMPOSTOR, Authority, Post, PushServer, make_authority, serving

from asyncpay.engine.lsp.records import Method
from asyncpay.lightning import PaymentStatus
from asyncpay.lsps import info, jsonrpc, lsps5
from asyncpay.lsps.info import LspInfo
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED, Receiver, RefusedNotificationError
from asyncpay.lsps.server import DEFAULT_MAX_WEBHOOKS
from asyncpay.node_events import CustomMessage
from asyncpay.wire.messages import BlockState, PaymentPending, PaymentRelease
from harness import money
from harness.lsp import Lsp
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import Topology, load
from harness.waits import Predicate, interceptor_attached, wait_for

AMOUNT_MSAT = 12_000_000
PHONES = Path(__file__).parent / "topologies" / "phones.yaml"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture(scope="module")
def testbed(pytestconfig: pytest.Config, authority: Authority) -> Iterator[Testbed]:
    with running_testbed(trusting(load(PHONES), authority), pytestconfig) as running:
        yield running


def trusting(topology: Topology, authority: Authority) -> Topology:
    lsp = topology.nodes["LSP"]
    assert lsp.component is not None
    component = lsp.component.model_copy(update={"ca": authority.ca})
    return topology.model_copy(
        update={"nodes": topology.nodes | {"LSP": lsp.model_copy(update={"component": component})}}
    )


@pytest.fixture(scope="module")
def push(testbed: Testbed, authority: Authority) -> Iterator[PushServer]:
    with serving(testbed, authority, image_of=testbed.lsp("LSP").name) as server:
        yield server


@pytest.fixture
def lsp(testbed: Testbed) -> Lsp:
    return testbed.lsp("LSP")


@pytest.fixture
def lsp_id(testbed: Testbed) -> bytes:
    return bytes.fromhex(testbed["LSP"].node_id)


@pytest.fixture
def a(testbed: Testbed, lsp_id: bytes) -> Iterator[Phone]:
    with Phone(testbed, "A") as phone:
        make_new(phone, lsp_id)
        phone.reset_mission_control()  # an HTLC that nobody came for makes LND avoid the channel
        yield phone


@pytest.fixture
def b(testbed: Testbed, lsp_id: bytes) -> Iterator[Phone]:
    with Phone(testbed, "B") as phone:
        make_new(phone, lsp_id)
        yield phone


def make_new(phone: Phone, lsp_id: bytes) -> None:
    """Online, and without a webhook."""
    phone.go_online("LSP")
    for app_name in phone.call(lsp_id, lsps5.LIST_WEBHOOKS).result()["app_names"]:
        phone.call(lsp_id, lsps5.REMOVE_WEBHOOK, app_name=app_name).result()


class Webhook:
    """A phone's registration at the push server, under a path of its own."""

    def __init__(self, phone: Phone, lsp_id: bytes, server: PushServer, host: str = HOST) -> None:
        self.server = server
        self.path = f"/{secrets.token_hex(8)}"
        self.lsp_id = lsp_id
        self.url = f"https://{host}{self.path}"
        phone.call(lsp_id, lsps5.SET_WEBHOOK, app_name="phone", webhook=self.url).result()

    def posts(self) -> list[Post]:
        return self.server.posts(self.path)

    def methods(self) -> list[str]:
        """What it was notified of so far. The LSP's signature is checked, and nothing but the method is said."""
        receiver = Receiver(self.lsp_id)
        found = []
        for post in self.posts():
            notification = receiver.accept(post.headers, post.body.encode(), time.time())
            assert post.body == f'{{"jsonrpc":"2.0","method":"{notification.method}","params":{{}}}}'
            found.append(notification.method)
        return found

    def expect(self, *methods: str) -> None:
        """Wait until it was notified of these, in this order, and of nothing else."""

        def missing() -> str | None:
            seen = self.methods()
            return None if seen == list(methods) else f"notified of {seen}"

        wait_for(Predicate(f"notified_of_{methods[-1]}", missing))


@pytest.fixture
def webhook(b: Phone, lsp_id: bytes, push: PushServer) -> Webhook:
    """B's."""
    hook = Webhook(b, lsp_id, push)
    hook.expect(WEBHOOK_REGISTERED)
    return hook


def some_message() -> PaymentPending:
    return PaymentPending(
        pid=secrets.token_bytes(32),
        payment_hashes=(secrets.token_bytes(32),),
        amount_msat=1,
        release_by_height=1,
        hold_until=1,
    )


def waiting(lsp: Lsp, htlcs: int) -> Predicate:
    def missing() -> str | None:
        seen = len(lsp.status()["waiting_for_a_client"])
        return None if seen == htlcs else f"{seen} of {htlcs} HTLCs wait"

    return Predicate("waiting_for_a_client", missing)


def stored(lsp: Lsp, b: Phone, messages: int) -> Predicate:
    def missing() -> str | None:
        seen = lsp.status()["mailbox"].get(b.node_id.hex(), {"messages": 0})["messages"]
        return None if seen == messages else f"{seen} of {messages} messages are stored"

    return Predicate("stored", missing)


def test_an_lsp_tells_what_it_offers(b: Phone, lsp_id: bytes, testbed: Testbed) -> None:
    policy = testbed.topology.components["LSP"].policy
    assert info.read_answer(lsp_id, b.call(lsp_id, info.GET_INFO)) == LspInfo(
        versions=(1,),
        transit_release=True,
        forwards_with_payer_offline=False,
        pays_on_behalf=True,
        courier=True,
        max_holds=policy.max_holds,
        max_hold_seconds=policy.max_hold_seconds,
        max_hold_blocks=policy.max_hold_blocks,
        max_amount_msat=policy.max_amount_msat,
        min_margin_blocks=policy.min_margin_blocks,
    )


def test_webhooks_are_set_listed_and_removed(b: Phone, lsp: Lsp, lsp_id: bytes) -> None:
    def set_webhook(app_name: str, url: str) -> dict[str, Any]:
        return b.call(lsp_id, lsps5.SET_WEBHOOK, app_name=app_name, webhook=url).result()

    most = {"max_webhooks": DEFAULT_MAX_WEBHOOKS}
    one, other = "https://127.0.0.1/1", "https://127.0.0.1/2"
    assert set_webhook("phone", one) == {"num_webhooks": 1, "no_change": False} | most
    assert set_webhook("phone", one) == {"num_webhooks": 1, "no_change": True} | most
    assert set_webhook("phone", other) == {"num_webhooks": 1, "no_change": False} | most
    assert set_webhook("tablet", one) == {"num_webhooks": 2, "no_change": False} | most
    registered = {hook["app_name"]: hook["url"] for hook in lsp.status()["webhooks"]}
    assert registered == {"phone": other, "tablet": one}

    assert b.call(lsp_id, lsps5.REMOVE_WEBHOOK, app_name="phone").result() == {}
    assert b.call(lsp_id, lsps5.LIST_WEBHOOKS).result() == {"app_names": ["tablet"]} | most


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        (lsps5.SET_WEBHOOK, {"app_name": "x" * 65, "webhook": "https://x.example/"}, lsps5.TOO_LONG),
        (lsps5.SET_WEBHOOK, {"app_name": "x", "webhook": "https://x.example/" + "x" * 1024}, lsps5.TOO_LONG),
        (lsps5.SET_WEBHOOK, {"app_name": "x", "webhook": "no URL"}, lsps5.URL_PARSE_ERROR),
        (lsps5.SET_WEBHOOK, {"app_name": "x", "webhook": "http://x.example/"}, lsps5.UNSUPPORTED_PROTOCOL),
        (lsps5.SET_WEBHOOK, {"app_name": "x"}, jsonrpc.INVALID_PARAMS),
        (lsps5.REMOVE_WEBHOOK, {"app_name": "never set"}, lsps5.APP_NAME_NOT_FOUND),
        ("lsps5.no_such_method", {}, jsonrpc.METHOD_NOT_FOUND),
    ],
)
def test_what_cannot_be_done_is_answered_with_its_error(
    b: Phone, lsp: Lsp, lsp_id: bytes, method: str, params: dict[str, Any], code: int
) -> None:
    with pytest.raises(RpcError) as refused:
        b.call(lsp_id, method, **params).result()
    assert refused.value.code == code
    assert lsp.status()["webhooks"] == []


def test_there_are_only_so_many_webhooks(b: Phone, lsp_id: bytes) -> None:
    for number in range(DEFAULT_MAX_WEBHOOKS):
        b.call(lsp_id, lsps5.SET_WEBHOOK, app_name=str(number), webhook="https://127.0.0.1/").result()
    with pytest.raises(RpcError) as refused:
        b.call(lsp_id, lsps5.SET_WEBHOOK, app_name="one more", webhook="https://127.0.0.1/").result()
    assert refused.value.code == lsps5.TOO_MANY_WEBHOOKS


def test_what_is_no_request_is_answered_without_an_id(b: Phone, lsp_id: bytes) -> None:
    b.run(b.node.send_custom(lsp_id, jsonrpc.MESSAGE_TYPE, b"no JSON"))

    def missing() -> str | None:
        said = [event.data for event in b.events if isinstance(event, CustomMessage)]
        return None if any(b'"id":null' in data and b"-32700" in data for data in said) else f"answers {said}"

    wait_for(Predicate("complaint", missing))


def test_a_registration_is_confirmed_at_the_webhook_and_outlives_the_component(
    b: Phone, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    lsp.kill()
    lsp.start()
    wait_for(interceptor_attached(lsp), 60)
    assert [hook["url"] for hook in lsp.status()["webhooks"]] == [webhook.url]
    assert b.call(lsp_id, lsps5.LIST_WEBHOOKS).result()["app_names"] == ["phone"]

    (post,) = webhook.posts()
    receiver = Receiver(lsp_id)
    receiver.accept(post.headers, post.body.encode(), time.time())
    with pytest.raises(RefusedNotificationError, match="replay"):
        receiver.accept(post.headers, post.body.encode(), time.time())
    stranger = Receiver(b.node_id)
    with pytest.raises(RefusedNotificationError, match="not signed by"):
        stranger.accept(post.headers, post.body.encode(), time.time())


def test_an_offline_phone_is_called_once_for_its_messages_and_again_after_a_visit(
    a: Phone, b: Phone, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    b.go_offline("LSP")
    for count in (1, 2):
        a.send(b.node_id, some_message(), via=[lsp_id])
        wait_for(stored(lsp, b, count))
    payment = a.start(a.pay(b.invoice(AMOUNT_MSAT)))
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE, Method.PAYMENT_INCOMING)  # each has its own cooldown

    b.go_online("LSP")
    assert payment.result(60).status is PaymentStatus.SUCCEEDED
    wait_for(stored(lsp, b, 0))
    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE, Method.PAYMENT_INCOMING, Method.ONION_MESSAGE)


def test_a_phone_that_is_online_is_not_called(a: Phone, b: Phone, lsp_id: bytes, webhook: Webhook) -> None:
    message = some_message()
    a.send(b.node_id, message, via=[lsp_id])
    b.expect(message)
    assert a.run(a.pay(b.invoice(AMOUNT_MSAT))).status is PaymentStatus.SUCCEEDED

    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE)


def test_an_htlc_waits_for_the_phone_that_it_wakes(a: Phone, b: Phone, lsp: Lsp, webhook: Webhook) -> None:
    before = money.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    payment = a.start(a.pay(invoice))
    webhook.expect(WEBHOOK_REGISTERED, Method.PAYMENT_INCOMING)
    wait_for(waiting(lsp, 1))

    b.go_online("LSP")
    result = payment.result(60)
    assert result.status is PaymentStatus.SUCCEEDED
    wait_for(waiting(lsp, 0))
    moved = money.count(a.testbed).moved_since(before)
    assert moved == {"A": -AMOUNT_MSAT - result.fee_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


def test_an_htlc_fails_if_the_phone_does_not_come(a: Phone, b: Phone, lsp: Lsp, webhook: Webhook) -> None:
    before = money.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    result = a.run(a.pay(invoice, timeout_seconds=1))
    assert result.status is PaymentStatus.FAILED
    webhook.expect(WEBHOOK_REGISTERED, Method.PAYMENT_INCOMING)
    assert lsp.status()["waiting_for_a_client"] == []

    b.go_online("LSP")
    assert set(money.count(a.testbed).moved_since(before).values()) == {0}


def test_an_htlc_for_nobody_s_phone_does_not_wait(a: Phone, b: Phone, lsp: Lsp) -> None:
    """B has no webhook here, so nobody could wake it: its node may say at once that it is not there."""
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    so_far = len(lsp.events())
    assert a.run(a.pay(invoice, timeout_seconds=1)).status is PaymentStatus.FAILED
    assert {event["what"] for event in lsp.events()[so_far:]} == {"answer resume"}

    b.go_online("LSP")


def test_a_payer_is_called_when_its_link_is_needed_for_the_release(
    a: Phone, b: Phone, lsp_id: bytes, push: PushServer
) -> None:
    webhook = Webhook(a, lsp_id, push)
    hold = Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)
    a.go_offline("LSP")
    b.send(lsp_id, PaymentRelease(pid=hold.pid))
    webhook.expect(WEBHOOK_REGISTERED, Method.SETTLEMENT_PENDING)

    a.go_online("LSP")
    assert hold.result().status is PaymentStatus.SUCCEEDED
    hold.update(BlockState.SETTLED)


def test_a_notification_is_repeated_until_the_webhook_takes_it(
    a: Phone, b: Phone, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    webhook.server.container.stop(timeout=0)
    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])

    def missing() -> str | None:
        failed = [event for event in lsp.events() if event["what"].startswith(webhook.url)]
        return None if failed else "no post has failed"

    wait_for(Predicate("post_failed", missing))
    webhook.server.container.start()
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE)


@pytest.mark.parametrize("host", [IMPOSTOR, "127.0.0.1", "169.254.169.254"])
def test_nothing_is_posted_to_impostors_and_forbidden_addresses(
    b: Phone, lsp: Lsp, lsp_id: bytes, push: PushServer, host: str
) -> None:
    webhook = Webhook(b, lsp_id, push, host)
    why = {IMPOSTOR: "its certificate is not valid"}.get(host, "its address is not permitted")

    def missing() -> str | None:
        said = [error["what"] for error in lsp.status()["last_errors"]]
        return None if any(each.startswith(f"{webhook.url}: {why}") for each in said) else f"errors {said}"

    wait_for(Predicate("post_refused", missing))
    assert webhook.posts() == []
