"""The LSP's service for phones: answers to their requests over LSPS0, and notifications to their webhooks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from asyncpay.config import LspConfig
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import LspEvent, WebhookSet
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.engine.policy import describe, suited
from asyncpay.fair_shares import FairSemaphore, RateLimit, Slot, TooManyError
from asyncpay.lightning import NodeId
from asyncpay.log_events import LogEvent
from asyncpay.lsps.jsonrpc import CLIENT_REJECTED, INTERNAL_ERROR, MESSAGE_TYPE, RpcError, refusal
from asyncpay.lsps.lsps5 import Client
from asyncpay.lsps.notifications import WEBHOOK_REGISTERED, Notification
from asyncpay.lsps.server import Server
from asyncpay.lsps.webhooks import Notifier, Poster
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import Node, NodeError
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.common.loop import NotStoredError

MAX_WAITING = 20
"""The most waiting requests of one client; a wallet sends one at a time."""
MAX_STRANGERS_AT_ONCE = 8
"""The most concurrent answers to peers without a channel. A peer that does not read takes half a minute."""
MAX_WAITING_OF_A_STRANGER = 3
MAX_WAITING_OF_STRANGERS = 60
"""The most waiting requests of all peers without a channel together."""
MAX_REGISTRATIONS = 30
"""The burst of webhooks that a client may set: each that it may have three times."""
REGISTRATION_SECONDS = 10
"""The pause until it may set one more: each costs a signature of the node, and a post."""


class LspsService:
    """The LSP's LSPS0 service for phones. An async context manager. ValueError if the CA file cannot be used.

    stored: passes an event to the engine, and returns when its changes are stored. It raises NotStoredError if they
    cannot be stored; then the client gets an error.
    """

    def __init__(
        self,
        config: LspConfig,
        node: Node,
        lsp: Lsp,
        event_log: EventLog,
        stored: Callable[[LspEvent], Awaitable[None]],
    ) -> None:
        self._node = node
        self._state = lsp.state
        self._event_log = event_log
        self._stored = stored
        self._poster = Poster(config.webhooks.ca_file, config.webhooks.allowed_networks)
        self._notifier = Notifier(self._poster, node.sign)
        self._server = Server(describe(suited(config.policy, node.capabilities), node.capabilities))
        self._requests: asyncio.Queue[tuple[CustomMessage, Slot]] = asyncio.Queue()
        self._clients = FairSemaphore(each=1, waiting=MAX_WAITING)
        self._strangers = FairSemaphore(
            each=1,
            waiting=MAX_WAITING_OF_A_STRANGER,
            at_once=MAX_STRANGERS_AT_ONCE,
            waiting_in_all=MAX_WAITING_OF_STRANGERS,
        )
        self._registrations = RateLimit(MAX_REGISTRATIONS, REGISTRATION_SECONDS)

    async def __aenter__(self) -> Self:
        await self._poster.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.__aexit__(kind, error, trace)

    def take(self, message: CustomMessage) -> None:
        """Queue a request for its answer. A request beyond the limits is dropped.

        Peers without a channel share their limits, because a connection costs nothing.
        """
        if message.type != MESSAGE_TYPE:
            return
        shares = self._clients if self._state.node.channels.has(message.peer) else self._strangers
        try:
            self._requests.put_nowait((message, shares.slot(message.peer)))
        except TooManyError as error:
            self._drop(message, error)

    def _drop(self, message: CustomMessage, error: TooManyError) -> None:
        self._event_log.write_often(LogEvent.LSPS0_REQUEST_DROPPED, client=message.peer, because=error)

    async def answer_requests(self) -> None:
        """Answer requests until cancelled: those of different peers concurrently, so that a peer that does not read
        delays only itself; those of one peer in order, because each may change the limits for the next.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                message, slot = await self._requests.get()
                tasks.create_task(
                    guarded(self._event_log, "LSPS0 request", partial(self._in_turn, message, slot, tasks))
                )

    async def _in_turn(self, message: CustomMessage, slot: Slot, posts: asyncio.TaskGroup) -> None:
        try:
            async with slot:
                await self._answer(message, posts)
        except TooManyError as error:
            self._drop(message, error)

    async def _answer(self, message: CustomMessage, posts: asyncio.TaskGroup) -> None:
        """Answer a request. A success is reported only after the change is stored."""
        webhooks = self._state.records.webhooks_of(message.peer)
        client = Client(message.peer, webhooks, self._state.node.channels.has(message.peer))
        handled = self._server.handle(client, message.data)
        if handled is None:
            return
        if isinstance(handled.event, WebhookSet) and (seconds := self._registrations.seconds_to_wait(message.peer)):
            slow_down = {"message": f"too many webhooks set; try again in {seconds:.0f} s"}
            error = RpcError(CLIENT_REJECTED, "Client rejected", slow_down)
            await self._send(message.peer, refusal(handled.request_id, error))
            return
        if handled.event is not None:
            self._event_log.write(
                LogEvent(type(handled.event).__name__), client=message.peer, app_name=handled.event.app_name
            )
            try:
                await self._stored(handled.event)
            except NotStoredError as error:
                await self._send(message.peer, refusal(handled.request_id, RpcError(INTERNAL_ERROR, str(error))))
                return
        if isinstance(handled.event, WebhookSet):
            # Before the answer, so that no other notification is sent first (bLIP-55 requires this one to be first).
            registered = [
                w for w in self._state.records.webhooks_of(message.peer) if w.app_name == handled.event.app_name
            ]
            post = partial(self._post_to, registered, Notification.of(WEBHOOK_REGISTERED))
            posts.create_task(guarded(self._event_log, "webhook_registered", post))
        await self._send(message.peer, handled.payload)

    async def _send(self, client: NodeId, payload: bytes) -> None:
        try:
            await self._node.send_custom(client, MESSAGE_TYPE, payload)
        except NodeError as error:
            self._event_log.write_often(LogEvent.LSPS0_ANSWER_NOT_SENT, client=client, because=error)

    async def _post_to(self, webhooks: Iterable[Webhook], notification: Notification) -> None:
        await self._post(webhooks, notification)

    async def notify(self, webhooks: Iterable[Webhook], method: Method, expiry_height: int | None) -> bool:
        """Notify a client through all of its webhooks; return whether at least one accepted it."""
        return await self._post(webhooks, Notification.of(method, expiry_height))

    async def _post(self, webhooks: Iterable[Webhook], notification: Notification) -> bool:
        webhooks = list(webhooks)
        try:
            posts = await self._notifier.notify(webhooks, notification)
        except NodeError as error:
            self._event_log.error(LogEvent.NOTIFICATION_NOT_SIGNED, error)
            return False
        for webhook, post in zip(webhooks, posts, strict=True):
            if post.failure is not None:
                because = f"{post.failure.value}: {post.detail}" if post.detail else post.failure.value
                self._event_log.error(LogEvent.WEBHOOK_NOT_CALLED, because, url=webhook.url)
        return any(post.delivered for post in posts)
