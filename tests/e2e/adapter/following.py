"""Follow a node's events in the background, and wait for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import tenacity

from asyncpay.node_events import Attached, NodeEvent
from asyncpay.nodes.base import Node, NodeUnreachableError

BOUND_SECONDS = 60
"""Longer than any event takes on a busy machine; only a failing test waits for it."""

Event = TypeVar("Event")
Found = TypeVar("Found")


class Following:
    """One stream of events: `attached`, then `take` the relevant ones; the others stay in `untaken`."""

    def __init__(self, node: Node, attached: Attached, stream: AsyncIterator[NodeEvent]) -> None:
        self.node = node
        self.attached = attached
        self.untaken: list[NodeEvent] = []
        self._stream = stream
        self._news = asyncio.Condition()
        self._end: NodeUnreachableError | None = None

    async def follow(self) -> None:
        try:
            async for event in self._stream:
                await self._tell(event)
        except NodeUnreachableError as error:
            self._end = error
            await self._tell()

    async def take(self, kind: type[Event], where: Callable[[Event], bool] = lambda _: True) -> Event:
        """Return the earliest event of this kind that is not taken yet; wait for it if necessary."""

        def found() -> Event | None:
            matches = (event for event in self.untaken if isinstance(event, kind) and where(event))
            return next(matches, None)

        event = await self._wait(found, kind.__name__)
        self.untaken = [each for each in self.untaken if each is not event]
        return event

    async def end(self) -> NodeUnreachableError:
        """Wait for the stream's end."""
        return await self._wait(lambda: self._end, "the end of the stream")

    async def _tell(self, *events: NodeEvent) -> None:
        async with self._news:
            self.untaken.extend(events)
            self._news.notify_all()

    async def _wait(self, found: Callable[[], Found | None], what: str) -> Found:
        try:
            async with asyncio.timeout(BOUND_SECONDS), self._news:
                await self._news.wait_for(lambda: found() is not None)
                seen = found()
                assert seen is not None
                return seen
        except TimeoutError:
            raise AssertionError(f"{what} did not come; ended: {self._end}; untaken: {self.untaken}") from None


@asynccontextmanager
async def following(node: Node) -> AsyncIterator[Following]:
    """Attach to a node, with as many attempts as necessary, and follow its events."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(NodeUnreachableError),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(BOUND_SECONDS),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            stream = node.events()
            first = await anext(stream)
    assert isinstance(first, Attached)
    log = Following(node, first, stream)
    task = asyncio.create_task(log.follow())
    try:
        yield log
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stream.aclose()  # type: ignore[attr-defined]
