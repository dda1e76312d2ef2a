"""The last events of a testbed, numbered, for any number of readers: each sends its position, and waits for more.

After a new beginning, such as a testbed that was brought up again under the same name, the buffer has only the events
from there on, and its `run` is another one.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable

from harness.timeline.model import Event

MOST_EVENTS = 20_000


class EventBuffer:
    """A buffer that is filled by one thread and read by coroutines. Events are numbered consecutively."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._events: deque[Event] = deque(maxlen=most)
        self._last = 0
        self._run = 0
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._closed = False

    def add(self, events: Iterable[Event]) -> None:
        """Append events; the oldest ones are dropped when there is no room."""
        with self._lock:
            self._append(events)
        self._wake()

    def begin_anew(self, events: Iterable[Event]) -> None:
        """Drop all events, and begin another run with these."""
        with self._lock:
            self._events.clear()
            self._run += 1
            self._append(events)
        self._wake()

    def _append(self, events: Iterable[Event]) -> None:
        for event in events:
            self._events.append(event)
            self._last += 1

    def close(self) -> None:
        """End all waits."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for loop, more in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(more.set)

    def after(self, number: int, most: int) -> tuple[int, int, list[Event]]:
        """Return the run, the number of the last returned event, and the first events after `number`, `most` at most.

        Dropped events are omitted: then the returned number has increased by more than the number of events. A number
        that no event has had yet is from another run: reading starts from the beginning.
        """
        with self._lock:
            first = self._last - len(self._events)
            begin = first if number > self._last else max(number, first)
            found = [
                self._events[index] for index in range(begin - first, min(len(self._events), begin - first + most))
            ]
            return self._run, begin + len(found), found

    async def wait_beyond(self, number: int, seconds: float) -> None:
        """Return when there is an event with another number, when the time is over, or after `close`."""
        more = asyncio.Event()
        entry = asyncio.get_running_loop(), more
        with self._lock:
            if self._last != number or self._closed:
                return
            self._waiting.add(entry)
        try:
            await asyncio.wait_for(more.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(entry)
