"""Notifying a client: signed by the LSP's node, posted to the client's webhooks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from weakref import WeakValueDictionary

from asyncpay.engine.lsp.records import Webhook
from asyncpay.fair_semaphore import FairSemaphore, TooManyError
from asyncpay.lightning import NodeId
from asyncpay.lsps import notifications
from asyncpay.lsps.notifications import Notification
from asyncpay.lsps.webhooks import Failure, Posted, Poster

MAX_POSTS = 200
"""Posts under way at once, of all clients together: a bound on sockets."""
MAX_POSTS_OF_A_CLIENT = 10
"""Of one client: as many as it has webhooks."""
MAX_WAITING_POSTS = 40
"""Of one client: as many as it has webhooks, by each method."""


class Notifier:
    """Posts notifications, to each webhook one after the other and in order. sign: the node's `sign`."""

    def __init__(
        self,
        poster: Poster,
        sign: Callable[[str], Awaitable[bytes]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._poster = poster
        self._sign = sign
        self._clock = clock
        self._last_milliseconds = 0
        self._shares = FairSemaphore(each=MAX_POSTS_OF_A_CLIENT, waiting=MAX_WAITING_POSTS, at_once=MAX_POSTS)
        self._turns: WeakValueDictionary[tuple[NodeId, str], asyncio.Lock] = WeakValueDictionary()

    async def notify(self, webhooks: Iterable[Webhook], notification: Notification) -> list[Posted]:
        """Post to all of these, and tell how each went, in the same order.

        Raises only what `sign` raises, and then nothing was posted.
        """
        body = notification.body()
        signed = [(webhook, await self._headers(body)) for webhook in webhooks]
        return await asyncio.gather(*(self._post(webhook, headers, body) for webhook, headers in signed))

    async def _headers(self, body: str) -> dict[str, str]:
        # Never the same time twice: the same body at the same time has the same signature, and would look like
        # a replay to a server that has webhooks of several clients.
        self._last_milliseconds = max(self._last_milliseconds + 1, int(self._clock() * 1000))
        when = notifications.timestamp(self._last_milliseconds)
        return notifications.headers(when, await self._sign(notifications.signed_text(when, body)))

    async def _post(self, webhook: Webhook, headers: dict[str, str], body: str) -> Posted:
        turn = self._turns.setdefault(webhook.key, asyncio.Lock())
        try:
            async with self._shares.slot(webhook.client), turn:
                return await self._poster.post(webhook.url, headers, body.encode(), webhook.client)
        except TooManyError as error:
            return Posted(Failure.QUOTA, str(error))
