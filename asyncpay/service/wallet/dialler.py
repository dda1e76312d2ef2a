"""Has the wallet's node dial its LSP while the two are not connected.

A node dials its peers by itself, and waits longer and longer in between: LND up to an hour, Core Lightning five
minutes. An LSP waits for a phone that it has notified, so a push is a reason to dial immediately, and so is the
network's return. Otherwise the pauses grow here too. Each is longer or shorter by a random part, so that the clients of
an LSP that was away do not all come back in one moment.

A node that has just started, or has just lost the connection, dials by itself, and is left to it for a moment. Of two
dials at the same time LND may end up with no connection: it keeps the first of two that it has made, its peer the first
of two that it has accepted, and these need not be the same (seen with LND 0.21 on both sides).
"""

import asyncio
import random
import time
from collections.abc import Callable

from asyncpay.engine.policy import DialPolicy
from asyncpay.lightning import NodeId
from asyncpay.log_events import LogEvent
from asyncpay.nodes.base import Node, NodeError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError
from asyncpay.service.wallet.own_node import WalletNodeView

NODES_TURN = 1.5
"""How many first pauses the node has for a dial of its own."""


class DialSchedule:
    """When to dial next. Moments are seconds of one steady clock.

    chance: a number from 0 to below 1, another one each time.
    """

    def __init__(self, policy: DialPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._chance = chance
        self._failed = 0
        self._found_at: float | None = None
        self._dialled_at: float | None = None
        self.due: float | None = None
        """The moment of the next attempt; None while none is needed."""

    def found(self, now: float) -> None:
        """The LSP is connected, or there is none to dial."""
        if self.due is not None or self._found_at is None:
            self.due, self._found_at = None, now

    def lost(self, now: float) -> None:
        """The LSP is not connected. After a connection that did not last, the pauses go on growing."""
        if self.due is not None:
            return
        if self._found_at is not None and now - self._found_at >= self._policy.dial_most_seconds:
            self._failed = 0
        first = (NODES_TURN + self._chance()) * self._policy.dial_first_seconds
        self.due = now + (max(first, self._pause()) if self._failed else first)

    def hurry(self, now: float) -> None:
        """There is news: dial now, unless an attempt was made just before, and begin with short pauses again."""
        self._failed = 0
        if self.due is not None:
            earliest = now if self._dialled_at is None else self._dialled_at + self._policy.dial_first_seconds
            self.due = max(now, earliest)

    def dialled(self, now: float) -> None:
        """An attempt has ended, in whatever way."""
        self._failed += 1
        self._dialled_at = now
        if self.due is not None:
            self.due = now + self._pause()

    def _pause(self) -> float:
        policy = self._policy
        # 2^30 first pauses are longer than every longest one that makes sense, and no number that overflows.
        pause = min(policy.dial_first_seconds * 2.0 ** min(self._failed - 1, 30), policy.dial_most_seconds)
        return pause * (1 + policy.dial_jitter * (2 * self._chance() - 1))


class Dialler:
    """Dials by the schedule. address: host:port of the LSP; without one the node must know it itself."""

    def __init__(
        self,
        node: Node,
        link: LspLink,
        node_view: WalletNodeView,
        address: str | None,
        policy: DialPolicy,
        event_log: EventLog,
    ) -> None:
        self._node = node
        self._link = link
        self._node_view = node_view
        self._address = address
        self._event_log = event_log
        self._schedule = DialSchedule(policy)
        self._news = asyncio.Event()

    def look(self) -> None:
        """The node has told something: the LSP may have come or gone."""
        before = self._schedule.due
        if self._missing() is None:
            self._schedule.found(time.monotonic())
        else:
            self._schedule.lost(time.monotonic())
        if self._schedule.due != before:
            self._news.set()

    def hurry(self) -> None:
        """A push has come, or the network is back: dial now if the LSP is not connected."""
        self.look()
        self._schedule.hurry(time.monotonic())
        self._news.set()

    async def run(self) -> None:
        """Dial whenever it is due, until cancelled."""
        while True:
            self._news.clear()
            due, now = self._schedule.due, time.monotonic()
            if due is not None and due <= now:
                await self._dial()
                continue
            try:
                async with asyncio.timeout(None if due is None else due - now):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _missing(self) -> NodeId | None:
        """The LSP, if the node answers and is not connected to it."""
        try:
            lsp = self._link.node_id
        except NoLspError:
            return None
        return lsp if self._node_view.attached and lsp not in self._node_view.online else None

    async def _dial(self) -> None:
        lsp = self._missing()
        try:
            if lsp is not None:
                await self._node.connect_peer(lsp, self._address)
                self._event_log.write(LogEvent.DIALLED, lsp=lsp)
        except NodeError as error:
            self._event_log.write_often(LogEvent.NOT_DIALLED, because=error)
        except Exception as error:
            self._event_log.unexpected("dialling the LSP", error)
        finally:
            self._schedule.dialled(time.monotonic())
