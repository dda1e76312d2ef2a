"""The loop of the LSP: events in, the engine decides, the store keeps, and then it is done.

    node ──events──> translate ──> queue ──> engine ──> store ──> performer ──> node
                                     ^                               │
                                     └────────── reports ────────────┘

Two things may break at any time. The node: `_follow_node` says Detached and attaches again, with growing
pauses, for as long as it takes. The store: what was decided and could not be kept is thrown away together
with the engine, and all begins again from what the store has (`run`). Neither ends the process.
"""

import asyncio
import time

import tenacity

from asyncpay.config import LspConfig
from asyncpay.engine.events import Detached, Tick
from asyncpay.engine.lsp import Lsp, inbound
from asyncpay.engine.lsp import events as on
from asyncpay.engine.lsp.events import LspEvent
from asyncpay.node_events import Attached, CustomMessage, NodeEvent, OnionReceived
from asyncpay.nodes.base import Node, NodeError, NodeUnreachableError
from asyncpay.service import status
from asyncpay.service.crash_point import CrashPoint
from asyncpay.service.journal import Journal
from asyncpay.service.lsps import Lsps
from asyncpay.service.nodes import open_node
from asyncpay.service.performer import Performer
from asyncpay.store import Store, StoreError
from asyncpay.wire.errors import WireError

MAX_BATCH = 500
"""Events decided on together, and stored in one transaction, when many come at once."""
FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.1, 2.0
"""Between attempts to reach the node, or to begin again from the store; doubled from the one to the other. Short:
a node forwards nothing while nobody is attached."""


async def run(config: LspConfig, journal: Journal) -> None:
    """Run until cancelled. StoreError if the store cannot be used from the start, ValueError for bad limits."""
    Store(config.store.path).close()  # a file that cannot be used is the operator's to mend, before anything runs
    journal.note("started", store=config.store.path, node=config.node.address)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_passing),
        wait=tenacity.wait_exponential(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS),
        before_sleep=lambda state: journal.error("beginning again from the store", state.outcome.exception()),  # type: ignore[union-attr]
    )
    await retrying(_session, config, journal)


def _is_passing(error: BaseException) -> bool:
    """Whether beginning again may help: the store or the node failed, in whichever task of the session."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_passing(each) for each in error.exceptions)
    return isinstance(error, (StoreError, NodeError))


async def _session(config: LspConfig, journal: Journal) -> None:
    """One life of the engine: from what the store has until something cannot be stored."""
    async with open_node(config.node) as node:
        with Store(config.store.path) as store:
            lsp = Lsp(config.policy, node.capabilities, store.load())
            await _Session(config, journal, node, store, lsp).run()


class _Session:
    def __init__(self, config: LspConfig, journal: Journal, node: Node, store: Store, lsp: Lsp) -> None:
        self._config = config
        self._journal = journal
        self._node = node
        self._store = store
        self._lsp = lsp
        self._events: asyncio.Queue[tuple[LspEvent, asyncio.Future[None] | None]] = asyncio.Queue()
        self._lsps = Lsps(config, node, lsp, journal, self._stored)
        self._crash_point = CrashPoint(config.store.path, journal)

    async def run(self) -> None:
        server = await status.serve(self._config.store.status_socket, lambda: status.snapshot(self._lsp, self._journal))
        async with server, self._lsps, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._performer = Performer(
                self._node,
                self._journal,
                self._lsps,
                self._lsp.state.tables.webhooks_of,
                self._enqueue,
                tasks,
            )
            tasks.create_task(self._follow_node())
            tasks.create_task(self._decide())
            tasks.create_task(self._lsps.answer_requests())

    async def _decide(self) -> None:
        """Decide on events in their order: store first, then act."""
        while True:
            batch = await self._next_events()
            steps = [self._lsp.handle(time.time(), event) for event, _ in batch]
            if changes := [change for step in steps for change in step.changes]:
                await asyncio.to_thread(self._store.commit, changes)
            for _, stored in batch:
                if stored is not None:
                    stored.set_result(None)
            for step in steps:
                for effect in step.effects:
                    self._crash_point.before(effect)
                    await self._performer.perform(effect)

    def _enqueue(self, event: LspEvent) -> None:
        self._events.put_nowait((event, None))

    async def _stored(self, event: LspEvent) -> None:
        """Have an event decided on, and return when the decision is on disk."""
        stored = asyncio.get_running_loop().create_future()
        self._events.put_nowait((event, stored))
        await stored

    async def _next_events(self) -> list[tuple[LspEvent, asyncio.Future[None] | None]]:
        """What has come in, at least one event; a Tick when the engine's next deadline is there first."""
        try:
            async with asyncio.timeout(max(0, min(self._lsp.next_deadline - time.time(), 3600))):
                events = [await self._events.get()]
        except TimeoutError:
            return [(Tick(), None)]
        while not self._events.empty() and len(events) < MAX_BATCH:
            events.append(self._events.get_nowait())
        return events

    async def _follow_node(self) -> None:
        """Attach to the node, translate what it reports, and attach again whenever it goes away."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for event in self._node.events():
                    pause_seconds = FIRST_PAUSE_SECONDS
                    self._take(event)
            except NodeUnreachableError as error:
                self._journal.error("the node is away", error)
                self._enqueue(Detached())
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, MOST_PAUSE_SECONDS)

    def _take(self, event: NodeEvent) -> None:
        """Hand an event of the node to whom it concerns."""
        match event:
            case OnionReceived():
                self._take_onion(event)
            case CustomMessage():
                self._lsps.take(event)
            case _:
                if isinstance(event, Attached):
                    self._performer.node_id = event.node_id
                    self._journal.note("attached", node=event.node_id, height=event.height)
                self._enqueue(event)

    def _take_onion(self, event: OnionReceived) -> None:
        try:
            asked = inbound.read(event, self._performer.node_id)
        except WireError as error:
            self._journal.note("message dropped", because=error)
            return
        if isinstance(asked, on.BlockRequested) and asked.request.invoice is not None:
            self._tasks.create_task(self._with_invoice(asked, asked.request.invoice))
        elif asked is not None:
            self._enqueue(asked)

    async def _with_invoice(self, asked: on.BlockRequested, text: str) -> None:
        """Only the node can read the invoice; the engine refuses one that it could not."""
        try:
            invoice = await self._node.decode_invoice(text)
        except NodeError as error:
            self._journal.note("invoice not read", because=error)
            invoice = None
        self._enqueue(on.BlockRequested(asked.client, asked.request, invoice))
