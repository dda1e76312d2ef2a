"""Onion messages for clients that are away: kept within limits, delivered in order, recognised when repeated.

Senders repeat (the courier, payees with their releases), and a client may have lost what it was given. So a
repetition is delivered like any other message; it is kept once only, and notified hourly at most.
"""

import math
from collections import Counter
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.lsp import blocks, waking
from asyncpay.engine.lsp.effects import Deliver
from asyncpay.engine.lsp.events import Delivery, DeliveryReported
from asyncpay.engine.lsp.records import Delivered, Method, StoredMessage
from asyncpay.engine.lsp.turn import Turn, Visit
from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit
from asyncpay.wire.onion import OnionMessage


def message_id(message: OnionMessage) -> bytes:
    """What makes two messages the same one, 32 bytes."""
    return sha256(message.path_key + message.packet).digest()


def receive(turn: Turn, event: OnionInTransit) -> None:
    """Keep a message that the node cannot forward. Nobody but a client has a mailbox."""
    client = event.next_node_id
    if not turn.tables.is_client(client) or (client in turn.state.online and not event.undelivered):
        return
    name = message_id(event.message)
    if (client, name) in turn.tables.messages:
        if (client, name) in turn.tables.delivered:
            _announce(turn, turn.tables.messages[client, name])
        return
    if (client, name) in turn.tables.delivered and client in turn.state.visits:
        # The client is only seemingly there; do not go round in circles.
        turn.state.visits[client].next_at = turn.now + turn.policy.redeliver_seconds
    message = StoredMessage(
        client=client,
        message_id=name,
        number=turn.state.next_message,
        source=event.source,
        message=event.message,
        arrived_at=turn.now,
    )
    turn.state.next_message += 1
    turn.put(message)
    _make_room(turn, client)
    if (client, name) in turn.tables.messages:
        _announce(turn, message)


def visit(turn: Turn, client: NodeId) -> None:
    """The client has connected: its blocks' states first, then its messages."""
    going = Visit(next_at=turn.now)
    going.updates.extend(block.key for block in turn.tables.blocks_of(client) if blocks.untold(block))
    turn.state.visits[client] = going


def reported(turn: Turn, event: DeliveryReported) -> None:
    """A message has gone out, or could not."""
    going = turn.state.visits.get(event.client)
    if going is not None and going.delivering == event.message_id:
        going.delivering = None
        missed = event.delivery is Delivery.NOT_CONNECTED
        going.next_at = turn.now + (turn.policy.redeliver_seconds if missed else turn.policy.pace_seconds)
    message = turn.tables.messages.get((event.client, event.message_id))
    if message is None or event.delivery is Delivery.NOT_CONNECTED:
        return
    turn.drop(message)
    if event.delivery is Delivery.DONE:
        _remember(turn, message)


def run(turn: Turn) -> None:
    """Send every connected client its next piece, if it is time, and forget what is too old."""
    for client, going in turn.state.visits.items():
        if going.next_at <= turn.now and going.delivering is None:
            _next_piece(turn, client, going)
    for message in list(turn.tables.messages.values()):
        if turn.now < message.arrived_at + turn.policy.mailbox_seconds:
            break
        turn.drop(message)
    for memory in list(turn.tables.delivered.values()):
        if turn.now < memory.delivered_at + turn.policy.delivered_seconds:
            break
        turn.drop(memory)


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    message = next(iter(turn.tables.messages.values()), None)
    memory = next(iter(turn.tables.delivered.values()), None)
    waiting = (
        going.next_at
        for client, going in turn.state.visits.items()
        if going.delivering is None and (going.updates or turn.tables.has_messages(client))
    )
    return min(
        math.inf if message is None else message.arrived_at + turn.policy.mailbox_seconds,
        math.inf if memory is None else memory.delivered_at + turn.policy.delivered_seconds,
        *waiting,
    )


def _make_room(turn: Turn, client: NodeId) -> None:
    """Over a limit, drop the oldest message of the source that takes up most.

    Peers without a channel count as one source: a connection costs nothing, a channel does.
    """
    policy = turn.policy
    channels = turn.state.channels
    while True:
        messages = turn.tables.messages_for(client)
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
        turn.drop(messages[sources.index(greediest)])


def _announce(turn: Turn, message: StoredMessage) -> None:
    memory = turn.tables.delivered.get(message.key)
    if memory is None:
        waking.wake(turn, message.client, Method.ONION_MESSAGE)
    elif turn.now >= memory.pushed_at + turn.policy.repeat_push_seconds:
        turn.put(replace(memory, pushed_at=turn.now))
        waking.wake(turn, message.client, Method.ONION_MESSAGE)


def _next_piece(turn: Turn, client: NodeId, going: Visit) -> None:
    if going.updates:
        unblock_hash = going.updates.popleft()
        if unblock_hash in turn.tables.blocks:
            blocks.tell(turn, unblock_hash)
        going.next_at = turn.now + turn.policy.pace_seconds
        return
    messages = turn.tables.messages_for(client)
    if messages:
        going.delivering = messages[0].message_id
        turn.do(Deliver(client, messages[0].message_id, messages[0].message))


def _remember(turn: Turn, message: StoredMessage) -> None:
    old = turn.tables.delivered.get(message.key)
    if old is not None:
        turn.drop(old)
    pushed_at = message.arrived_at if old is None else old.pushed_at
    turn.put(
        Delivered(client=message.client, message_id=message.message_id, delivered_at=turn.now, pushed_at=pushed_at)
    )
    for surplus in turn.tables.delivered_to(message.client)[: -turn.policy.max_delivered]:
        turn.drop(surplus)
