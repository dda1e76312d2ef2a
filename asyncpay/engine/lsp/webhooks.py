"""Who is a client: the devices that nodes have registered (bLIP-55), and when a registration lapses."""

from dataclasses import replace

from asyncpay.engine.lsp import waking
from asyncpay.engine.lsp.events import WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.policy import DAY_SECONDS
from asyncpay.engine.lsp.records import Webhook
from asyncpay.engine.lsp.turn import Turn

KEPT_WITHOUT_CHANNEL_SECONDS = 7 * DAY_SECONDS


def registered(turn: Turn, event: WebhookSet) -> None:
    """A new webhook, or a new address for an old one."""
    turn.put(Webhook(client=event.client, app_name=event.app_name, url=event.url, used_at=turn.now))


def removed(turn: Turn, event: WebhookRemoved) -> None:
    """A webhook is taken back."""
    webhook = turn.tables.webhooks.get((event.client, event.app_name))
    if webhook is not None:
        _drop(turn, webhook)


def review(turn: Turn) -> None:
    """Webhooks are in use while there is a channel; a week after that they lapse."""
    for webhook in list(turn.tables.webhooks.values()):
        if turn.state.channels.has(webhook.client):
            if turn.now >= webhook.used_at + DAY_SECONDS:
                turn.put(replace(webhook, used_at=turn.now))
        elif turn.now >= webhook.used_at + KEPT_WITHOUT_CHANNEL_SECONDS:
            _drop(turn, webhook)


def _drop(turn: Turn, webhook: Webhook) -> None:
    turn.drop(webhook)
    if not turn.tables.is_client(webhook.client):
        waking.end(turn, webhook.client)
