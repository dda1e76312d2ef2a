"""Followers of the event log: `asyncpay lsp follow`, through the control socket.

A component does not wait for them: each has a bounded queue, and is informed of the number of lines that it missed.
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
"""How often an idle follower is sent something: only a write detects that it has disconnected."""


class Follower:
    """One follower. The event log adds lines, and the task that sends them removes them."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[Mapping[str, object]] = asyncio.Queue(MOST_WAITING_LINES)
        self._missed = 0

    def put(self, line: Mapping[str, object]) -> None:
        """Add a line, or count it as missed if too many are waiting."""
        try:
            self._lines.put_nowait(line)
        except asyncio.QueueFull:
            self._missed += 1

    async def next(self) -> Mapping[str, object]:
        """Return the next line; before it, if lines were missed, a line with their number."""
        if self._missed and self._lines.empty():
            missed, self._missed = self._missed, 0
            return {"what": str(LogEvent.LINES_LOST), "lines": missed}
        return await self._lines.get()


class Followers:
    """All followers. Used within one event loop."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def put(self, line: Mapping[str, object]) -> None:
        """Add a line to each follower."""
        for follower in self._followers:
            follower.put(line)

    @contextmanager
    def one_more(self) -> Iterator[Follower]:
        """Add a follower for the duration of the context. Raises RefusedError if there are too many."""
        if len(self._followers) >= MOST_FOLLOWERS:
            raise RefusedError(f"{MOST_FOLLOWERS} commands already follow the log, the maximum. End one of them first.")
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def follow(self, _: Mapping[str, Any], progress: Progress) -> Plain:
        """Handle the verb: send each line as progress, and null when idle, until the caller disconnects."""
        with self.one_more() as follower:
            while True:
                try:
                    line = await asyncio.wait_for(follower.next(), ALIVE_SECONDS)
                except TimeoutError:
                    await progress(None)
                else:
                    await progress(line)
