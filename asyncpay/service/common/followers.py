"""Those who watch the event log as it is written: `asyncpay lsp follow`, through the control socket.

A component does not wait for them: each has a bounded queue, and is told how many lines it missed.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from asyncpay.log_events import LogEvent
from asyncpay.service.common.control import Progress
from asyncpay.service.common.control_client import Plain, RefusedError

MOST_FOLLOWERS = 8
MOST_WAITING_LINES = 1_000
ALIVE_SECONDS = 10.0
"""How often a follower is sent something while nothing happens: only so it shows that it has gone."""


class Follower:
    """One of them. Lines are put in by the event log, and taken out by the task that sends them on."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[Mapping[str, object]] = asyncio.Queue(MOST_WAITING_LINES)
        self._missed = 0

    def put(self, line: Mapping[str, object]) -> None:
        """Take a line, or count it as missed while too many wait."""
        try:
            self._lines.put_nowait(line)
        except asyncio.QueueFull:
            self._missed += 1

    async def next(self) -> Mapping[str, object]:
        """The next line; before it, if lines were missed, one that says how many."""
        if self._missed and self._lines.empty():
            missed, self._missed = self._missed, 0
            return {"what": str(LogEvent.LINES_LOST), "lines": missed}
        return await self._lines.get()


class Followers:
    """All of them. Used within one event loop."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def put(self, line: Mapping[str, object]) -> None:
        """Give a line to each of them."""
        for follower in self._followers:
            follower.put(line)

    @contextmanager
    def one_more(self) -> Iterator[Follower]:
        """Within the block there is one more. Raises RefusedError if there are too many."""
        if len(self._followers) >= MOST_FOLLOWERS:
            raise RefusedError(f"it is followed {MOST_FOLLOWERS} times already. End one of those first.")
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def follow(self, _: Mapping[str, Any], progress: Progress) -> Plain:
        """The verb of the control socket: each line as progress, and null from time to time, until the caller goes."""
        with self.one_more() as follower:
            while True:
                try:
                    line = await asyncio.wait_for(follower.next(), ALIVE_SECONDS)
                except TimeoutError:
                    await progress(None)
                else:
                    await progress(line)
