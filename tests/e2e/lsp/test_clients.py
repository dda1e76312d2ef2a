"""Phones and their LSP: its services, webhooks over LSPS0, and the notification of offline phones.

The phones' wallets are stopped: the tests script them. Posts to webhooks are checked at the push gateway.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from asyncpay.engine.lsp.records import Method
from asyncpay.lightning import PaymentStatus
from asyncpay.lsp_info import LspInfo
from asyncpay.lsps import info, jsonrpc, lsps5
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED
from asyncpay.lsps.server import DEFAULT_MAX_WEBHOOKS
from asyncpay.node_events import CustomMessage
from asyncpay.wire.messages import BlockState, PaymentPending, PaymentRelease
from harness.checks import balances
from harness.inside.interface import Push
from harness.pytest_plugin import running_testbed
from harness.services import push_gateway
from harness.services.lsp import Lsp, interceptor_attached
from harness.services.phone_container import WALLET
from harness.services.push_gateway import check_privacy
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.balance_checks import assert_paid_once, assert_returned
from tests.support.implementations import IMPLEMENTATIONS, capabilities, lsp_policy, topology_on
from tests.support.scripted_peer import Hold, ScriptedPeer

AMOUNT_MSAT = 12_000_000
WALLETS = {"A.component": "asyncpay", "B.component": "asyncpay"}


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    topology = topology_on(request.param, "phones.yaml", "LSP", settings=WALLETS)
    with running_testbed(topology, request.config) as running:
        for phone in running.phones.values():
            phone.wallet.call("unregister")
            phone.container.do_to_app(WALLET, "stop")
        yield running


@pytest.fixture
def a(testbed: Testbed, lsp_id: bytes) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(testbed, "A") as phone:
        without_webhooks(phone, lsp_id)
        phone.forget_failures()  # LND avoids a channel on which an HTLC was not resolved
        yield phone


@pytest.fixture
def b(testbed: Testbed, lsp_id: bytes) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(testbed, "B") as phone:
        without_webhooks(phone, lsp_id)
        yield phone


def without_webhooks(phone: ScriptedPeer, lsp_id: bytes) -> None:
    """Bring the phone online, and remove its webhooks."""
    phone.go_online("LSP")
    for app_name in phone.call(lsp_id, lsps5.LIST_WEBHOOKS).result()["app_names"]:
        phone.call(lsp_id, lsps5.REMOVE_WEBHOOK, app_name=app_name).result()


class Webhook:
    """A phone's registration at the push gateway."""

    def __init__(self, phone: ScriptedPeer, lsp_id: bytes, host: str = push_gateway.NAME) -> None:
        self.gateway = phone.testbed.push
        self.phone = phone.name
        self.url = self.gateway.subscribe(phone.name, lsp_id.hex()).replace(f"//{push_gateway.NAME}/", f"//{host}/")
        self._before = len(self.gateway.pushes(phone.name))
        phone.call(lsp_id, lsps5.SET_WEBHOOK, app_name="phone", webhook=self.url).result()

    def posts(self) -> list[Push]:
        return self.gateway.pushes(self.phone)[self._before :]

    def methods(self) -> list[str | None]:
        """Return the methods of its notifications so far: all are genuine, and contain nothing but the method."""
        posts = self.posts()
        check_privacy(posts)
        assert [post.refused for post in posts if post.refused] == []
        return [post.method for post in posts]

    def expect(self, *methods: str) -> None:
        """Wait until it has received exactly these notifications, in this order."""

        def missing() -> str | None:
            seen = self.methods()
            return None if seen == list(methods) else f"notified of {seen}"

        wait_for(Predicate(f"notified_of_{methods[-1]}", missing))


@pytest.fixture
def webhook(b: ScriptedPeer, lsp_id: bytes) -> Webhook:
    """B's."""
    hook = Webhook(b, lsp_id)
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


def stored(lsp: Lsp, b: ScriptedPeer, messages: int) -> Predicate:
    def missing() -> str | None:
        seen = lsp.status()["mailbox"].get(b.node_id.hex(), {"messages": 0})["messages"]
        return None if seen == messages else f"{seen} of {messages} messages are stored"

    return Predicate("stored", missing)


def test_an_lsp_tells_what_it_offers(b: ScriptedPeer, lsp_id: bytes, testbed: Testbed) -> None:
    policy, node = lsp_policy(testbed, "LSP"), capabilities(testbed, "LSP")
    assert info.read_answer(lsp_id, b.call(lsp_id, info.GET_INFO)) == LspInfo(
        versions=(1,),
        transit_release=node.transit_release.able,
        forwards_with_payer_offline=node.forwards_with_payer_offline.able,
        pays_on_behalf=node.pays_on_behalf.able,
        courier=True,
        max_holds=policy.max_holds,
        max_hold_seconds=policy.max_hold_seconds,
        max_hold_blocks=policy.max_hold_blocks,
        max_amount_msat=policy.max_amount_msat,
        min_margin_blocks=policy.min_margin_blocks,
    )


def test_webhooks_are_set_listed_and_removed(b: ScriptedPeer, lsp: Lsp, lsp_id: bytes) -> None:
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
    b: ScriptedPeer, lsp: Lsp, lsp_id: bytes, method: str, params: dict[str, Any], code: int
) -> None:
    with pytest.raises(RpcError) as refused:
        b.call(lsp_id, method, **params).result()
    assert refused.value.code == code
    assert lsp.status()["webhooks"] == []


def test_there_are_only_so_many_webhooks(b: ScriptedPeer, lsp_id: bytes) -> None:
    for number in range(DEFAULT_MAX_WEBHOOKS):
        b.call(lsp_id, lsps5.SET_WEBHOOK, app_name=str(number), webhook="https://127.0.0.1/").result()
    with pytest.raises(RpcError) as refused:
        b.call(lsp_id, lsps5.SET_WEBHOOK, app_name="one more", webhook="https://127.0.0.1/").result()
    assert refused.value.code == lsps5.TOO_MANY_WEBHOOKS


def test_what_is_no_request_is_answered_without_an_id(b: ScriptedPeer, lsp_id: bytes) -> None:
    b.run(b.node.send_custom(lsp_id, jsonrpc.MESSAGE_TYPE, b"no JSON"))

    def missing() -> str | None:
        said = [event.data for event in b.events if isinstance(event, CustomMessage)]
        return None if any(b'"id":null' in data and b"-32700" in data for data in said) else f"answers {said}"

    wait_for(Predicate("complaint", missing))


def test_a_registration_is_confirmed_at_the_webhook_and_outlives_the_component(
    b: ScriptedPeer, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    lsp.kill()
    lsp.start()
    wait_for(interceptor_attached(lsp), 60)
    assert [hook["url"] for hook in lsp.status()["webhooks"]] == [webhook.url]
    assert b.call(lsp_id, lsps5.LIST_WEBHOOKS).result()["app_names"] == ["phone"]
    webhook.expect(WEBHOOK_REGISTERED)


def test_an_offline_phone_is_called_once_for_its_messages_and_again_after_a_visit(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    for count in (1, 2):
        a.send(b.node_id, some_message(), via=[lsp_id])
        wait_for(stored(lsp, b, count))
    payment = a.start(a.pay(invoice))
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE, Method.PAYMENT_INCOMING)  # each has its own cooldown

    b.go_online("LSP")
    assert payment.result(60).status is PaymentStatus.SUCCEEDED
    wait_for(stored(lsp, b, 0))
    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE, Method.PAYMENT_INCOMING, Method.ONION_MESSAGE)


def test_a_phone_that_is_online_is_not_called(
    a: ScriptedPeer, b: ScriptedPeer, lsp_id: bytes, webhook: Webhook
) -> None:
    message = some_message()
    a.send(b.node_id, message, via=[lsp_id])
    b.expect(message)
    assert a.run(a.pay(b.invoice(AMOUNT_MSAT))).status is PaymentStatus.SUCCEEDED

    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE)


def test_an_htlc_waits_for_the_phone_that_it_wakes(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, webhook: Webhook
) -> None:
    before = balances.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    payment = a.start(a.pay(invoice))
    webhook.expect(WEBHOOK_REGISTERED, Method.PAYMENT_INCOMING)
    wait_for(waiting(lsp, 1))

    b.go_online("LSP")
    result = payment.result(60)
    wait_for(waiting(lsp, 0))
    assert_paid_once(a.testbed, before, result, AMOUNT_MSAT)


def test_an_htlc_fails_if_the_phone_does_not_come(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, webhook: Webhook) -> None:
    before = balances.count(a.testbed)
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    result = a.run(a.pay(invoice, timeout_seconds=1))
    webhook.expect(WEBHOOK_REGISTERED, Method.PAYMENT_INCOMING)
    assert lsp.status()["waiting_for_a_client"] == []

    b.go_online("LSP")
    assert_returned(a.testbed, before, result)


def test_an_htlc_for_nobody_s_phone_does_not_wait(a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp) -> None:
    """B has no webhook here, so it cannot be woken: the LSP's node may fail the HTLC immediately."""
    invoice = b.invoice(AMOUNT_MSAT)
    b.go_offline("LSP")
    so_far = len(lsp.events())
    assert a.run(a.pay(invoice, timeout_seconds=1)).status is PaymentStatus.FAILED

    def missing() -> str | None:
        return None if len(lsp.events()) > so_far else "it has written nothing"

    wait_for(Predicate("noted", missing))
    assert {event["what"] for event in lsp.events()[so_far:]} == {"resolve resume"}

    b.go_online("LSP")


def test_a_payer_is_called_when_its_link_is_needed_for_the_release(
    a: ScriptedPeer, b: ScriptedPeer, lsp_id: bytes
) -> None:
    before = balances.count(a.testbed)
    webhook = Webhook(a, lsp_id)
    hold = Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)
    a.go_offline("LSP")
    b.send(lsp_id, PaymentRelease(pid=hold.pid))
    webhook.expect(WEBHOOK_REGISTERED, Method.SETTLEMENT_PENDING)

    a.go_online("LSP")
    assert_paid_once(a.testbed, before, hold.result(), AMOUNT_MSAT)
    hold.update(BlockState.SETTLED)


def test_a_notification_is_repeated_until_the_webhook_takes_it(
    a: ScriptedPeer, b: ScriptedPeer, lsp: Lsp, lsp_id: bytes, webhook: Webhook
) -> None:
    a.testbed.engine.kill(push_gateway.NAME)
    b.go_offline("LSP")
    a.send(b.node_id, some_message(), via=[lsp_id])

    def missing() -> str | None:
        failed = [event for event in lsp.events() if event.get("url") == webhook.url]
        return None if failed else "no post has failed"

    wait_for(Predicate("post_failed", missing))
    a.testbed.engine.start(push_gateway.NAME)
    webhook.expect(WEBHOOK_REGISTERED, Method.ONION_MESSAGE)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("{project}-push-1", "its certificate is not valid"),  # the gateway by its container's name
        ("127.0.0.1", "its address is not permitted"),
        ("169.254.169.254", "its address is not permitted"),
    ],
)
def test_nothing_is_posted_to_impostors_and_forbidden_addresses(
    b: ScriptedPeer, lsp: Lsp, lsp_id: bytes, host: str, why: str
) -> None:
    webhook = Webhook(b, lsp_id, host.format(project=b.testbed.engine.project))

    def missing() -> str | None:
        errors = lsp.status()["last_errors"]
        said = [error["because"] for error in errors if error.get("url") == webhook.url]
        return None if any(each.startswith(why) for each in said) else f"errors {errors}"

    wait_for(Predicate("post_refused", missing))
    assert webhook.posts() == []
