"""The wallet's session: it passes the node's events to the engines, decodes messages, and serves the user's requests.

performer  performs the engines' effects     wallet_api   the requests of the user
dialler    when the node dials the LSP
orders     checks an order to pay            view         the stored payments, for users
lsp_link   requests to the LSP               own_node     the last reports of the node about itself
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from asyncpay.config import WalletConfig
from asyncpay.engine.core import Detached, StoredClock
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.interface import Announced, ReleaseAnswered
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.interface import Ordered, RefusalSeen, ReleaseSeen, Replied, Updated
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.wallet import Wallet, WalletEffect, WalletEvent, WalletRecord, read_message
from asyncpay.log_events import LogEvent
from asyncpay.lsps.info import UnsuitableLspError
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    CustomMessage,
    InvoicePaid,
    LinkChanged,
    LinkClosed,
    NodeEvent,
    OnionReceived,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.base import Node, NodeError
from asyncpay.service.common import control
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.common.failpoints import Failpoints
from asyncpay.service.common.loop import Loop, RefusedEvents
from asyncpay.service.common.session import follow_node, open_node, run_forever
from asyncpay.service.wallet.dialler import Dialler
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError
from asyncpay.service.wallet.own_node import ChainWatch, WalletNodeView
from asyncpay.service.wallet.performer import Performer
from asyncpay.service.wallet.view import View
from asyncpay.service.wallet.wallet_api import WalletApi
from asyncpay.store import WalletStore
from asyncpay.wire.errors import WireError

MAX_LOOKUPS = 16
"""The most payment_pending messages whose invoices are looked up at a time; the payer's LSP repeats dropped ones."""


async def run(config: WalletConfig, event_log: EventLog) -> None:
    """Run until cancelled. StoreError if the store cannot be used from the start."""
    WalletStore(config.store.path).close()  # an unusable file is reported before anything runs
    event_log.write(LogEvent.STARTED, store=config.store.path, node=str(config.node))
    refused = RefusedEvents(Ordered, Announced, Replied, Updated, ReleaseSeen, RefusalSeen, ReleaseAnswered)
    await run_forever(partial(_session, refused), config, event_log)


async def _session(refused: RefusedEvents, config: WalletConfig, event_log: EventLog) -> None:
    """Run one pair of engines, loaded from the store, until something fails."""
    async with open_node(config.node) as node:
        with WalletStore(config.store.path) as store:
            await _Session(config, event_log, node, store, list(store.load()), refused).run()


class _Session:
    def __init__(
        self,
        config: WalletConfig,
        event_log: EventLog,
        node: Node,
        store: WalletStore,
        records: Sequence[WalletRecord],
        refused: RefusedEvents,
    ) -> None:
        self._config = config
        self._event_log = event_log
        self._node = node
        self._store = store
        self._view = View(records)
        self._lookups = 0
        self._node_view = WalletNodeView()
        self._chain_watch = ChainWatch(config.payee_policy.old_tip_seconds)
        self._link = LspLink(node, config.lsp.node_id)
        self._dialler = Dialler(node, self._link, self._node_view, config.lsp.address, config.dial_policy, event_log)
        payments = [record for record in records if isinstance(record, OutgoingPayment)]
        claims = [record for record in records if isinstance(record, Claim)]
        wallet = Wallet(Payer(config.payer_policy, payments), Payee(config.payee_policy, claims))
        self._payments = wallet.payer.state.payments
        failpoints = Failpoints(config.store.path, event_log)
        self._loop: Loop[WalletEvent] = Loop(
            wallet,
            self._commit,
            self._perform,
            self._settle,
            failpoints,
            event_log,
            refused,
            self._refuse,
            stored_clock=store.clock(),
        )
        self._api = WalletApi(
            node,
            self._node_view,
            self._link,
            config.payer_policy,
            self._view,
            event_log,
            self._loop.stored,
            self._loop.clock,
            self._dialler.hurry,
        )

    async def run(self) -> None:
        self._events = asyncio.get_running_loop()
        serving = control.serving(self._config.store.socket, self._api.verbs(), "wallet")
        async with serving, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._performer = Performer(
                self._node, self._link, self._event_log, self._loop.enqueue, tasks, self._chain_watch
            )
            tasks.create_task(follow_node(self._node, self._take, self._away, self._loop.room, self._event_log))
            tasks.create_task(self._loop.run())
            tasks.create_task(self._dialler.run())

    def _commit(self, changes: Any) -> None:
        """Store the changes. This runs in its own thread, and informs the view in the event loop's thread."""
        changes = list(changes)
        self._store.commit(changes)
        shown = [change for change in changes if not isinstance(change.record, StoredClock)]
        self._events.call_soon_threadsafe(self._view.stored, shown)

    async def _perform(self, effect: WalletEffect) -> None:
        await self._performer.perform(effect)

    async def _settle(self) -> None:
        """Do nothing: a wallet's effects have no fixed order."""

    async def _refuse(self, event: WalletEvent) -> None:
        """Drop an event that the engine could not handle: no peer waits for an answer of a wallet."""
        self._event_log.write(LogEvent.REFUSED, event=type(event).__name__)

    def _away(self) -> None:
        self._node_view.fold(Detached())
        self._dialler.look()
        self._loop.enqueue(Detached())

    def _take(self, event: NodeEvent) -> None:
        """Pass an event of the node to the engine or the LSP link. HTLCs and messages of others are ignored."""
        self._node_view.fold(event)
        self._link.choose(self._node_view.channels)
        self._dialler.look()
        match event:
            case OnionReceived():
                self._take_onion(event)
            case CustomMessage():
                self._link.take(event)
            case Attached():
                self._chain_watch.begin_afresh()
                self._performer.node_id = event.node_id
                self._event_log.write(LogEvent.ATTACHED, node=event.node_id, height=event.height)
                self._loop.enqueue(event)
                self._ask_what_lsp_offers()
            case PeerConnected():
                self._chain_watch.begin_afresh()
                self._loop.enqueue(event)
                self._ask_what_lsp_offers()
            case BlockConnected() | PeerDisconnected() | LinkChanged() | LinkClosed() | InvoicePaid():
                self._loop.enqueue(event)

    def _take_onion(self, event: OnionReceived) -> None:
        try:
            asked = read_message(event, self._payments)
        except WireError as error:
            self._event_log.write_often(LogEvent.MESSAGE_DROPPED, because=error)
            return
        if isinstance(asked, Announced):
            self._take_announced(asked)
        elif asked is not None:
            self._loop.enqueue(asked)

    def _take_announced(self, announced: Announced) -> None:
        """Look up the invoices in the node, for few messages at a time. An unproven message causes no look-up."""
        message = announced.message
        if message.invoice_proof is None and not self._config.payee_policy.accept_unproven:
            self._loop.enqueue(replace(announced, invoices=(None,) * len(message.payment_hashes)))
        elif self._lookups >= MAX_LOOKUPS:
            self._event_log.write_often(
                LogEvent.MESSAGE_DROPPED, because=f"{self._lookups} others wait for look-ups of invoices"
            )
        else:
            self._lookups += 1
            self._tasks.create_task(
                guarded(self._event_log, "payment_pending", partial(self._with_invoices, announced))
            )

    async def _with_invoices(self, announced: Announced) -> None:
        """Look up the invoices in the node. If it does not answer, the message is dropped, and will be repeated."""
        try:
            found = [await self._node.look_up_invoice(each) for each in announced.message.payment_hashes]
        except NodeError as error:
            self._event_log.error(LogEvent.ANNOUNCEMENT_NOT_CHECKED, error)
            return
        finally:
            self._lookups -= 1
        self._loop.enqueue(replace(announced, invoices=tuple(found)))

    def _ask_what_lsp_offers(self) -> None:
        try:
            connected = self._link.node_id in self._node_view.online
        except NoLspError:
            return
        if connected:
            self._tasks.create_task(guarded(self._event_log, "the LSP's offer", self._ask))

    async def _ask(self) -> None:
        try:
            offer = await self._link.info(anew=True)
            self._event_log.write(LogEvent.LSP_OFFERS, lsp=self._link.node_id, versions=list(offer.versions))
        except (NoLspError, UnsuitableLspError, NodeError) as error:
            self._event_log.write(LogEvent.LSP_OFFER_UNKNOWN, because=error)
