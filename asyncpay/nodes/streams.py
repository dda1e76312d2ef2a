"""Several sources of events as one stream, for adapters whose node reports in several ways."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from asyncpay.node_events import NodeEvent

MAX_WAITING_EVENTS = 1_000
"""More than these wait in the node instead, which then waits for us."""


class Merged:
    """Events in the order in which they are put. The source that ends first ends the stream. Must be closed."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[NodeEvent | Exception] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._tasks: list[asyncio.Task[None]] = []

    async def put(self, event: NodeEvent) -> None:
        """Report an event, once there is room for it."""
        await self._events.put(event)

    def follow(self, source: Callable[[], Awaitable[None]]) -> None:
        """Run a source in the background: it puts its events here, and raises when it ends."""
        self._tasks.append(asyncio.create_task(self._until_it_ends(source)))

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Everything that was put, and last the error of the source that ended first, after what came before it."""
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        """End all sources."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_it_ends(self, source: Callable[[], Awaitable[None]]) -> None:
        try:
            await source()
        except Exception as error:
            await self._events.put(error)
