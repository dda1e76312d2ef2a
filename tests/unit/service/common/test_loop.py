"""What ends a session and what does not: store, node, and events that nobody foresaw."""

import asyncio
import io
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asyncpay.engine.core import Change, Put, StoredClock, Transition, WholeInMemory
from asyncpay.engine.lsp.interface import WebhookSet
from asyncpay.engine.lsp.records import Webhook
from asyncpay.node_events import BlockConnected, NodeEvent
from asyncpay.service.common import loop
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.failpoints import Failpoints
from asyncpay.service.common.loop import EngineFailedError, Loop, NotStoredError, RefusedEvents
from asyncpay.service.common.session import follow_node, run_forever
from asyncpay.store import LspStore, StoreError, UnstorableError


def test_a_session_that_cannot_store_begins_again_and_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    sessions = 0

    async def session(_: None, __: EventLog) -> None:
        nonlocal sessions
        sessions += 1
        if sessions == 1:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())

    async def fail() -> None:
        raise StoreError("the disk is full. Check free disk space")

    asyncio.run(run_forever(session, None, EventLog()))

    assert sessions == 2
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["error"] == "the disk is full. Check free disk space"


class WebhookEngine(WholeInMemory):
    """Keeps webhooks, fails on an app_name of `boom`, and gives them a time of use that may fit nowhere."""

    next_deadline = math.inf
    stored_time = 0.0

    def handle(self, now: float, event: Any) -> Transition[Any, Any]:
        if not isinstance(event, WebhookSet):
            return Transition((), ())
        if event.app_name == "boom":
            raise KeyError("nobody foresaw this")
        used_at = 2**64 if event.app_name == "huge" else 0
        record = Webhook(client=event.client, app_name=event.app_name, url=event.url, used_at=used_at)
        return Transition((Put(record),), (event.app_name,))


def webhook_set(app_name: str) -> WebhookSet:
    return WebhookSet(bytes(33), app_name, "https://push.example/")


def one_life(store: LspStore, refused: RefusedEvents, *app_names: str) -> tuple[list[str], list[str], str]:
    """What is performed, what is refused, and why the engine's life ended, if it did, of these events at once."""
    performed: list[str] = []
    refusals: list[str] = []

    async def perform(effect: str) -> None:
        performed.append(effect)

    async def refuse(event: WebhookSet) -> None:
        refusals.append(event.app_name)

    async def live() -> str:
        event_log = EventLog(io.StringIO())
        failpoints = Failpoints(Path("none"), event_log)
        life = Loop[Any](WebhookEngine(), store.commit, perform, no_wait, failpoints, event_log, refused, refuse)
        waiting = [asyncio.create_task(life.stored(webhook_set(app_name))) for app_name in app_names]
        running = asyncio.create_task(life.run())
        awaited: list[asyncio.Future[Any]] = [running, asyncio.gather(*waiting, return_exceptions=True)]
        done, _ = await asyncio.wait(awaited, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert done
        running.cancel()
        with suppress(asyncio.CancelledError):
            try:
                await running
            except EngineFailedError as error:
                return str(error)
        return ""

    return performed, refusals, asyncio.run(live())


@pytest.mark.parametrize(("bad", "why"), [("boom", "nobody foresaw this"), ("huge", "cannot be stored")])
def test_an_event_that_cannot_be_taken_in_is_refused_by_the_next_life(tmp_path: Path, bad: str, why: str) -> None:
    refused = RefusedEvents(WebhookSet)
    with LspStore(tmp_path / "lsp.sqlite") as store:
        _, refusals, ended = one_life(store, refused, "first", bad, "last")
        assert why in ended
        assert refusals == []
        performed, refusals, ended = one_life(store, refused, "first", bad, "last")
        assert (performed, refusals, ended) == (["first", "last"], [bad], "")
        assert [webhook.app_name for webhook in store.load() if isinstance(webhook, Webhook)] == ["first", "last"]


def test_what_was_decided_before_the_engine_failed_is_kept_and_done(tmp_path: Path) -> None:
    with LspStore(tmp_path / "lsp.sqlite") as store:
        performed, _, _ = one_life(store, RefusedEvents(WebhookSet), "first", "boom", "last")
        assert performed == ["first"]
        assert len(list(store.load())) == 1


def test_what_is_known_of_the_clock_is_stored_with_what_was_decided_by_it(tmp_path: Path) -> None:
    """The engine's time begins at 0, where its records end, and the system's clock shows decades more."""
    stored: list[list[type]] = []

    class Watched(LspStore):
        def commit(self, changes: Iterable[Change[Any]]) -> None:
            changes = list(changes)
            stored.append([type(change.record) for change in changes])
            super().commit(changes)

    with Watched(tmp_path / "lsp.sqlite") as store:
        one_life(store, RefusedEvents(WebhookSet), "first")
        clock = store.clock()
        assert clock is not None
        assert (clock.time < 60, clock.believed_offset_seconds) == (True, 0)
        assert abs(clock.shown_offset_seconds - time.time()) < 60
    assert stored == [[StoredClock, Webhook]]


def test_who_waits_for_a_refused_event_is_told() -> None:
    async def nothing(_: Any) -> None: ...

    def commit(changes: Iterable[Change[Any]]) -> None:
        raise AssertionError("nothing is to be stored")

    async def run() -> None:
        refused, event_log = RefusedEvents(WebhookSet), EventLog(io.StringIO())
        refused.add(webhook_set("boom"))
        life = Loop[Any](
            WebhookEngine(), commit, nothing, no_wait, Failpoints(Path("none"), event_log), event_log, refused, nothing
        )
        running = asyncio.create_task(life.run())
        with pytest.raises(NotStoredError):
            await asyncio.wait_for(life.stored(webhook_set("boom")), 10)
        running.cancel()

    asyncio.run(run())


def test_a_full_list_of_refused_events_lets_the_oldest_go() -> None:
    refused = RefusedEvents(WebhookSet)
    for number in range(loop.MAX_REFUSED_EVENTS + 1):
        refused.add(webhook_set(str(number)))
    refused.add(BlockConnected(1))  # of the node itself: never refused
    assert webhook_set("0") not in refused
    assert webhook_set("1") in refused
    assert BlockConnected(1) not in refused


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", [1], None, "text"])
def test_a_value_that_the_store_has_no_place_for_leaves_the_file_whole(tmp_path: Path, value: Any) -> None:
    good, bad = (Webhook(client=bytes(33), app_name="a", url="b", used_at=at) for at in (1.0, value))
    with LspStore(tmp_path / "lsp.sqlite") as store:
        with pytest.raises(UnstorableError) as caught:
            store.commit([Put(Webhook(client=bytes(33), app_name="x", url="", used_at=0)), Put(bad)])
        assert caught.value.record is bad
        store.commit([Put(good)])
        assert list(store.load()) == [good]


async def no_wait() -> None: ...


def test_a_node_that_reports_faster_than_the_store_writes_is_made_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_WAITING_EVENTS", 10)
    monkeypatch.setattr(loop, "MAX_BATCH", 5)
    events, reported, decided = 100, 0, list[str]()
    all_decided, may_write = asyncio.Event(), threading.Event()

    class HastyNode:
        async def events(self) -> AsyncIterator[Any]:
            nonlocal reported
            for number in range(events):
                reported += 1
                yield webhook_set(str(number))
            await asyncio.Event().wait()

    def commit(changes: Iterable[Change[Any]]) -> None:
        assert may_write.wait(10)

    async def perform(effect: str) -> None:
        decided.append(effect)
        if len(decided) == events:
            all_decided.set()

    async def run() -> None:
        node: Any = HastyNode()
        event_log = EventLog(io.StringIO())
        failpoints, refused = Failpoints(Path("none"), event_log), RefusedEvents()
        life = Loop[Any](WebhookEngine(), commit, perform, no_wait, failpoints, event_log, refused, perform)
        running = asyncio.create_task(life.run())
        following = asyncio.create_task(follow_node(node, life.enqueue, lambda: None, life.room, event_log))
        for _ in range(1_000):  # turns of the event loop, in which a node that nobody stops would report everything
            await asyncio.sleep(0)
        assert reported <= 10 + 2 * 5, "what the queue holds, what is being stored, and what was taken before"
        may_write.set()
        await asyncio.wait_for(all_decided.wait(), 10)
        for task in (running, following):
            task.cancel()

    asyncio.run(run())
    assert decided == [str(number) for number in range(events)]


def test_a_node_whose_events_break_is_attached_to_again() -> None:
    lives = 0
    taken: list[NodeEvent] = []
    taken_twice = asyncio.Event()
    away: list[None] = []

    class BreakingNode:
        async def events(self) -> AsyncIterator[NodeEvent]:
            nonlocal lives
            lives += 1
            yield BlockConnected(lives)
            if lives == 1:
                raise ValueError("int too large")
            await asyncio.Event().wait()

    def take(event: NodeEvent) -> None:
        taken.append(event)
        if len(taken) == 2:
            taken_twice.set()
        raise KeyError("nobody foresaw this either")

    async def run() -> None:
        node: Any = BreakingNode()
        event_log = EventLog(io.StringIO())
        following = asyncio.create_task(follow_node(node, take, lambda: away.append(None), no_wait, event_log))
        await asyncio.wait_for(taken_twice.wait(), 10)
        following.cancel()

    asyncio.run(run())
    assert taken == [BlockConnected(1), BlockConnected(2)]
    assert len(away) == 1
