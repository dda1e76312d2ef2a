"""When and how often an offline client is notified, and who is a client.

A push attempt is one series of notifications by one method. It begins when something happens that the client must
know of, is renewed when something more does, and ends when the client connects or the reason is gone. The
tries of an attempt double their distance, those that failed from a short one, those that were delivered from the
cooldown; after `max_pushes` nothing more is sent until something new happens. Push attempts are stored, so a crash
of this component does not notify the phones again.
A node is a client as long as it has a webhook (bLIP-55); a webhook lapses a week after its node's last channel.
"""

import math
from dataclasses import replace

from asyncpay.engine.lsp import conditions
from asyncpay.engine.lsp.effects import Notify
from asyncpay.engine.lsp.events import NotificationReported, WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.policy import DAY_SECONDS
from asyncpay.engine.lsp.records import Method, PushAttempt, Webhook
from asyncpay.engine.lsp.state import Context
from asyncpay.lightning import NodeId, Resolution


def notify(ctx: Context, client: NodeId | None, method: Method) -> None:
    """Something new has happened: begin a push attempt, or grant the one that exists its full tries again."""
    if client is None or not _can_be_notified(ctx, client):
        return
    attempt = ctx.records.push_attempts.get((client, method))
    if attempt is None:
        ctx.put(PushAttempt(client=client, method=method, next_at=ctx.now))
        return
    earliest = ctx.now if attempt.last_at is None else attempt.last_at + ctx.policy.push_cooldown_seconds
    pending = math.inf if attempt.next_at is None else attempt.next_at
    ctx.put(replace(attempt, tries=0, next_at=min(pending, max(ctx.now, earliest))))


def remind(ctx: Context, client: NodeId | None, method: Method) -> None:
    """Something still waits: begin a push attempt, unless one is under way or used up. May be repeated freely."""
    if (client, method) not in ctx.records.push_attempts:
        notify(ctx, client, method)


def remind_if_waiting(ctx: Context, client: NodeId, method: Method) -> None:
    """The client is away, or not known to be here: remind it if there is a reason."""
    if _can_be_notified(ctx, client) and waits(ctx, client, method):
        remind(ctx, client, method)


def end(ctx: Context, client: NodeId) -> None:
    """The client has connected, or is none any more: all its push attempts, and their cooldowns, are over."""
    for method in Method:
        attempt = ctx.records.push_attempts.get((client, method))
        if attempt is not None:
            ctx.drop(attempt)


def run(ctx: Context) -> None:
    """Send what is due. Without a node nobody knows who is away."""
    for attempt in list(ctx.records.push_attempts.values()):
        if attempt.next_at is None or attempt.next_at > ctx.now or not ctx.node.attached:
            continue
        if not waits(ctx, attempt.client, attempt.method):
            ctx.drop(attempt)
            continue
        tries = attempt.tries + 1
        pause = ctx.policy.push_cooldown_seconds * 2 ** (tries - 1)
        ctx.put(replace(attempt, tries=tries, last_at=ctx.now, next_at=_after(ctx, tries, pause)))
        soon = attempt.method is Method.EXPIRY_SOON
        ctx.emit(Notify(attempt.client, attempt.method, ctx.state.soonest_expiry[attempt.client] if soon else None))


def reported(ctx: Context, event: NotificationReported) -> None:
    """A notification that was not delivered is tried again sooner."""
    attempt = ctx.records.push_attempts.get((event.client, event.method))
    if attempt is not None and not event.delivered and attempt.tries:
        pause = ctx.policy.push_retry_seconds * 2 ** (attempt.tries - 1)
        ctx.put(replace(attempt, next_at=_after(ctx, attempt.tries, pause)))


def next_at(ctx: Context) -> float:
    """When `run` has something to do."""
    if not ctx.node.attached:
        return math.inf
    return min(
        (attempt.next_at for attempt in ctx.records.push_attempts.values() if attempt.next_at is not None),
        default=math.inf,
    )


def waits(ctx: Context, client: NodeId, method: Method) -> bool:
    """Whether there still is a reason to call this client by this method."""
    if not ctx.records.is_client(client):
        return False
    match method:
        case Method.ONION_MESSAGE:
            return bool(ctx.records.messages_for(client))
        case Method.PAYMENT_INCOMING:
            return _htlc_waits(ctx, client)
        case Method.SETTLEMENT_PENDING:
            return _payer_needed(ctx, client) or _result_waits(ctx, client)
        case Method.EXPIRY_SOON:
            return _expires_soon(ctx, client)


def _can_be_notified(ctx: Context, client: NodeId) -> bool:
    return client not in ctx.node.online and ctx.records.is_client(client)


def _after(ctx: Context, tries: int, pause: float) -> float | None:
    return ctx.now + pause if tries < ctx.policy.max_pushes else None


def _htlc_waits(ctx: Context, client: NodeId) -> bool:
    held = ctx.records.waiting()
    for block in ctx.records.blocks.values():
        held += conditions.stuck_parts(ctx, block)
    return any(conditions.next_peer(ctx, each.htlc) == client for each in held)


def _payer_needed(ctx: Context, client: NodeId) -> bool:
    theirs = ctx.records.blocks_of(client)
    return any(conditions.payer_missing(ctx, conditions.stuck_parts(ctx, block)) for block in theirs)


def _result_waits(ctx: Context, client: NodeId) -> bool:
    return any(
        each.htlc.peer == client
        and not each.gone
        and (
            each.outcome is not None
            or each.resolution in (Resolution.FAIL, Resolution.SETTLE)
            or each.key in ctx.state.resolved_ahead
        )
        for each in ctx.records.htlcs.values()
    )


def _expires_soon(ctx: Context, client: NodeId) -> bool:
    height, soonest = ctx.node.height, ctx.state.soonest_expiry.get(client)
    return height is not None and soonest is not None and soonest - height <= ctx.policy.expiry_soon_blocks


KEPT_WITHOUT_CHANNEL_SECONDS = 7 * DAY_SECONDS


# --- webhooks ---


def webhook_set(ctx: Context, event: WebhookSet) -> None:
    """A new webhook, or a new address for an old one."""
    ctx.put(Webhook(client=event.client, app_name=event.app_name, url=event.url, used_at=ctx.now))


def webhook_removed(ctx: Context, event: WebhookRemoved) -> None:
    """A webhook is taken back."""
    webhook = ctx.records.webhooks.get((event.client, event.app_name))
    if webhook is not None:
        _drop_webhook(ctx, webhook)


def review_webhooks(ctx: Context) -> None:
    """Webhooks are in use while there is a channel; a week after that they lapse."""
    for webhook in list(ctx.records.webhooks.values()):
        if ctx.node.channels.has(webhook.client):
            if ctx.now >= webhook.used_at + DAY_SECONDS:
                ctx.put(replace(webhook, used_at=ctx.now))
        elif ctx.now >= webhook.used_at + KEPT_WITHOUT_CHANNEL_SECONDS:
            _drop_webhook(ctx, webhook)


def _drop_webhook(ctx: Context, webhook: Webhook) -> None:
    ctx.drop(webhook)
    if not ctx.records.is_client(webhook.client):
        end(ctx, webhook.client)
