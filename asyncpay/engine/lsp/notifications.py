"""When and how often an offline client is notified, and which nodes are clients.

A push attempt is one series of notifications by one method. It begins with an event that the client must
know of, is renewed by further events, and ends when the client connects or the reason no longer applies. The
pauses between the tries of an attempt double: after a failed try from a short one, after a delivered one from the
cooldown; after `max_pushes` nothing is sent until the next event. Push attempts are stored, so a crash
of this component does not notify the phones again.
A node is a client as long as it has a webhook (bLIP-55); a webhook is deleted a week after its node's last channel.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from asyncpay.engine.lsp import conditions
from asyncpay.engine.lsp.interface import NotificationReported, Notify, WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.records import Htlc, Method, PushAttempt, Target, Webhook
from asyncpay.engine.lsp.schedule import slices
from asyncpay.engine.lsp.state import Context, Work
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import DAY_SECONDS
from asyncpay.lightning import NodeId


def notify(ctx: Context, client: NodeId | None, method: Method) -> None:
    """Begin a push attempt for a new event, or reset the tries of the existing one."""
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
    """Begin a push attempt for an earlier event, unless one is under way or used up. Repeated calls are harmless."""
    if (client, method) not in ctx.records.push_attempts:
        notify(ctx, client, method)


def remind_if_waiting(ctx: Context, client: NodeId, method: Method) -> None:
    """Remind a client that is not known to be connected, if there is a reason."""
    if _can_be_notified(ctx, client) and waits(ctx, client, method):
        remind(ctx, client, method)


def review_absent(ctx: Context) -> None:
    """Remind the offline clients, in slices, after the node was attached. reconcile.py detects waiting results.

    First those for which an HTLC waits, then those whose HTLCs expire, then those with messages.
    """
    ctx.state.review = _review()
    next(ctx.state.review)
    go_on(ctx)


def go_on(ctx: Context) -> None:
    """Do the next slice of the review, if one is under way."""
    if ctx.state.review is not None:
        try:
            ctx.state.review.send(ctx)
        except StopIteration:
            ctx.state.review = None


def _review() -> Work:
    ctx = yield
    wanted = [(to, Method.PAYMENT_INCOMING) for to in _clients_of(ctx, ctx.records.all_targets())]
    wanted += [(client, Method.EXPIRY_SOON) for client in ctx.state.soonest_expiry]
    wanted += [(client, Method.ONION_MESSAGE) for client in ctx.records.clients_with_messages()]
    for done, reminders in enumerate(slices(wanted, ctx.slice_size)):
        if done:
            ctx = yield
        for client, method in reminders:
            remind_if_waiting(ctx, client, method)


def _clients_of(ctx: Context, targets: Iterable[Target]) -> Iterator[NodeId]:
    for to in targets:
        if isinstance(to, bytes):
            yield to
        elif (link := ctx.node.channels.named(to)) is not None:
            yield link.peer


def end(ctx: Context, client: NodeId) -> None:
    """End all push attempts and cooldowns of a node that has connected, or is no longer a client."""
    for method in Method:
        attempt = ctx.records.push_attempts.get((client, method))
        if attempt is not None:
            ctx.drop(attempt)


def run(ctx: Context) -> None:
    """Send due notifications. While the node is not attached it is unknown which clients are offline."""
    if not ctx.node.attached:
        return
    for key in ctx.due(ctx.state.schedule.pushes, ctx.now):
        attempt = ctx.records.push_attempts[key]
        if not waits(ctx, attempt.client, attempt.method):
            ctx.drop(attempt)
            continue
        tries = attempt.tries + 1
        pause = ctx.policy.push_cooldown_seconds * 2 ** (tries - 1)
        ctx.put(replace(attempt, tries=tries, last_at=ctx.now, next_at=_after(ctx, tries, pause)))
        soon = attempt.method is Method.EXPIRY_SOON
        ctx.emit(Notify(attempt.client, attempt.method, ctx.state.soonest_expiry[attempt.client] if soon else None))


def reported(ctx: Context, event: NotificationReported) -> None:
    """Schedule the next try: sooner if the notification was not delivered."""
    attempt = ctx.records.push_attempts.get((event.client, event.method))
    if attempt is not None and not event.delivered and attempt.tries:
        pause = ctx.policy.push_retry_seconds * 2 ** (attempt.tries - 1)
        ctx.put(replace(attempt, next_at=_after(ctx, attempt.tries, pause)))


def next_at(ctx: Context) -> float:
    """Return the time at which `run` has work to do."""
    if not ctx.node.attached:
        return math.inf
    return ctx.state.schedule.pushes.first


def waits(ctx: Context, client: NodeId, method: Method) -> bool:
    """Return whether there still is a reason to notify this client by this method."""
    if not ctx.records.is_client(client):
        return False
    match method:
        case Method.ONION_MESSAGE:
            return ctx.records.has_messages(client)
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
    targets = ctx.targets(client)
    return ctx.records.has_outgoing(targets) or any(
        conditions.next_peer(ctx, part.htlc) == client for part in _stuck_parts(ctx, targets)
    )


def _payer_needed(ctx: Context, client: NodeId) -> bool:
    due = (part for block in ctx.records.due_of(client) for part in ctx.records.parts(block))
    stuck = (part for part in _stuck_parts(ctx, [client]) if part.htlc.peer == client)
    return conditions.payer_missing(ctx, chain(due, stuck))


def _stuck_parts(ctx: Context, targets: Iterable[Target]) -> Iterator[Htlc]:
    for key in ctx.state.stuck.that_need(targets):
        part = ctx.records.htlcs[key]
        if part.block is not None and ctx.records.blocks[part.block].state is State.RELEASED:
            yield part


def _result_waits(ctx: Context, client: NodeId) -> bool:
    if ctx.records.has_result(client):
        return True
    ahead = (ctx.records.htlcs.get(key) for key in ctx.state.resolved_ahead.get(client, ()))
    return any(htlc is not None and not htlc.gone for htlc in ahead)


def _expires_soon(ctx: Context, client: NodeId) -> bool:
    height, soonest = ctx.node.height, ctx.state.soonest_expiry.get(client)
    return height is not None and soonest is not None and soonest - height <= ctx.policy.expiry_soon_blocks


KEPT_WITHOUT_CHANNEL_SECONDS = 7 * DAY_SECONDS


# --- webhooks ---


def webhook_set(ctx: Context, event: WebhookSet) -> None:
    """Store a new webhook, or a new URL for an existing one."""
    ctx.put(Webhook(client=event.client, app_name=event.app_name, url=event.url, used_at=ctx.now))


def webhook_removed(ctx: Context, event: WebhookRemoved) -> None:
    """Delete a webhook that its client removed."""
    webhook = ctx.records.webhooks.get((event.client, event.app_name))
    if webhook is not None:
        _drop_webhook(ctx, webhook)


def review_webhooks(ctx: Context) -> None:
    """Renew the webhooks of clients with a channel, and delete those of clients without one for a week."""
    for key in ctx.state.schedule.webhooks.due(ctx.now, ctx.slice_size):
        webhook = ctx.records.webhooks[key]
        if ctx.node.channels.has(webhook.client):
            ctx.put(replace(webhook, used_at=ctx.now))
        elif ctx.now >= webhook.used_at + KEPT_WITHOUT_CHANNEL_SECONDS:
            _drop_webhook(ctx, webhook)
        else:
            ctx.state.schedule.webhooks.set(key, webhook.used_at + KEPT_WITHOUT_CHANNEL_SECONDS)


def channel_is_back(ctx: Context, client: NodeId) -> None:
    """Mark the webhooks of a client as used: it has a channel, again or still."""
    for webhook in ctx.records.webhooks_of(client):
        ctx.state.schedule.put(webhook)


def _drop_webhook(ctx: Context, webhook: Webhook) -> None:
    ctx.drop(webhook)
    if not ctx.records.is_client(webhook.client):
        end(ctx, webhook.client)
