"""Requests over LSPS0 and the webhooks that they set: what a greedy peer does with them is no other peer's concern."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

import pytest
from coincurve import PrivateKey

from asyncpay.config import LspConfig
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import LspEvent
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capabilities, Capability, NodeId
from asyncpay.lsps import webhooks as notifier_module
from asyncpay.lsps.jsonrpc import CLIENT_REJECTED, MESSAGE_TYPE
from asyncpay.lsps.webhooks import Posted, Poster
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import NodeError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import lsps_service as lsps_module
from asyncpay.service.lsp.lsps_service import LspsService

pytestmark = pytest.mark.anyio

HONEST, GREEDY, *STRANGERS = (PrivateKey(bytes([number]) * 32).public_key.format() for number in range(1, 60))
ABLE = Capability(True, "")
CAPABILITIES = Capabilities(**{each.name: ABLE for each in fields(Capabilities)} | {"cutoff_blocks": 19})  # type: ignore[arg-type]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class ScriptedNode:
    """Signs, and gives peers their answers; some do not read."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.answers: list[tuple[NodeId, dict[str, Any]]] = []
        self.not_reading: set[NodeId] = set()
        self.signatures = 0

    async def send_custom(self, peer: NodeId, _: int, data: bytes) -> None:
        if peer in self.not_reading:
            await asyncio.Event().wait()
        self.answers.append((peer, json.loads(data)))

    async def sign(self, _: str) -> bytes:
        self.signatures += 1
        return bytes(65)


class HangingPosts(Poster):
    """No post to the greedy client ever ends."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def __aexit__(self, *_: object) -> None:
        pass

    async def post(self, url: str, *_: object, **__: object) -> Posted:
        self.begun.append(url)
        if "greedy" in url:
            await asyncio.Event().wait()
        return Posted()


class LspsHarness:
    def __init__(self) -> None:
        self.node = ScriptedNode()
        self.log = io.StringIO()
        self.posts = HangingPosts()
        config = LspConfig.model_validate(
            {"node": {"implementation": "cln", "rpc_file": "/x"}, "store": {"path": "x.sqlite"}}
        )
        self.lsp = Lsp(LspPolicy(), CAPABILITIES)
        self.lsp.state.node.channels.has = lambda peer: peer in (HONEST, GREEDY)  # type: ignore[method-assign]
        node: Any = self.node
        self.lsps = LspsService(config, node, self.lsp, EventLog(self.log), self._stored)
        self.lsps._notifier._poster = self.posts

    async def _stored(self, event: LspEvent) -> None:
        self.lsp.handle(1.0, event)

    def ask(self, peer: NodeId, method: str = "async_payments.get_info", call_id: str = "1", **params: Any) -> None:
        request = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        self.lsps.take(CustomMessage(peer, MESSAGE_TYPE, json.dumps(request).encode()))

    def answers_to(self, peer: NodeId) -> list[dict[str, Any]]:
        return [answer for to, answer in self.node.answers if to == peer]

    async def set_webhooks(self, peer: NodeId, number: int, first: int = 0) -> list[dict[str, Any]]:
        """The answers to so many requests, each with another address under one of ten names."""
        name = "greedy" if peer == GREEDY else "honest"
        before = len(self.answers_to(peer))
        for each in range(first, first + number):
            url = f"https://{name}.example/{each}"
            self.ask(peer, "lsps5.set_webhook", app_name=f"app {each % 10}", webhook=url)
            await settle()
        return self.answers_to(peer)[before:]


@asynccontextmanager
async def running() -> AsyncIterator[LspsHarness]:
    harness = LspsHarness()
    async with harness.lsps:
        answering = asyncio.create_task(harness.lsps.answer_requests())
        yield harness
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_peers_that_do_not_read_hold_up_nobody_else() -> None:
    """LND's SendCustomMessage returns when the peer has read what was sent to it before."""
    async with running() as harness:
        harness.node.not_reading = {GREEDY, *STRANGERS}
        for peer in (GREEDY, *STRANGERS):
            for _ in range(30):
                harness.ask(peer)
        await settle()
        harness.ask(HONEST)
        await settle()
        assert len(harness.answers_to(HONEST)) == 1


async def test_a_stranger_that_does_not_read_holds_up_no_other_stranger() -> None:
    async with running() as harness:
        harness.node.not_reading = {STRANGERS[0]}
        for _ in range(30):
            harness.ask(STRANGERS[0])
        harness.ask(STRANGERS[1])
        await settle()
        assert len(harness.answers_to(STRANGERS[1])) == 1


@pytest.mark.usefixtures("whole_log")
async def test_what_waits_of_a_client_and_of_all_strangers_is_bounded() -> None:
    async with running() as harness:
        harness.node.not_reading = {GREEDY, *STRANGERS}
        for _ in range(1000):
            harness.ask(GREEDY)
        await settle()
        assert harness.log.getvalue().count("dropped") == 1000 - 1 - lsps_module.MAX_WAITING
        for stranger in STRANGERS:
            for _ in range(10):
                harness.ask(stranger)
        await settle()
        of_strangers = lsps_module.MAX_STRANGERS_AT_ONCE + lsps_module.MAX_WAITING_OF_STRANGERS
        assert len(asyncio.all_tasks()) < lsps_module.MAX_WAITING + of_strangers + 10


async def test_one_peers_requests_are_answered_in_order() -> None:
    async with running() as harness:
        for number in range(10):
            harness.ask(HONEST, call_id=str(number))
        await settle()
        assert [answer["id"] for answer in harness.answers_to(HONEST)] == [str(number) for number in range(10)]


async def test_a_flood_of_registrations_calls_few_addresses_and_keeps_out_nobody_else() -> None:
    async with running() as harness:
        answers = await harness.set_webhooks(GREEDY, 300)
        refused = [answer["error"] for answer in answers if "error" in answer]
        assert len(refused) == 300 - lsps_module.MAX_REGISTRATIONS
        assert all(error["code"] == CLIENT_REJECTED for error in refused)
        assert "try again in" in refused[0]["data"]["message"]
        assert harness.node.signatures == lsps_module.MAX_REGISTRATIONS
        (answer,) = await harness.set_webhooks(HONEST, 1)
        assert "result" in answer
        assert harness.posts.begun[-1] == "https://honest.example/0"


async def test_a_client_whose_registrations_were_too_many_may_register_again_later() -> None:
    async with running() as harness:
        now = [0.0]
        harness.lsps._registrations._clock = lambda: now[0]
        await harness.set_webhooks(GREEDY, 2 * lsps_module.MAX_REGISTRATIONS)
        now[0] += lsps_module.REGISTRATION_SECONDS
        answers = await harness.set_webhooks(GREEDY, 2, first=100)
        assert ["error" in answer for answer in answers] == [False, True]


async def test_posts_to_one_client_that_never_end_leave_room_for_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier_module, "MAX_POSTS", 12)
    async with running() as harness, asyncio.TaskGroup() as tasks:

        def webhooks(client: NodeId, name: str) -> list[Webhook]:
            return [
                Webhook(client=client, app_name=str(each), url=f"https://{name}.example/{each}", used_at=0)
                for each in range(10)
            ]

        greedy = [
            tasks.create_task(harness.lsps.notify(webhooks(GREEDY, "greedy"), Method.ONION_MESSAGE, None))
            for _ in range(20)
        ]
        await settle()
        assert await harness.lsps.notify(webhooks(HONEST, "honest"), Method.ONION_MESSAGE, None)
        assert sum("greedy" in url for url in harness.posts.begun) == notifier_module.MAX_POSTS_OF_A_CLIENT
        for task in greedy:
            task.cancel()


async def test_an_answer_that_cannot_be_sent_is_that_peers_loss() -> None:
    async with running() as harness:

        async def refuse(*_: Any) -> None:
            raise NodeError("no such peer")

        harness.node.send_custom = refuse  # type: ignore[assignment, method-assign]
        harness.ask(GREEDY)
        await settle()
        del harness.node.send_custom
        harness.ask(HONEST)
        await settle()
        assert len(harness.answers_to(HONEST)) == 1
