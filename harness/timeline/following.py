"""Follow the logs of a running testbed: one thread for each service, which resumes when the service is restarted.

bitcoind's log names each new block, whose transactions are then queried from bitcoind.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from harness import folders
from harness.engines.base import Engine
from harness.errors import TestbedError
from harness.testbed import Testbed
from harness.timeline import chain, on_chain
from harness.timeline.lines import stamped
from harness.timeline.live import Live
from harness.timeline.model import Event
from harness.timeline.on_chain import ChainTransaction
from harness.timeline.recording import context_of

AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.2
MOST_WAITING_EVENTS = 10_000
"""No more lines are read from the engine while this number is waiting to be shown."""


def follow(testbed: Testbed) -> Iterator[Event]:
    """Yield events from this call on, until the testbed is removed, also if another one of its name follows."""
    return _events(testbed, _Following(testbed))


def _events(testbed: Testbed, following: "_Following") -> Iterator[Event]:
    identity = folders.identity(testbed.folder)
    try:
        while identity is not None and folders.identity(testbed.folder) == identity:
            try:
                yield following.events.get(timeout=AGAIN_SECONDS)
            except queue.Empty:
                continue
    finally:
        following.over.set()


class _Following:
    """The threads, and the events that they have found."""

    def __init__(self, testbed: Testbed) -> None:
        self.events: queue.Queue[Event] = queue.Queue(MOST_WAITING_EVENTS)
        self.over = threading.Event()
        self._testbed = testbed
        self._live, self._lock = Live(context_of(testbed, [])), threading.Lock()
        jobs: list[Callable[[], None]] = [partial(self._follow_service, name) for name in testbed.services]
        self._blocks = Blocks(testbed, self._live.add_earlier)
        for job in (*jobs, self._follow_actions):
            threading.Thread(target=job, daemon=True).start()

    def _take(self, event: Event | None) -> None:
        if event is not None and not self.over.is_set():
            self.events.put(event)

    def _follow_service(self, service: str) -> None:
        for line in new_lines(self._testbed.engine, service, self.over):
            with self._lock:
                event = self._live.line(service, line)
            self._take(event)
            if service == chain.LANE:
                self._follow_blocks(line)

    def _follow_blocks(self, line: bytes) -> None:
        for mined, arrived in self._blocks.of_line(line):
            with self._lock:
                events = self._live.block(mined, arrived)
            for event in events:
                self._take(event)

    def _follow_actions(self) -> None:
        log = self._testbed.engine.actions
        read = len(log.read())
        while not self.over.wait(LOOK_SECONDS):
            whole, newline, _ = log.read(read).rpartition(b"\n")
            read += len(whole + newline)
            for line in whole.splitlines():
                self._take(self._live.action(line))


class Blocks:
    """The transactions of the blocks that bitcoind's log names. For one thread."""

    def __init__(self, testbed: Testbed, add_earlier: Callable[[list[ChainTransaction]], None]) -> None:
        """add_earlier: called once with the transactions of earlier blocks, before the first block is returned."""
        self._testbed = testbed
        self._add_earlier: Callable[[list[ChainTransaction]], None] | None = add_earlier
        self._due: deque[tuple[str, float]] = deque(maxlen=on_chain.MOST_BLOCKS)
        self._read: deque[str] = deque(maxlen=on_chain.MOST_BLOCKS)

    def of_line(self, line: bytes) -> Iterator[tuple[list[ChainTransaction], float]]:
        """Yield the transactions of the line's block, and when it arrived (Unix seconds).

        A block is yielded once, although a reorganisation names the block before it again. A block that bitcoind does
        not return is queried again with the next one.
        """
        told = stamped(line)
        block_hash = chain.block_hash(told) if told else None
        if told is None or block_hash is None or block_hash in self._read:
            return
        self._read.append(block_hash)
        self._due.append((block_hash, told.stamp))
        try:
            if self._add_earlier is not None:
                self._add_earlier(on_chain.transactions(self._testbed.chain))
                self._add_earlier = None
            while self._due:
                mined = on_chain.transactions_of(self._testbed.chain, self._due[0][0])
                yield mined, self._due.popleft()[1]
        except TestbedError:
            self._testbed.forget_chain()  # it may have been restarted, with another port


def new_lines(engine: Engine, service: str, over: threading.Event) -> Iterator[bytes]:
    """Yield complete lines, each once, over all runs of a service."""
    since, last = time.time(), b""
    while not over.is_set():
        try:
            for line in engine.follow_logs(service, since_seconds=since):
                stamp = line.partition(b" ")[0]
                # Lines from before a restart are yielded only once (timestamps sort as text), incomplete lines never.
                if stamp > last and line.endswith(b"\n"):
                    last = stamp
                    yield line.removesuffix(b"\n")
                if over.is_set():
                    return
        except (TestbedError, OSError):
            pass  # the service or its engine is down: try again
        over.wait(AGAIN_SECONDS)
