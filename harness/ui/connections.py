"""HTTP connections that other users of the machine cannot use up: they need no token to open one and to send nothing.

uvicorn waits for the head of a request without a limit, so half a request would keep its connection, and a file
descriptor of the server, for good.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""The time for the head of a request: from the opening of the connection, or from the end of the last response."""
MOST_WAITING = 100
"""The most connections without a request in progress. Beyond it, the one that has waited longest is closed."""


class Connection(H11Protocol):
    """A connection that is closed when it has waited too long for the head of a request."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol.connection_made."""
        super().connection_made(transport)
        self._await_head()
        waiting = [each for each in self.connections if isinstance(each, Connection) and each.waiting_until is not None]
        if len(waiting) > MOST_WAITING:
            min(waiting, key=lambda each: each.waiting_until or 0.0).close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol.connection_lost."""
        if self._head_due is not None:
            self._head_due.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """See H11Protocol.on_response_complete. Called by uvicorn when the application has responded."""
        self._await_head()
        super().on_response_complete()

    @property
    def waiting_until(self) -> float | None:
        """The loop's time at which the connection is closed; None while a request is in progress."""
        cycle: Any = self.cycle
        if self._head_due is None or (cycle is not None and not cycle.response_complete):
            return None
        return self._head_due.when()

    def close(self) -> None:
        """Close the connection, unless a request is in progress."""
        if self.waiting_until is not None and not self.transport.is_closing():
            self.transport.close()

    def _await_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
        self._head_due = self.loop.call_later(HEAD_SECONDS, self.close)
