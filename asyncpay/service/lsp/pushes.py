"""Notifications of clients: what waits, what is under way, and whose turn it is.

After an outage there is one for each phone, and gateways may be slow or not answer at all. So notifications wait here
without a task, a signature or a connection, and a bounded number is under way. Gateways, the hosts of webhooks, take
turns and have a share each: one that does not answer delays its own clients only. Of one gateway's notifications those
for which money waits go first. Each client has a share too: it can register webhooks at many hosts that do not answer.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from asyncpay.engine.lsp.interface import LspEvent, NotificationReported, Notify
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.fair_shares import FairQueue
from asyncpay.lightning import NodeId
from asyncpay.log_events import LogEvent
from asyncpay.service.common.event_log import EventLog, guarded

MAX_PUSHES = 200
"""Notifications under way at a time."""
MAX_PUSHES_OF_A_GATEWAY = 50
"""Of those to webhooks at one host. With four hosts that do not answer, others have their turns as posts time out."""
MAX_PUSHES_OF_A_CLIENT = 2
"""Of those to webhooks of one client, each at another host or by another method."""
URGENCY = {
    Method.PAYMENT_INCOMING: 0,
    Method.SETTLEMENT_PENDING: 0,
    Method.EXPIRY_SOON: 1,
    Method.ONION_MESSAGE: 2,
}


class ClientNotifier(Protocol):
    """The interface for notifications to webhooks (asyncpay.service.lsp.lsps_service)."""

    async def notify(self, webhooks: Iterable[Webhook], method: Method, expiry_height: int | None) -> bool:
        """Post to all of them; return whether at least one accepted it."""
        ...


@dataclass
class _Push:
    """A notification until it is reported. posts_left: to gateways that it was not posted to yet."""

    effect: Notify
    posts_left: int
    delivered: bool = False


class Pushes:
    """Carries out each Notify, and reports it once.

    A further one of the same client and method is not carried out as long as the first is not reported.
    """

    def __init__(
        self,
        notifier: ClientNotifier,
        webhooks_of: Callable[[NodeId], list[Webhook]],
        report: Callable[[LspEvent], None],
        event_log: EventLog,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._notifier = notifier
        self._webhooks_of = webhooks_of
        self._report = report
        self._event_log = event_log
        self._tasks = tasks
        self._pushes: dict[tuple[NodeId, Method], _Push] = {}
        self._queue: FairQueue[_Push] = FairQueue(
            self._begin, each=MAX_PUSHES_OF_A_GATEWAY, at_once=MAX_PUSHES, each_owner=MAX_PUSHES_OF_A_CLIENT
        )

    def add(self, effect: Notify) -> None:
        """Post it to each of the client's webhooks, when it is its turn there."""
        key = effect.client, effect.method
        if key in self._pushes:
            return
        gateways = {gateway(webhook) for webhook in self._webhooks_of(effect.client)}
        push = self._pushes[key] = _Push(effect, len(gateways))
        for each in sorted(gateways):
            self._queue.add(each, URGENCY[effect.method], push, owner=effect.client)
        if not gateways:
            self._reported(push)

    def _begin(self, party: Hashable, push: _Push) -> None:
        work, failed = partial(self._post, party, push), partial(self._ended, party, push)
        self._tasks.create_task(guarded(self._event_log, type(push.effect).__name__, work, failed))

    async def _post(self, party: Hashable, push: _Push) -> None:
        """Webhooks that were removed meanwhile are not posted to."""
        effect = push.effect
        webhooks = [webhook for webhook in self._webhooks_of(effect.client) if gateway(webhook) == party]
        if webhooks and await self._notifier.notify(webhooks, effect.method, effect.timeout):
            push.delivered = True
        self._ended(party, push)

    def _ended(self, party: Hashable, push: _Push) -> None:
        push.posts_left -= 1
        if not push.posts_left:
            self._reported(push)
        self._queue.done(party, push.effect.client)

    def _reported(self, push: _Push) -> None:
        effect = push.effect
        del self._pushes[effect.client, effect.method]
        event = LogEvent(f"notify {effect.method.value}")
        self._event_log.write(event, client=effect.client, delivered=str(push.delivered).lower())
        self._report(NotificationReported(effect.client, effect.method, push.delivered))


def gateway(webhook: Webhook) -> str:
    """The host of a webhook's URL; empty if it has none."""
    try:
        return urlsplit(webhook.url).hostname or ""
    except ValueError:
        return ""
