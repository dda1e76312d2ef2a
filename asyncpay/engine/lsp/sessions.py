"""Messages to a connected client, and their pace: answers and updates of its blocks first, then its mailbox.

CLN accepts a burst of four messages from one peer, then one every 250 ms, and silently drops the others, so all these
messages share one pace (`pace_seconds`). After a pause three answers may be sent without delay, so that a reply and
the updates after it do not wait for each other; the fourth is reserved for messages that the node forwards by itself.
An update is built when it is sent.
"""

import math

from asyncpay.engine.lsp.interface import Deliver, SendToClient
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.state import Context, DeliverySession
from asyncpay.engine.lsp.states import PROPERTIES
from asyncpay.lightning import NodeId
from asyncpay.wire.messages import BlockReply, BlockUpdate

EARLY_PAUSES = 2
"""An answer may be sent this many pauses before its turn; a message of the mailbox may not."""
MAX_WAITING_ANSWERS = 100
"""The most waiting answers of one client. A further one is not sent: the client asks again. Updates always fit."""


def begin(ctx: Context, client: NodeId) -> None:
    """Begin a session with a client that has connected: send the states of its blocks, then its messages."""
    session = DeliverySession(next_at=ctx.now, free_at=ctx.now)
    session.answers.update(((unblock_hash, BlockUpdate), None) for unblock_hash in ctx.records.untold_of(client))
    ctx.state.sessions[client] = session
    schedule(ctx, client)


def end(ctx: Context, client: NodeId) -> None:
    """The client has disconnected."""
    ctx.state.sessions.pop(client, None)
    ctx.state.session_at.discard(client)


def answer(ctx: Context, client: NodeId, message: BlockReply | BlockUpdate) -> None:
    """Send a client an answer when its turn comes; immediately if the client is not known to be connected."""
    session = ctx.state.sessions.get(client)
    if session is None:
        ctx.emit(SendToClient(client, message))
        return
    key = message.unblock_hash, type(message)
    if key in session.answers or len(session.answers) < MAX_WAITING_ANSWERS:
        session.answers[key] = message
        _send_answers(ctx, client, session)


def update(ctx: Context, block: Block) -> None:
    """Send the payer an update of its block when its turn comes, with the state at that time, if it is connected.

    An archived block does not change any more, so its update is built now and the block is not kept in memory.
    """
    session = ctx.state.sessions.get(block.client)
    if session is not None and PROPERTIES[block.state].update is not None:
        session.answers[block.key, BlockUpdate] = None if block.key in ctx.records.blocks else _update(ctx, block.key)
        _send_answers(ctx, block.client, session)


def run(ctx: Context) -> None:
    """Send every connected client its next message, if it is due."""
    for client in ctx.due(ctx.state.session_at, ctx.now):
        session = ctx.state.sessions[client]
        if not _send_answers(ctx, client, session):
            _deliver_next(ctx, client, session)
        schedule(ctx, client)


def schedule(ctx: Context, client: NodeId) -> None:
    """Schedule the next message to a client, if it is connected."""
    session = ctx.state.sessions.get(client)
    if session is not None:
        ctx.state.session_at.set(client, _next_at(ctx, client, session))


def _next_at(ctx: Context, client: NodeId, session: DeliverySession) -> float:
    if session.answers:
        return _answers_at(ctx, session)
    if session.delivering is None and ctx.records.has_messages(client):
        return max(session.next_at, session.free_at)
    return math.inf


def _answers_at(ctx: Context, session: DeliverySession) -> float:
    """Return the time at which an answer may be sent. Sums of floats are not exact."""
    return session.free_at - EARLY_PAUSES * ctx.policy.pace_seconds - 1e-6


def _send_answers(ctx: Context, client: NodeId, session: DeliverySession) -> bool:
    """Send the answers that may be sent now, in order; return whether any was sent."""
    some = False
    while session.answers and ctx.now >= _answers_at(ctx, session):
        key = next(iter(session.answers))
        message = session.answers.pop(key) or _update(ctx, key[0])
        if message is not None:
            some = True
            session.free_at = max(session.free_at, ctx.now) + ctx.policy.pace_seconds
            ctx.emit(SendToClient(client, message))
    schedule(ctx, client)
    return some


def _update(ctx: Context, unblock_hash: bytes) -> BlockUpdate | None:
    block = ctx.records.block(unblock_hash)
    state = None if block is None else PROPERTIES[block.state].update
    if block is None or state is None:
        return None
    return BlockUpdate(unblock_hash=unblock_hash, state=state, parts=ctx.records.number_of_parts(block))


def _deliver_next(ctx: Context, client: NodeId, session: DeliverySession) -> None:
    messages = ctx.records.messages_for(client)
    if messages and session.delivering is None and ctx.now >= max(session.next_at, session.free_at):
        session.delivering = messages[0].message_id
        session.free_at = ctx.now + ctx.policy.pace_seconds
        ctx.emit(Deliver(client, messages[0].message_id, messages[0].message))
