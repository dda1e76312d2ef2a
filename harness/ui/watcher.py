"""The page's data about a testbed: its status, polled only when needed, and its events as they happen."""

import sys
import threading
import time
from collections.abc import Iterator

from harness import folders
from harness.checks import status
from harness.checks.status import Status
from harness.errors import TestbedError
from harness.testbed import Testbed
from harness.timeline import following, recording, story
from harness.timeline.model import Event
from harness.ui.event_buffer import EventBuffer

FRESH_SECONDS = 1.0
"""All requests within this time get the same status: two browsers cause no more queries of the nodes than one."""
AGAIN_SECONDS = 1.0
MOST_EARLIER_EVENTS = 5_000


class Watcher:
    """One testbed, by its name. It may go down, and come up again, while it is watched."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events = EventBuffer()
        self._over = threading.Event()
        self._looking = threading.Lock()
        self._testbed: Testbed | None = None
        self._seen: Status | None = None
        self._seen_at = 0.0
        self._attached_to: tuple[int, int] | None = None

    def attach(self) -> Testbed:
        """Return the testbed for one request: concurrent operations do not interfere. Raises TestbedError."""
        return Testbed.attach(self.name)

    def is_up(self) -> bool:
        """Whether there is a testbed with this name."""
        return self._identity() is not None

    def _identity(self) -> tuple[int, int] | None:
        return folders.identity(folders.folder_of(self.name))

    def status(self) -> Status:
        """Return the testbed's current status. Raises TestbedError if it is down."""
        last = self._seen
        if not self._looking.acquire(blocking=last is None) and last is not None:
            return last  # another request queries the nodes, which may take long
        try:
            if self._seen is None or time.monotonic() - self._seen_at >= FRESH_SECONDS:
                self._seen = self._look()
                self._seen_at = time.monotonic()
            return self._seen
        finally:
            self._looking.release()

    def _look(self) -> Status:
        """Query the status. Connections are kept while a node answers; a restarted service has other ports."""
        identity = self._identity()
        if self._testbed is None or identity is None or identity != self._attached_to:
            self._seen = self._testbed = None
            self._testbed, self._attached_to = self.attach(), identity
        testbed = self._testbed
        try:
            seen = status.look(testbed)
        except TestbedError:
            self._testbed = None
            raise
        self._forget_what_is_gone(testbed, seen)
        return seen

    @staticmethod
    def _forget_what_is_gone(testbed: Testbed, seen: Status) -> None:
        if seen.height_blocks is None:
            testbed.forget_connections()
        for node in seen.nodes:
            if node.problem:
                testbed[node.name].forget_connection()

    def start(self) -> None:
        """Collect the events so far, and then new ones, in a separate thread."""
        threading.Thread(target=self._follow, name="events", daemon=True).start()

    def stop(self) -> None:
        """Stop collecting, and end all waits for events."""
        self._over.set()
        self.events.close()

    def _follow(self) -> None:
        reported = ""
        while not self._over.is_set():
            try:
                told = self._told(self.attach())
                self.events.begin_anew(next(told))
                for events in told:
                    self.events.add(events)
                    if self._over.is_set():
                        return
            except TestbedError:
                pass  # it is down: try again
            except Exception as error:  # such as a container engine that restarts: events must not stop for good
                if str(error) != reported:
                    reported = str(error)
                    print(f"the events of testbed {self.name} are interrupted: {error!r}", file=sys.stderr)
            self._over.wait(AGAIN_SECONDS)

    @staticmethod
    def _told(testbed: Testbed) -> Iterator[list[Event]]:
        """Yield the events so far, and then each new event; end with the testbed."""
        began = time.time()
        live = following.follow(testbed)
        earlier = story.tell(recording.gather(testbed)).events
        yield [event for event in earlier if event.time < began][-MOST_EARLIER_EVENTS:]
        for event in live:
            yield [event]
