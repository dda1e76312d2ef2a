"""Notifications in their turns: a gateway that does not answer delays its own clients, and after an outage the work is
bounded.
"""

import asyncio
import io
from collections.abc import Iterable

import pytest

from asyncpay.engine.lsp.interface import LspEvent, NotificationReported, Notify
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.lightning import NodeId
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp.pushes import MAX_PUSHES, MAX_PUSHES_OF_A_CLIENT, MAX_PUSHES_OF_A_GATEWAY, Pushes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client(number: int) -> NodeId:
    return b"\2" + number.to_bytes(32, "big")


class Gateways:
    """Webhooks of clients, and hosts that take a notification, refuse it, break, or do not answer."""

    def __init__(self) -> None:
        self.webhooks: dict[NodeId, list[Webhook]] = {}
        self.answers = asyncio.Event()
        self.posted: list[tuple[NodeId, Method]] = []
        self.under_way = 0

    def register(self, number: int, *hosts: str) -> NodeId:
        urls = [f"https://{host}/{number}" for host in hosts]
        node = client(number)
        self.webhooks[node] = [Webhook(client=node, app_name=url, url=url, used_at=0) for url in urls]
        return node

    def webhooks_of(self, node: NodeId) -> list[Webhook]:
        return self.webhooks.get(node, [])

    async def notify(self, webhooks: Iterable[Webhook], method: Method, _expiry_height: int | None) -> bool:
        (webhook,) = webhooks
        self.posted.append((webhook.client, method))
        self.under_way += 1
        if "silent" in webhook.url:
            await self.answers.wait()
        self.under_way -= 1
        assert "broken" not in webhook.url
        return "refusing" not in webhook.url


class Notified:
    """Pushes, and what they report."""

    def __init__(self, gateways: Gateways, tasks: asyncio.TaskGroup) -> None:
        self.reports: list[LspEvent] = []
        log = EventLog(io.StringIO())
        self.pushes = Pushes(gateways, gateways.webhooks_of, self.reports.append, log, tasks)

    def delivered(self) -> list[tuple[NodeId, bool]]:
        return [(each.client, each.delivered) for each in self.reports if isinstance(each, NotificationReported)]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


INCOMING, MESSAGE = Method.PAYMENT_INCOMING, Method.ONION_MESSAGE


async def test_each_is_reported_once_and_is_delivered_if_one_webhook_takes_it() -> None:
    gateways = Gateways()
    many = gateways.register(1, "refusing.example", "one.example", "broken.example")
    refused = gateways.register(2, "refusing.example")
    broken = gateways.register(3, "broken.example")
    removed = client(4)
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for each in (many, refused, broken, removed):
            notified.pushes.add(Notify(each, INCOMING))
        await settle()
    assert sorted(notified.delivered()) == [(many, True), (refused, False), (broken, False), (removed, False)]


async def test_a_gateway_that_does_not_answer_delays_its_own_clients_only() -> None:
    gateways = Gateways()
    of_silent = [gateways.register(number, "silent.example") for number in range(1000)]
    of_another = [gateways.register(1000 + number, "another.example") for number in range(1000)]
    both = gateways.register(5000, "silent.example", "another.example")
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for each in (*of_silent, *of_another, both):
            notified.pushes.add(Notify(each, INCOMING))
        for _ in range(30):
            await settle()
        assert notified.delivered() == [(each, True) for each in of_another]
        assert gateways.under_way == MAX_PUSHES_OF_A_GATEWAY
        gateways.answers.set()
    assert {each for each, _ in notified.delivered()} == {*of_silent, *of_another, both}
    assert len(notified.reports) == 2001


async def test_after_an_outage_a_bounded_number_is_under_way_and_money_goes_first() -> None:
    gateways = Gateways()
    clients = [gateways.register(number, f"{number % 8}.silent.example") for number in range(2000)]
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for each in clients:
            notified.pushes.add(Notify(each, MESSAGE))
        for each in clients[-16:]:
            notified.pushes.add(Notify(each, INCOMING))
        await settle()
        assert gateways.under_way == MAX_PUSHES
        assert len(asyncio.all_tasks()) < MAX_PUSHES + 5, "what waits has no task"
        begun = len(gateways.posted)
        gateways.answers.set()
    assert {method for _, method in gateways.posted[:begun]} == {MESSAGE}
    assert set(gateways.posted[begun : begun + 16]) == {(each, INCOMING) for each in clients[-16:]}
    assert len(notified.reports) == 2016


async def test_a_client_with_many_hosts_that_do_not_answer_delays_itself_only() -> None:
    """Names below one domain cost nothing. Its own webhook that answers has its turn when others have timed out."""
    gateways = Gateways()
    hosts = [[f"{host}.of{number}.silent.example" for host in range(10)] for number in range(30)]
    greedy = [gateways.register(number, *theirs) for number, theirs in enumerate(hosts)]
    honest = [gateways.register(1000 + number, "another.example") for number in range(300)]
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for each in greedy:
            for method in Method:
                notified.pushes.add(Notify(each, method))
        assert gateways.under_way == 0
        for each in honest:
            notified.pushes.add(Notify(each, INCOMING))
        for _ in range(30):
            await settle()
        assert notified.delivered() == [(each, True) for each in honest]
        assert gateways.under_way == MAX_PUSHES_OF_A_CLIENT * len(greedy)
        gateways.answers.set()
    assert len(gateways.posted) == len(greedy) * 10 * len(Method) + len(honest)
    assert len(notified.reports) == len(greedy) * len(Method) + len(honest)


async def test_what_waits_is_not_queued_twice() -> None:
    gateways = Gateways()
    node = gateways.register(1, "silent.example")
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for method in (INCOMING, INCOMING, MESSAGE, INCOMING):
            notified.pushes.add(Notify(node, method))
        await settle()
        gateways.answers.set()
        await settle()
        assert gateways.posted == [(node, INCOMING), (node, MESSAGE)]
        notified.pushes.add(Notify(node, INCOMING))
    assert len(notified.reports) == 3


async def test_a_webhook_that_is_removed_while_it_waits_is_not_posted_to() -> None:
    gateways = Gateways()
    waiting = [gateways.register(number, "silent.example") for number in range(MAX_PUSHES_OF_A_GATEWAY + 1)]
    async with asyncio.TaskGroup() as tasks:
        notified = Notified(gateways, tasks)
        for each in waiting:
            notified.pushes.add(Notify(each, INCOMING))
        await settle()
        del gateways.webhooks[waiting[-1]]
        gateways.answers.set()
    assert [each for each, _ in gateways.posted] == waiting[:-1]
    assert (waiting[-1], False) in notified.delivered()
