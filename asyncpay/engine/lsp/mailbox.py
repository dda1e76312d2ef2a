"""Onion messages for offline clients: stored within limits, delivered in order, recognised when repeated.

Senders repeat messages (the courier, payees with their releases), and a client may have lost a delivered one. So a
repetition is delivered like any other message; it is stored only once, and notified at most hourly.
"""

from collections import Counter
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.lsp import notifications, sessions
from asyncpay.engine.lsp.interface import Delivery, DeliveryReported
from asyncpay.engine.lsp.records import Delivered, Method, StoredMessage
from asyncpay.engine.lsp.state import Context
from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit
from asyncpay.wire.onion import OnionMessage


def message_id(message: OnionMessage) -> bytes:
    """Return the identifier of a message, 32 bytes: equal messages have the same."""
    return sha256(message.path_key + message.packet).digest()


def receive(ctx: Context, event: OnionInTransit) -> None:
    """Store a message that the node cannot forward. Only clients have a mailbox."""
    client = event.next_node_id
    if not ctx.records.is_client(client) or (client in ctx.node.online and not event.undelivered):
        return
    name = message_id(event.message)
    if (client, name) in ctx.records.messages:
        if (client, name) in ctx.records.delivered:
            _announce(ctx, ctx.records.messages[client, name])
        return
    if (client, name) in ctx.records.delivered and client in ctx.state.sessions:
        # The client only seems to be connected: do not deliver the message again immediately, in a loop.
        ctx.state.sessions[client].next_at = ctx.now + ctx.policy.redeliver_seconds
    message = StoredMessage(
        client=client,
        message_id=name,
        number=ctx.state.next_message_number,
        source=event.source,
        message=event.message,
        arrived_at=ctx.now,
    )
    ctx.state.next_message_number += 1
    ctx.put(message)
    _make_room(ctx, client)
    if (client, name) in ctx.records.messages:
        _announce(ctx, message)
    sessions.schedule(ctx, client)


def delivery_reported(ctx: Context, event: DeliveryReported) -> None:
    """Handle the result of a delivery."""
    session = ctx.state.sessions.get(event.client)
    if session is not None and session.delivering == event.message_id:
        session.delivering = None
        missed = event.delivery is Delivery.NOT_CONNECTED
        session.next_at = ctx.now + (ctx.policy.redeliver_seconds if missed else ctx.policy.pace_seconds)
    message = ctx.records.messages.get((event.client, event.message_id))
    if message is not None and event.delivery is not Delivery.NOT_CONNECTED:
        ctx.drop(message)
        if event.delivery is Delivery.DONE:
            _remember(ctx, message)
    sessions.schedule(ctx, event.client)


def run(ctx: Context) -> None:
    """Delete messages that are too old."""
    for key in ctx.due(ctx.state.schedule.messages, ctx.now):
        ctx.drop(ctx.records.messages[key])
    for key in ctx.due(ctx.state.schedule.delivered, ctx.now):
        ctx.drop(ctx.records.delivered[key])


def next_at(ctx: Context) -> float:
    """Return the time at which `run` has work to do."""
    schedule = ctx.state.schedule
    return min(schedule.messages.first, schedule.delivered.first)


def _make_room(ctx: Context, client: NodeId) -> None:
    """Over a limit, drop the oldest message of the source whose messages take the most space.

    Peers without a channel count as one source: a connection costs nothing, but a channel does.
    """
    policy = ctx.policy
    channels = ctx.node.channels
    while True:
        messages = ctx.records.messages_for(client)
        if len(messages) > policy.mailbox_messages:
            weights = [1] * len(messages)
        elif sum(message.size for message in messages) > policy.mailbox_bytes:
            weights = [message.size for message in messages]
        else:
            return
        sources = [message.source if channels.has(message.source) else None for message in messages]
        shares: Counter[NodeId | None] = Counter()
        for source, weight in zip(sources, weights, strict=True):
            shares[source] += weight
        greediest = max(shares, key=shares.__getitem__)
        ctx.drop(messages[sources.index(greediest)])


def _announce(ctx: Context, message: StoredMessage) -> None:
    memory = ctx.records.delivered.get(message.key)
    if memory is None:
        notifications.notify(ctx, message.client, Method.ONION_MESSAGE)
    elif ctx.now >= memory.pushed_at + ctx.policy.repeat_push_seconds:
        ctx.put(replace(memory, pushed_at=ctx.now))
        notifications.notify(ctx, message.client, Method.ONION_MESSAGE)


def _remember(ctx: Context, message: StoredMessage) -> None:
    old = ctx.records.delivered.get(message.key)
    if old is not None:
        ctx.drop(old)
    pushed_at = message.arrived_at if old is None else old.pushed_at
    ctx.put(Delivered(client=message.client, message_id=message.message_id, delivered_at=ctx.now, pushed_at=pushed_at))
    for surplus in ctx.records.delivered_beyond(message.client, ctx.policy.max_delivered):
        ctx.drop(surplus)
