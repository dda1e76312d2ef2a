"""The LSP's session: it passes the node's events to the engine, and phones' requests to the LSPS0 service."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from asyncpay.config import LspConfig
from asyncpay.engine.core import Detached, Tick
from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp import requests
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import Effect, LspEvent
from asyncpay.engine.lsp.records import Archived
from asyncpay.engine.policy import suited
from asyncpay.fair_shares import FairSemaphore, Slot, TooManyError
from asyncpay.lightning import Resolution
from asyncpay.log_events import LogEvent
from asyncpay.node_events import (
    Attached,
    CustomMessage,
    HtlcOffered,
    InvoicePaid,
    NodeEvent,
    OnionInTransit,
    OnionReceived,
)
from asyncpay.nodes.base import Node, NodeError
from asyncpay.service.common import control, onions
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.common.failpoints import Failpoints
from asyncpay.service.common.loop import Loop, RefusedEvents
from asyncpay.service.common.session import follow_node, open_node, run_forever
from asyncpay.service.lsp import status
from asyncpay.service.lsp.lsps_service import LspsService
from asyncpay.service.lsp.performer import Performer
from asyncpay.service.lsp.status import Status
from asyncpay.store import LspStore
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockReply, BlockStatus

if TYPE_CHECKING:
    from asyncpay.service.lsp.metrics import LspMetrics

MAX_WAITING_INVOICES = 20
"""The most requests of one client whose invoices wait to be decoded by the node."""


async def run(config: LspConfig, event_log: EventLog) -> None:
    """Run until cancelled. StoreError if the store cannot be used at the start, ValueError for invalid limits, or if a
    server cannot listen at the address for metrics.
    """
    LspStore(config.store.path).close()  # an unusable file is reported before anything runs
    event_log.write(LogEvent.STARTED, store=config.store.path, node=str(config.node))
    refused = RefusedEvents(
        HtlcOffered,
        OnionInTransit,
        lsp_io.BlockRequested,
        lsp_io.CancelRequested,
        lsp_io.ReleaseSeen,
        lsp_io.RefusalSeen,
        lsp_io.WebhookSet,
        lsp_io.WebhookRemoved,
        optional=(Archived,),  # the block stays in memory
    )
    with _serving_metrics(config) as metrics:
        await run_forever(partial(_session, refused, metrics), config, event_log)


@contextmanager
def _serving_metrics(config: LspConfig) -> Iterator["LspMetrics | None"]:
    """Serve metrics in this context, if they are configured."""
    if config.metrics is None:
        yield None
        return
    from asyncpay.service.lsp.metrics import LspMetrics, serving  # here, because most LSPs start without them

    metrics = LspMetrics(_version(), config.node.implementation)
    with serving(config.metrics, metrics):
        yield metrics


def _version() -> str:
    try:
        return version("asyncpay")
    except PackageNotFoundError:  # a source tree, as in the testbed's image
        return "unknown"


async def _session(
    refused: RefusedEvents, metrics: "LspMetrics | None", config: LspConfig, event_log: EventLog
) -> None:
    """Run one engine, loaded from the store, until something fails."""
    async with open_node(config.node) as node:
        with LspStore(config.store.path) as store:
            policy = suited(config.policy, node.capabilities)
            archived = replace(store.archived(), unarchivable=frozenset(refused.unstorable))
            lsp = Lsp(policy, node.capabilities, store.load(), archived)
            session = _Session(config, event_log, node, store, lsp, refused, metrics)
            with nullcontext() if metrics is None else metrics.following(lsp, session.now):
                await session.run()


class _Session:
    def __init__(
        self,
        config: LspConfig,
        event_log: EventLog,
        node: Node,
        store: LspStore,
        lsp: Lsp,
        refused: RefusedEvents,
        metrics: "LspMetrics | None" = None,
    ) -> None:
        self._metrics = metrics
        self._config = config
        self._event_log = event_log
        self._node = node
        self._lsp = lsp
        self._attached_at: float | None = None
        failpoints = Failpoints(config.store.path, event_log)
        self._loop: Loop[LspEvent] = Loop(
            lsp,
            store.commit,
            self._perform,
            self._settle,
            failpoints,
            event_log,
            refused,
            self._refuse,
            metrics,
            store.clock(),
            store.recall,
        )
        self._store = store
        self._invoices = FairSemaphore(each=1, waiting=MAX_WAITING_INVOICES)
        self._lsps = LspsService(config, node, lsp, event_log, self._loop.stored)

    def now(self) -> float:
        """The engine's time."""
        return self._loop.clock.now()

    async def run(self) -> None:
        verbs: dict[str, control.Verb] = {"status": self._status, "follow": self._event_log.followers.follow}
        serving = control.serving(self._config.store.socket, verbs, "LSP")
        async with serving, self._lsps, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._performer = Performer(
                self._node,
                self._event_log,
                self._lsps,
                self._lsp.state.records.webhooks_of,
                self._report,
                tasks,
            )
            tasks.create_task(follow_node(self._node, self._take, self._away, self._loop.room, self._event_log))
            tasks.create_task(self._loop.run())
            tasks.create_task(self._lsps.answer_requests())

    async def _status(self, *_: object) -> Status:
        archived = await asyncio.to_thread(self._store.latest_archived, status.MOST_ARCHIVED)
        now = self._loop.clock.now()
        return status.snapshot(self._lsp, archived[::-1], self._event_log, now, self._attached_at)

    async def _perform(self, effect: Effect) -> None:
        if self._metrics is not None:
            self._metrics.performed(effect)
        await self._performer.perform(effect)

    def _report(self, event: LspEvent) -> None:
        if self._metrics is not None:
            self._metrics.reported(event)
        self._loop.enqueue(event)

    async def _settle(self) -> None:
        await self._performer.settle()

    async def _refuse(self, event: LspEvent) -> None:
        """Refuse an event that the engine could not handle. An HTLC that may have been forwarded is never failed."""
        self._event_log.write_often(LogEvent.REFUSED, event=type(event).__name__)
        match event:
            case HtlcOffered():
                known = self._lsp.state.records.htlcs.get(event.htlc.key)
                if known is None or known.resolution is None:
                    await self._node.resolve_htlc(event.htlc.key, Resolution.FAIL)
            case lsp_io.BlockRequested() if self._lsp.state.node.channels.has(event.client):
                unblock_hash, status = event.request.unblock_hash, BlockStatus.BAD_VALUE
                reply = BlockReply(unblock_hash=unblock_hash, status=status, reason="a value cannot be stored")
                sending = partial(onions.send_to_peer, self._node, event.client, reply)
                self._tasks.create_task(guarded(self._event_log, "refusal of a block_request", sending))

    def _away(self) -> None:
        if self._metrics is not None and self._attached_at is not None:  # not for each attempt to attach again
            self._metrics.detached()
        self._attached_at = None
        self._loop.enqueue(Detached())

    def _take(self, event: NodeEvent) -> None:
        """Pass an event of the node to the engine or the LSPS0 service."""
        match event:
            case OnionReceived():
                self._take_onion(event)
            case CustomMessage():
                self._lsps.take(event)
            case InvoicePaid():
                pass  # the LSP's own money
            case _:
                if isinstance(event, Attached):
                    self._performer.node_id = event.node_id
                    self._attached_at = time.time()
                    self._event_log.write(LogEvent.ATTACHED, node=event.node_id, height=event.height)
                self._loop.enqueue(event)

    def _take_onion(self, event: OnionReceived) -> None:
        try:
            asked = requests.parse_onion(event, self._performer.node_id)
        except WireError as error:
            self._event_log.write_often(LogEvent.MESSAGE_DROPPED, because=error)
            return
        match asked:
            case lsp_io.BlockRequested(_, request) if request.invoice is not None:
                self._read_invoice(asked, request.invoice)
            case None:
                pass
            case _:
                self._loop.enqueue(asked)

    def _read_invoice(self, asked: lsp_io.BlockRequested, text: str) -> None:
        """Queue a request for the decoding of its invoice. Peers without a channel share one limit, and their invoices
        are not decoded: any peer can sign a request.
        """
        try:
            slot = self._invoices.slot(asked.client if self._lsp.state.node.channels.has(asked.client) else None)
        except TooManyError as error:
            self._event_log.write_often(LogEvent.REQUEST_DROPPED, client=asked.client, because=error)
            return
        work = partial(self._with_invoice, asked, text, slot)
        self._tasks.create_task(guarded(self._event_log, "block_request", work))

    async def _with_invoice(self, asked: lsp_io.BlockRequested, text: str, slot: Slot) -> None:
        """Let the node decode the invoice, then pass the request to the engine, which refuses an invalid invoice."""
        async with slot:
            if not self._lsp.state.node.channels.has(asked.client):
                await self._loop.stored(Tick())  # so that all earlier events of the node are handled
            if not self._lsp.state.node.channels.has(asked.client):
                self._event_log.write_often(LogEvent.REQUEST_IGNORED, client=asked.client, because="it has no channel")
                return
            try:
                invoice = await self._node.decode_invoice(text)
            except NodeError as error:
                self._event_log.write_often(LogEvent.INVOICE_NOT_READ, because=error)
                invoice = None
        self._loop.enqueue(lsp_io.BlockRequested(asked.client, asked.request, invoice))
