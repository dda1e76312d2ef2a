"""A process that runs an engine: receive events, decide, store, act; and the failpoints at which it can be killed.

This is `asyncpay.service.common.loop` without asyncio. It stores before it acts; events that are queued at the same
time are handled together and stored in one transaction. Answers to HTLCs are given immediately, all other effects a
little later and independently, like the tasks of the real performers: so a crash can occur before, between and
after any of them.
"""

import shutil
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from asyncpay.engine.core import (
    ClockRead,
    Commit,
    Detached,
    Engine,
    EngineError,
    Perform,
    Put,
    Recall,
    StoredClock,
    Tick,
    drive,
)
from asyncpay.node_events import NodeEvent
from asyncpay.service.common.clock import TOLERANCE_SECONDS, SteadyClock
from asyncpay.store import Store

from .kernel import Kernel, Lifetime
from .node import SimNode

SIDE_SECONDS = 0.002
LOOK_AGAIN_SECONDS = 1.0
"""The interval of attempts to attach to the node."""
DOUBT_SECONDS = 30.0
"""How often a process whose clock is in doubt reads it again."""
INEXACT_SECONDS = 1e-3
"""Tolerance for sums of floats."""

R = TypeVar("R")
Cell = tuple[str, str, str]
"""An engine, the state of one of its records, an event: see execution.Coverage."""


_MEMORY = Path("/dev/shm")


class Disks:
    """A folder for the stores of one simulation, on disk or on a RAM disk."""

    def __init__(self, *, on_disk: bool) -> None:
        place = None if on_disk or not _MEMORY.is_dir() else _MEMORY
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=place))

    def disk(self, name: str) -> "Disk":
        """The file of one process."""
        return Disk(self._folder / f"{name}.sqlite")

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Disk:
    """One file, and the store that has it open, if any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store[Any] | None = None

    @property
    def store(self) -> Store[Any]:
        """The open store; a process must have it open."""
        assert self._store is not None
        return self._store

    def open(self, kind: type[Store[Any]]) -> tuple[list[Any], StoredClock | None]:
        """Open the store. Return its records, and the stored clock."""
        self._store = kind(self._path)
        return list(self._store.load()), self._store.clock()

    def commit(self, changes: Iterable[Any]) -> None:
        """See Store.commit."""
        self.store.commit(changes)

    def close(self) -> None:
        """Close the store, because the process has ended."""
        if self._store is not None:
            self._store.close()
            self._store = None


class Process:
    """The runs of one process at one node. Subclasses define its engine, and how effects are performed.

    stored: the disk's content, from the committed changes. lost: differences that a restart found.
    clock_read: the last Unix time that the engine received. clock_was_wrong: the system's clock has shown another time.
    has_read_clock: since the last start, and since the system's clock was set. clock_leaps: the starts at which it was
    further ahead than when its state was last stored, so that the engine's time leapt. short_timers: starts at which
    the engine's time leapt further than that. began_wrong: it once started with a wrong clock and nothing stored: then
    there is no other time to compare the clock with.
    """

    def __init__(self, name: str, node: SimNode, disk: Disk, store: type[Store[Any]]) -> None:
        self.name, self.node = name, node
        self.kernel: Kernel = node.kernel
        self.running = False
        self.clock_error = 0.0
        self.clock = clock_beside(self, None, None)
        self.stored_clock: StoredClock | None = None
        self.clock_read = ClockRead(0, 0)
        self.clock_was_wrong = False
        self.has_read_clock = False
        self.clock_leaps: list[float] = []
        self.short_timers: list[str] = []
        self.began_wrong = False
        self._stored_error = self._stored_lead_seconds = 0.0
        self.lifetime = Lifetime()
        self.stirred_at = 0.0
        self.stored: dict[tuple[type, Any], Any] = {}
        self._by_kind: dict[type, dict[Any, Any]] = defaultdict(dict)
        self.lost: list[str] = []
        self.on_event: Callable[[Iterable[Cell]], None] = lambda _: None
        self._disk, self._store_kind = disk, store
        self._inbox: deque[Any] = deque()
        self._alarm = Lifetime()

    # --- for subclasses ---

    _engine: Engine[Any, Any, Any]

    def _begin(self, records: list[Any]) -> None:
        """Create the engine from the stored records."""
        raise NotImplementedError

    def _known(self) -> Iterable[Any]:
        """The records that the engine has in memory."""
        raise NotImplementedError

    def _archived(self) -> Iterable[Any]:
        """The records that the store has and does not load."""
        return ()

    def _recall(self, wanted: Any) -> Any:
        """Return the archived records for this lookup."""
        raise NotImplementedError

    def _cells(self, event: Any) -> Iterable[Cell]:
        """Return the states of the records that this event concerns."""
        raise NotImplementedError

    def _take(self, event: NodeEvent) -> None:
        """Handle an event of the node."""
        raise NotImplementedError

    def _perform(self, effect: Any) -> None:
        raise NotImplementedError

    def _committed(self, record: Any) -> None:
        """Called after a record is stored; for checks."""

    # --- what is stored ---

    def records(self, kind: type[R]) -> list[R]:
        """Return the stored records of one kind."""
        return list(self._by_kind[kind].values())

    def record(self, kind: type[R], key: object) -> R | None:
        """Return one stored record."""
        return self.stored.get((kind, key))

    def _compare(self, who: str, records: Iterable[Any]) -> None:
        here = {(type(each), each.key): each for each in records}
        for key in here.keys() | self.stored.keys():
            if here.get(key) != self.stored.get(key):
                self.kernel.changed()
                kind = key[0].__name__
                self.lost.append(f"{who} {here.get(key) or f'no such {kind}'}; stored was {self.stored.get(key)}")

    # --- time ---

    @property
    def earliest_unix(self) -> float:
        """Return the earliest possible Unix time, as the engine received it."""
        return self.clock.now() + self.clock_read.earliest_offset_seconds

    # --- starting and stopping ---

    def start(self) -> None:
        """Start from the stored records."""
        if self.running:
            return
        self.running, self.lifetime = True, Lifetime()
        records, clock = self._disk.open(self._store_kind)
        self._compare(f"the store of {self.name} gives back", [*records, *self._archived()])
        if clock != self.stored_clock:
            self.lost.append(f"the store of {self.name} gives back {clock}; stored was {self.stored_clock}")
        self._begin(records)
        self.clock = clock_beside(self, self._engine.stored_time, clock)
        self.clock_read = ClockRead(0, 0)
        self.has_read_clock = False
        self.began_wrong |= clock is None and self._engine.stored_time is None and self.clock_error != 0
        self._check_leap()
        self._look_for_node()

    @property
    def _lead_seconds(self) -> float:
        """Return by how much the engine's time is ahead of the true time."""
        return self.clock.now() - self.kernel.now

    def _check_leap(self) -> None:
        leap = self._lead_seconds - self._stored_lead_seconds
        error = self.clock_error - self._stored_error
        if error > 0:
            self.clock_leaps.append(self.kernel.now)
        if leap > max(error, 0) + TOLERANCE_SECONDS and not self.began_wrong:
            self.kernel.changed()
            self.short_timers.append(f"{self.name} starts, and its time leaps by {leap:g} s; its clock by {error:g} s")

    def kill(self) -> None:
        """Kill the process, at any point."""
        if not self.running:
            return
        self.running = False
        self.lifetime.over = True
        self._alarm.over = True
        self._inbox.clear()
        self._compare(f"{self.name} knew", [*self._archived(), *self._known()])
        self._disk.close()
        if self.node.attached is self:
            self.node.detach()

    def set_clock(self, error: float) -> None:
        """Make the system's clock show another time from now on."""
        self.clock_error, self.has_read_clock = error, False
        self.clock_was_wrong = True
        self.enqueue(Tick())

    def crash(self, down_seconds: float) -> None:
        """Kill the process; its supervisor restarts it later."""
        if self.running:
            self.kill()
            self.kernel.call_later(down_seconds, self.start)

    def node_died(self) -> None:
        """The node's stream of events has ended."""
        if self.running:
            self.enqueue(Detached())
            self.kernel.call_later(LOOK_AGAIN_SECONDS, self._look_for_node, self.lifetime)

    def _look_for_node(self) -> None:
        self.stirred_at = self.kernel.now
        if not self.node.attach(self):
            self.kernel.call_later(LOOK_AGAIN_SECONDS, self._look_for_node, self.lifetime)

    # --- the loop ---

    def hear(self, event: NodeEvent) -> None:
        """Receive an event from the node."""
        self.stirred_at = self.kernel.now
        self._take(event)

    def enqueue(self, event: Any) -> None:
        """Queue an event for the engine."""
        if self.running:
            self._inbox.append(event)
            if len(self._inbox) == 1:
                self.kernel.call_later(0.0, self._decide, self.lifetime)

    def _decide(self) -> None:
        lifetime = self.lifetime
        names = "+".join(sorted({type(event).__name__ for event in self._inbox}))
        self.kernel.failpoint(f"{self.name} decides on {names}")
        if lifetime.over:
            return
        batch = list(self._inbox)
        self._inbox.clear()
        self.has_read_clock = True
        if (read := self.clock.read()) is not None:
            self.clock_read = read
            batch.insert(0, read)
        try:
            for action in drive(self._engine, self.clock.now, self._seen(batch)):
                if lifetime.over:
                    return
                match action:
                    case Recall(wanted, take):
                        take(self._recall(wanted))
                    case Commit(changes=changes) if changes or self.clock.unstored is not None:
                        self._commit(changes)
                        self.kernel.failpoint(f"{self.name} has stored {names}")
                    case Perform(effect):
                        self._do(effect)
        except EngineError as failed:
            raise failed.__cause__ or failed from None
        if not lifetime.over:
            self._set_alarm()

    def _seen(self, events: Iterable[Any]) -> Iterator[Any]:
        """Yield these events, each counted just before the engine handles it."""
        for event in events:
            self.on_event(self._cells(event))
            yield event

    def _commit(self, changes: Sequence[Any]) -> None:
        clock = self.clock.unstored
        self._disk.commit(changes if clock is None else (Put(clock), *changes))
        if clock is not None:
            self.clock.mark_stored(clock)
            self.stored_clock = clock
            self._stored_error = self.clock_error
        self._stored_lead_seconds = self._lead_seconds
        self.kernel.changed()
        for change in changes:
            key = type(change.record), change.record.key
            if isinstance(change, Put):
                self.stored[key] = self._by_kind[key[0]][key[1]] = change.record
            else:
                self.stored.pop(key, None)
                self._by_kind[key[0]].pop(key[1], None)
            self._committed(change.record)

    def _do(self, effect: Any) -> None:
        kind = type(effect).__name__
        if kind == "Log":
            self._perform(effect)
        elif kind == "ResolveHtlc":
            lifetime = self.lifetime
            self.kernel.failpoint(f"{self.name} does {kind}")
            if not lifetime.over:
                self._perform(effect)
        else:
            self.kernel.call_later(
                SIDE_SECONDS, lambda: self._perform(effect), self.lifetime, f"{self.name} does {kind}"
            )

    def _set_alarm(self) -> None:
        alarm = self._alarm = self._alarm.end()
        seconds = self._engine.next_deadline - self.clock.now()
        assert seconds > 0, f"{self.name} would be woken again and again"
        if self.clock.in_doubt:
            seconds = min(seconds, DOUBT_SECONDS)
        if seconds < float("inf"):
            self.kernel.call_later(seconds, lambda: self.enqueue(Tick()), alarm)


def clock_beside(process: Process, stored: float | None, kept: StoredClock | None) -> SteadyClock:
    """Return the clock of a process that starts now."""
    kernel = process.kernel
    return SteadyClock(stored, kept, lambda: kernel.now + process.clock_error, lambda: kernel.now)
