"""The loop that every component is: events in, the engine decides, the store keeps, and then it is done.

    node ──events──> translate ──> queue ──> engine ──> store ──> performer ──> node
                                     ^                               │
                                     └────────── reports ────────────┘

Two things may break at any time. The node: `follow` says Detached and attaches again, with growing pauses, for
as long as it takes. The store: what was decided and could not be kept is thrown away together with the engine,
and all begins again from what the store has (`again_and_again`). Neither ends the process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import tenacity

from asyncpay.engine.changes import Step
from asyncpay.engine.events import ClockRead, Tick
from asyncpay.node_events import NodeEvent
from asyncpay.nodes.base import Node, NodeError, NodeUnreachableError
from asyncpay.service.clock import READ_SECONDS, SteadyClock
from asyncpay.service.crash_point import CrashPoint
from asyncpay.service.journal import Journal
from asyncpay.store import StoreError

MAX_BATCH = 500
"""Events decided on together, and stored in one transaction, when many come at once."""
FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.1, 2.0
"""Between attempts to reach the node, or to begin again from the store; doubled from the one to the other. Short:
a node forwards nothing while nobody is attached."""

E = TypeVar("E", contravariant=True)
C = TypeVar("C")


class Engine(Protocol[E]):
    """See asyncpay.engine.lsp.engine for the contract."""

    @property
    def next_deadline(self) -> float:
        """When it must hear of the time, if nothing happens before."""
        ...

    @property
    def stored_time(self) -> float | None:
        """The time that its store is a witness of; None if there is none."""
        ...

    def handle(self, now: float, event: E | Tick | ClockRead) -> Step[Any, Any]:
        """Decide on one event."""
        ...


class Loop(Generic[E]):
    """One life of an engine. clock: the one that it goes by."""

    def __init__(
        self,
        engine: Engine[E],
        commit: Callable[[Iterable[Any]], None],
        perform: Callable[[Any], Awaitable[None]],
        crash_point: CrashPoint,
        journal: Journal,
    ) -> None:
        self._engine = engine
        self._commit = commit
        self._perform = perform
        self._crash_point = crash_point
        self._journal = journal
        self.clock = SteadyClock(engine.stored_time)
        self._events: asyncio.Queue[tuple[E, asyncio.Future[None] | None]] = asyncio.Queue()

    def enqueue(self, event: E) -> None:
        """Have an event decided on, in its turn."""
        self._events.put_nowait((event, None))

    async def stored(self, event: E) -> None:
        """Have an event decided on, and return when the decision is on disk."""
        stored = asyncio.get_running_loop().create_future()
        self._events.put_nowait((event, stored))
        await stored

    async def run(self) -> None:
        """Decide on events in their order: store first, then act."""
        while True:
            batch = await self._next_events()
            steps = [self._engine.handle(self.clock.now(), event) for event, _ in batch]
            if changes := [change for step in steps for change in step.changes]:
                await asyncio.to_thread(self._commit, changes)
            for _, stored in batch:
                if stored is not None and not stored.done():
                    stored.set_result(None)
            for step in steps:
                for effect in step.effects:
                    self._crash_point.before(effect)
                    await self._perform(effect)

    async def _next_events(self) -> list[tuple[E | Tick | ClockRead, asyncio.Future[None] | None]]:
        """What has come in, at least one event; a tick when the engine's next deadline is there first, or when it is
        time to read the clock.
        """
        events: list[tuple[E | Tick | ClockRead, asyncio.Future[None] | None]] = []
        try:
            async with asyncio.timeout(max(0, min(self._engine.next_deadline - self.clock.now(), READ_SECONDS))):
                events.append(await self._events.get())
        except TimeoutError:
            events.append((Tick(), None))
        while not self._events.empty() and len(events) < MAX_BATCH:
            events.append(self._events.get_nowait())
        if (read := self.clock.read()) is not None:
            self._journal.note("the system's clock was set", **_offsets(read))
            events.insert(0, (read, None))
        return events


def _offsets(read: ClockRead) -> dict[str, int]:
    return {
        "earliest_offset_seconds": read.earliest_offset_seconds,
        "latest_offset_seconds": read.latest_offset_seconds,
    }


async def follow(node: Node, take: Callable[[NodeEvent], None], away: Callable[[], None], journal: Journal) -> None:
    """Attach to the node, hand on what it reports, say when it is away, and attach again, until cancelled."""
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            async for event in node.events():
                pause_seconds = FIRST_PAUSE_SECONDS
                take(event)
        except NodeUnreachableError as error:
            journal.error("the node is away", error)
            away()
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, MOST_PAUSE_SECONDS)


async def again_and_again(session: Callable[[C, Journal], Awaitable[None]], config: C, journal: Journal) -> None:
    """Run sessions, each of which begins from what the store has, until cancelled."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_passing),
        wait=tenacity.wait_exponential(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS),
        before_sleep=lambda state: journal.error("beginning again from the store", _reasons(state.outcome.exception())),  # type: ignore[union-attr,arg-type]
    )
    await retrying(session, config, journal)


def _reasons(error: BaseException) -> str:
    """What happened in each of the session's tasks that failed: a group's own words say nothing of it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reasons(each) for each in error.exceptions)
    return str(error)


def _is_passing(error: BaseException) -> bool:
    """Whether beginning again may help: the store or the node failed, in whichever task of the session."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_passing(each) for each in error.exceptions)
    return isinstance(error, (StoreError, NodeError))
