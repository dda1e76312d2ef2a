"""The loop that every component is: events in, the engine decides, the store keeps, and then it is done.

    node ──events──> translate ──> queue ──> engine ──> store ──> performer ──> node
                                     ^                               │
                                     └────────── reports ────────────┘

Three things may break at any time, and none of them ends the process (asyncpay.service.common.session). The node:
`follow_node` reports Detached and attaches again. The store: what was decided and could not be kept is thrown away
together with the engine, and `run_forever` begins again from what the store has. And the engine itself, by an event
that was not foreseen, or that the store cannot keep: then too all begins again, and that event is refused from then on
(`RefusedEvents`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from asyncpay.engine.core import (
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
"""Events decided on together, and stored in one transaction, when many come at once."""
MAX_REFUSED_EVENTS = 1_000
MAX_WAITING_EVENTS = 10_000
"""Events that wait for their decision. Beyond it the node's next events wait in the node, and verbs for their turn.
Reports of effects are always taken: there is one for each effect that the loop itself has begun."""

E = TypeVar("E")

_Waiting: TypeAlias = tuple[Any, asyncio.Future[None] | None, float]
"""An event, who waits for its decision to be on disk, and since when (time.monotonic)."""


class Measure(Protocol):
    """Who measures a loop."""

    def decided(self, event: object, seconds: float) -> None:
        """The decision on an event is on disk, so long after the event came in."""
        ...

    def stored(self, seconds: float) -> None:
        """A transaction took so long."""
        ...


class NotStoredError(Exception):
    """An event cannot be taken in, and is refused; the text says why."""


class EngineFailedError(Exception):
    """An event broke the engine or does not fit into the store. It is refused now, and the engine is thrown away."""


class RefusedEvents:
    """Events that an engine could not take in. Outlives the engine, so that the same event does not break the next.

    refusable: the types of events that strangers can cause, and that can be refused.
    """

    def __init__(self, *refusable: type) -> None:
        self._refusable = refusable
        self._events: dict[object, None] = {}

    def __contains__(self, event: object) -> bool:
        return isinstance(event, self._refusable) and event in self._events

    def add(self, event: object) -> None:
        """Refuse this event from now on; the oldest of many are taken in again."""
        if isinstance(event, self._refusable):
            self._events[event] = None
            if len(self._events) > MAX_REFUSED_EVENTS:
                del self._events[next(iter(self._events))]


class Loop(Generic[E]):
    """One life of an engine. clock: the one that it goes by.

    stored_clock: what the store has of it.
    perform: begins an effect. settle: returns when the effects that were begun in a certain order are done, so that a
    failpoint before the n-th finds the ones before it carried out.
    refuse: what to do about an event that is among `refused`: answer it, as far as it wants an answer, with a refusal.
    measure: is told how long it takes.
    recall: what the store has archived of what is wanted. Called here and not in a thread: it reads single rows, mostly
        from the page cache, which takes less time than a thread takes to begin.
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
        """Have an event decided on, and return when the decision is on disk. NotStoredError if it is refused."""
        await self.room()
        stored = asyncio.get_running_loop().create_future()
        self._put(event, stored)
        await stored

    def _put(self, event: E, stored: asyncio.Future[None] | None) -> None:
        self._events.put_nowait((event, stored, time.monotonic()))
        if self._events.qsize() >= MAX_WAITING_EVENTS:
            self._has_room.clear()

    async def run(self) -> None:
        """Decide on events in their order: store first, then act. StoreError, EngineFailedError."""
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
                if any(change.record is error.record for change in transition.changes):
                    raise self._failure(event, error) from error
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

    def _failure(self, event: object, error: BaseException) -> EngineFailedError:
        self._refused.add(event)
        return EngineFailedError(f"{type(event).__name__} cannot be taken in ({error}), and is refused from now on")

    async def _is_refused(self, event: object, stored: asyncio.Future[None] | None) -> bool:
        if event not in self._refused:
            return False
        if stored is not None and not stored.done():
            stored.set_exception(NotStoredError("this cannot be stored"))
        await guarded(self._event_log, f"refusal of {type(event).__name__}", lambda: self._refuse(event))
        return True

    async def _next_events(self) -> list[_Waiting]:
        """What has come in, at least one event; a tick when the engine's next deadline is there first, or when it is
        time to read the clock.
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
