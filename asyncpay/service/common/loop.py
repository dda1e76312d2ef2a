"""The main loop of a component: events come in, the engine decides, changes are stored, then effects are performed.

    node ──events──> translate ──> queue ──> engine ──> store ──> performer ──> node
                                     ^                               │
                                     └────────── reports ────────────┘

Three parts may fail at any time, and no failure ends the process (asyncpay.service.common.session). The node:
`follow_node` reports Detached and attaches again. The store: decisions that could not be stored are discarded
together with the engine, and `run_forever` begins again from the store. And the engine itself, by an unexpected event,
or by one that the store cannot hold: then too the session begins again, and that event is refused from then on
(`RefusedEvents`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from asyncpay.engine.core import (
    Change,
    ClockRead,
    Commit,
    Engine,
    EngineError,
    Perform,
    Put,
    Recall,
    StoredClock,
    Tick,
    drive,
)
from asyncpay.log_events import LogEvent
from asyncpay.service.common.clock import READ_SECONDS, SteadyClock
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.common.failpoints import Failpoints
from asyncpay.store import UnstorableError

MAX_BATCH = 500
"""The most events that are handled together, and stored in one transaction, when many wait."""
MAX_REFUSED_EVENTS = 1_000
MAX_WAITING_EVENTS = 10_000
"""The most events that wait for their decision. Beyond it the node's next events wait in the node, and verbs wait too.
Reports of effects are always accepted: there is one for each effect that the loop itself has begun."""

E = TypeVar("E")

_Waiting: TypeAlias = tuple[Any, asyncio.Future[None] | None, float]
"""An event, the future of a caller that waits until its decision is stored, and since when (time.monotonic)."""


class Measure(Protocol):
    """The receiver of a loop's measurements."""

    def decided(self, event: object, seconds: float) -> None:
        """Record that the decision on an event was stored this many seconds after its arrival."""
        ...

    def stored(self, seconds: float) -> None:
        """Record the duration of a transaction."""
        ...


class NotStoredError(Exception):
    """An event cannot be handled, and is refused; the text gives the reason."""


class EngineFailedError(Exception):
    """An event made the engine fail, or cannot be stored. It is refused now, and the engine is discarded."""


class RefusedEvents:
    """Events that an engine could not handle. They outlive the engine, so that the same event does not break the next.

    refusable: the types of events that strangers can cause, and that can be refused.
    optional: the types of records that need not be stored. If one cannot be stored, no event is refused for it.
    unstorable: the keys of such records, for the next engine. There are few: each costs a session.
    """

    def __init__(self, *refusable: type, optional: tuple[type, ...] = ()) -> None:
        self._refusable = refusable
        self._optional = optional
        self._events: dict[object, None] = {}
        self.unstorable: set[Any] = set()

    def __contains__(self, event: object) -> bool:
        return isinstance(event, self._refusable) and event in self._events

    def add(self, event: object) -> None:
        """Refuse this event from now on; beyond a maximum the oldest events are accepted again."""
        if isinstance(event, self._refusable):
            self._events[event] = None
            if len(self._events) > MAX_REFUSED_EVENTS:
                del self._events[next(iter(self._events))]

    def add_record(self, change: Change[Any]) -> bool:
        """Do without this record from now on; return whether that is possible."""
        possible = isinstance(change, Put) and isinstance(change.record, self._optional)
        if possible:
            self.unstorable.add(change.record.key)
        return possible


class Loop(Generic[E]):
    """The loop of one engine. clock: the engine's clock.

    stored_clock: the clock's state in the store.
    perform: begins an effect. settle: returns when the effects that begin in a fixed order have ended, so that a
    failpoint before the n-th effect finds the earlier ones performed.
    refuse: handles an event that is among `refused`: answers it, if it needs an answer, with a refusal.
    measure: receives the measurements.
    recall: looks up archived records in the store. It runs on the event loop and not in a thread: it reads single rows,
        mostly from the page cache, which takes less time than starting a thread.
    """

    def __init__(
        self,
        engine: Engine[Any, Any, Any],
        commit: Callable[[Iterable[Any]], None],
        perform: Callable[[Any], Awaitable[None]],
        settle: Callable[[], Awaitable[None]],
        failpoints: Failpoints,
        event_log: EventLog,
        refused: RefusedEvents,
        refuse: Callable[[Any], Awaitable[None]],
        measure: Measure | None = None,
        stored_clock: StoredClock | None = None,
        recall: Callable[[Any], Any] = lambda _: None,
    ) -> None:
        self._measure = measure
        self._recall = recall
        self._refused = refused
        self._refuse = refuse
        self._engine = engine
        self._commit = commit
        self._perform = perform
        self._settle = settle
        self._failpoints = failpoints
        self._event_log = event_log
        self.clock = SteadyClock(engine.stored_time, stored_clock)
        self._events: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def enqueue(self, event: E) -> None:
        """Queue an event for its decision. Sources that do not end await `room` before their next one."""
        self._put(event, None)

    async def room(self) -> None:
        """Wait until fewer than MAX_WAITING_EVENTS events are queued."""
        await self._has_room.wait()

    async def stored(self, event: E) -> None:
        """Queue an event, and return when the decision on it is stored. NotStoredError if it is refused."""
        await self.room()
        stored = asyncio.get_running_loop().create_future()
        self._put(event, stored)
        await stored

    def _put(self, event: E, stored: asyncio.Future[None] | None) -> None:
        self._events.put_nowait((event, stored, time.monotonic()))
        if self._events.qsize() >= MAX_WAITING_EVENTS:
            self._has_room.clear()

    async def run(self) -> None:
        """Handle events in order: store first, then perform. Raises StoreError, EngineFailedError."""
        while True:
            batch = [each for each in await self._next_events() if not await self._is_refused(each[0], each[1])]
            try:
                for action in drive(self._engine, self.clock.now, [event for event, _, _ in batch]):
                    match action:
                        case Recall(wanted, take):
                            take(self._recall(wanted))
                        case Commit():
                            await self._store(action)
                            self._decided(batch[: len(action.decisions)])
                        case Perform(effect):
                            if self._failpoints.reached(effect):
                                await self._settle()
                                self._failpoints.stop()
                            await self._perform(effect)
            except EngineError as error:
                cause = error.__cause__ or error
                self._event_log.unexpected(type(error.event).__name__, cause)
                raise self._failure(error.event, cause) from error

    async def _store(self, commit: Commit[Any, Any]) -> None:
        clock, changes = self.clock.unstored, commit.changes
        if clock is not None:  # what is decided by this clock is not to be read by another one
            changes = (Put(clock), *changes)
        if not changes:
            return
        began = time.monotonic()
        try:
            await asyncio.to_thread(self._commit, changes)
        except UnstorableError as error:
            for event, transition in commit.decisions:
                for change in transition.changes:
                    if change.record is error.record:
                        raise self._unstorable(event, change, error) from error
            raise
        if clock is not None:
            self.clock.mark_stored(clock)
        if self._measure is not None:
            self._measure.stored(time.monotonic() - began)

    def _decided(self, decided: Sequence[_Waiting]) -> None:
        now = time.monotonic()
        for event, stored, since in decided:
            if stored is not None and not stored.done():
                stored.set_result(None)
            if self._measure is not None:
                self._measure.decided(event, now - since)

    def _unstorable(self, event: object, change: Change[Any], error: UnstorableError) -> EngineFailedError:
        if self._refused.add_record(change):
            return EngineFailedError(f"{error}. The component goes on without it")
        return self._failure(event, error)

    def _failure(self, event: object, error: BaseException) -> EngineFailedError:
        self._refused.add(event)
        return EngineFailedError(f"{type(event).__name__} cannot be handled ({error}), and is refused from now on")

    async def _is_refused(self, event: object, stored: asyncio.Future[None] | None) -> bool:
        if event not in self._refused:
            return False
        if stored is not None and not stored.done():
            stored.set_exception(NotStoredError("the request cannot be stored"))
        await guarded(self._event_log, f"refusal of {type(event).__name__}", lambda: self._refuse(event))
        return True

    async def _next_events(self) -> list[_Waiting]:
        """Return the waiting events, at least one; a tick if the engine's next deadline, or the next reading of the
        clock, comes first.
        """
        events: list[_Waiting] = []
        try:
            async with asyncio.timeout(max(0, min(self._engine.next_deadline - self.clock.now(), READ_SECONDS))):
                events.append(await self._events.get())
        except TimeoutError:
            events.append((Tick(), None, time.monotonic()))
        while not self._events.empty() and len(events) < MAX_BATCH:
            events.append(self._events.get_nowait())
        if self._events.qsize() < MAX_WAITING_EVENTS:
            self._has_room.set()
        if (read := self.clock.read()) is not None:
            event = LogEvent.CLOCK_IN_DOUBT if self.clock.in_doubt else LogEvent.CLOCK_BELIEVED
            self._event_log.write(event, **_offsets(read))
            events.insert(0, (read, None, time.monotonic()))
        return events


def _offsets(read: ClockRead) -> dict[str, int]:
    return {
        "earliest_offset_seconds": read.earliest_offset_seconds,
        "latest_offset_seconds": read.latest_offset_seconds,
    }
