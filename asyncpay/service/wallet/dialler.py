"""Lets the wallet's node dial its LSP while the two are not connected.

A node dials its peers by itself, with growing pauses: LND up to an hour, Core Lightning five minutes. An LSP waits for
a phone that it has notified, so the node dials immediately after a push, and when the network is back. Otherwise the
pauses grow here too. Each is longer or shorter by a random fraction, so that the clients of an LSP that was offline do
not all reconnect at the same moment.

A node that has just started, or has just lost the connection, dials by itself, so this module waits for a moment. After
two dials at the same time LND may end up with no connection: it keeps the first of two outgoing ones, its peer the
first of two incoming ones, and these need not be the same (seen with LND 0.21 on both sides).
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
"""The time that the node has for its own dial, in first pauses."""


class DialSchedule:
    """When to dial next. Times are seconds of one steady clock.

    chance: returns a new random number from 0 to below 1.
    """

    def __init__(self, policy: DialPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._chance = chance
        self._failed = 0
        self._found_at: float | None = None
        self._dialled_at: float | None = None
        self.due: float | None = None
        """The time of the next attempt; None while none is needed."""

    def found(self, now: float) -> None:
        """Record that the LSP is connected, or that there is none to dial."""
        if self.due is not None or self._found_at is None:
            self.due, self._found_at = None, now

    def lost(self, now: float) -> None:
        """Record that the LSP is not connected. After a short connection, the pauses continue to grow."""
        if self.due is not None:
            return
        if self._found_at is not None and now - self._found_at >= self._policy.dial_most_seconds:
            self._failed = 0
        first = (NODES_TURN + self._chance()) * self._policy.dial_first_seconds
        self.due = now + (max(first, self._pause()) if self._failed else first)

    def hurry(self, now: float) -> None:
        """Dial now, unless an attempt was made just before, and begin with short pauses again."""
        self._failed = 0
        if self.due is not None:
            earliest = now if self._dialled_at is None else self._dialled_at + self._policy.dial_first_seconds
            self.due = max(now, earliest)

    def dialled(self, now: float) -> None:
        """Record the end of an attempt, successful or not."""
        self._failed += 1
        self._dialled_at = now
        if self.due is not None:
            self.due = now + self._pause()

    def _pause(self) -> float:
        policy = self._policy
        # 2^30 first pauses exceed any reasonable maximum, and do not overflow.
        pause = min(policy.dial_first_seconds * 2.0 ** min(self._failed - 1, 30), policy.dial_most_seconds)
        return pause * (1 + policy.dial_jitter * (2 * self._chance() - 1))


class Dialler:
    """Dial by the schedule. address: host:port of the LSP; without it the node must know one."""

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
        """Update the schedule after an event of the node: the LSP may have connected or disconnected."""
        before = self._schedule.due
        if self._missing() is None:
            self._schedule.found(time.monotonic())
        else:
            self._schedule.lost(time.monotonic())
        if self._schedule.due != before:
            self._news.set()

    def hurry(self) -> None:
        """Dial now if the LSP is not connected, after a push, or when the network is back."""
        self.look()
        self._schedule.hurry(time.monotonic())
        self._news.set()

    async def run(self) -> None:
        """Dial when it is due, until cancelled."""
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
        """Return the LSP if the node is attached and not connected to it, else None."""
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
