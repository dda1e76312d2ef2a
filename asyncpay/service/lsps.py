"""Phones: their requests over LSPS0 are answered, and their webhooks called."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

from asyncpay.config import LspConfig
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.events import LspEvent, WebhookSet
from asyncpay.engine.lsp.policy import describe
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.lightning import NodeId
from asyncpay.lsps.jsonrpc import INTERNAL_ERROR, MESSAGE_TYPE, RpcError, refusal
from asyncpay.lsps.lsps5 import Client
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED, Notification
from asyncpay.lsps.notifier import Notifier
from asyncpay.lsps.server import Server
from asyncpay.lsps.webhooks import Poster
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import Node, NodeError
from asyncpay.service.journal import Journal
from asyncpay.service.loop import NotStoredError
from asyncpay.service.tasks import guarded

MAX_WAITING = 20
"""Requests of one peer that wait for their answer; a wallet asks one at a time."""


class Lsps:
    """The LSP's door for phones. An async context manager. ValueError if the CA file cannot be used.

    stored: hands an event to the engine and returns when what it changed is on disk. It raises NotStoredError if the
    store cannot take it; the client gets an error then.
    """

    def __init__(
        self,
        config: LspConfig,
        node: Node,
        lsp: Lsp,
        journal: Journal,
        stored: Callable[[LspEvent], Awaitable[None]],
    ) -> None:
        self._node = node
        self._state = lsp.state
        self._journal = journal
        self._stored = stored
        self._poster = Poster(config.webhooks.ca_file, config.webhooks.allowed_networks)
        self._notifier = Notifier(self._poster, node.sign)
        self._server = Server(describe(config.policy, node.capabilities))
        self._requests: asyncio.Queue[CustomMessage] = asyncio.Queue()
        self._waiting: Counter[NodeId] = Counter()

    async def __aenter__(self) -> Self:
        await self._poster.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.__aexit__(kind, error, trace)

    def take(self, message: CustomMessage) -> None:
        """Have a request answered in its turn. One that is too many of its peer's is dropped."""
        if message.type != MESSAGE_TYPE:
            return
        if self._waiting[message.peer] >= MAX_WAITING:
            self._journal.note("LSPS0 request dropped", client=message.peer, because="too many at once")
            return
        self._waiting[message.peer] += 1
        self._requests.put_nowait(message)

    async def answer_requests(self) -> None:
        """Answer requests, one after the other, until cancelled: what one stores counts for the limits of the next."""
        async with asyncio.TaskGroup() as posts:
            while True:
                message = await self._requests.get()
                await guarded(self._journal, "LSPS0 request", self._answer(message, posts))
                self._waiting[message.peer] -= 1
                self._waiting += Counter()  # forgets the zeros

    async def _answer(self, message: CustomMessage, posts: asyncio.TaskGroup) -> None:
        """A client is told that something is done only when it is stored."""
        webhooks = self._state.tables.webhooks_of(message.peer)
        client = Client(message.peer, webhooks, self._state.channels.has(message.peer))
        handled = self._server.handle(client, message.data)
        if handled is None:
            return
        if handled.event is not None:
            self._journal.note(type(handled.event).__name__, client=message.peer, app_name=handled.event.app_name)
            try:
                await self._stored(handled.event)
            except NotStoredError as error:
                await self._send(message.peer, refusal(handled.request_id, RpcError(INTERNAL_ERROR, str(error))))
                return
        if isinstance(handled.event, WebhookSet):
            # Before the answer, so that no other notification overtakes it (bLIP-55 wants it first).
            registered = [
                w for w in self._state.tables.webhooks_of(message.peer) if w.app_name == handled.event.app_name
            ]
            post = self._post_to(registered, Notification.of(WEBHOOK_REGISTERED))
            posts.create_task(guarded(self._journal, "webhook_registered", post))
        await self._send(message.peer, handled.payload)

    async def _send(self, client: NodeId, payload: bytes) -> None:
        try:
            await self._node.send_custom(client, MESSAGE_TYPE, payload)
        except NodeError as error:
            self._journal.note("LSPS0 answer not sent", client=client, because=error)

    async def _post_to(self, webhooks: Iterable[Webhook], notification: Notification) -> None:
        await self._post(webhooks, notification)

    async def ring(self, webhooks: Iterable[Webhook], method: Method, expiry_height: int | None) -> bool:
        """Notify a client by all of its webhooks; whether at least one took it."""
        return await self._post(webhooks, Notification.of(method, expiry_height))

    async def _post(self, webhooks: Iterable[Webhook], notification: Notification) -> bool:
        webhooks = list(webhooks)
        try:
            posts = await self._notifier.notify(webhooks, notification)
        except NodeError as error:
            self._journal.error("a notification could not be signed", error)
            return False
        for webhook, post in zip(webhooks, posts, strict=True):
            if post.failure is not None:
                self._journal.error(f"{webhook.url}: {post.failure.value}", post.detail)
        return any(post.delivered for post in posts)
