"""When an offline client is notified: why, how often, and when to leave it in peace.

A push attempt is one series of notifications by one method. It begins when something happens that the client must
know of, is renewed when something more does, and ends when the client connects or the reason is gone. The
tries of an attempt double their distance, those that failed from a short one, those that were delivered from the
cooldown; after `max_pushes` nothing more is sent until something new happens. Push attempts are stored, so a crash
of this component does not notify the phones again.
"""

import math
from dataclasses import replace

from asyncpay.engine.lsp import links
from asyncpay.engine.lsp.effects import Notify
from asyncpay.engine.lsp.events import NotificationReported
from asyncpay.engine.lsp.records import Method, PushAttempt
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import NodeId, Verdict


def wake(turn: Turn, client: NodeId | None, method: Method) -> None:
    """Something new has happened: begin a push attempt, or grant the one that exists its full tries again."""
    if client is None or not _can_be_called(turn, client):
        return
    attempt = turn.tables.push_attempts.get((client, method))
    if attempt is None:
        turn.put(PushAttempt(client=client, method=method, next_at=turn.now))
        return
    earliest = turn.now if attempt.last_at is None else attempt.last_at + turn.policy.push_cooldown_seconds
    pending = math.inf if attempt.next_at is None else attempt.next_at
    turn.put(replace(attempt, tries=0, next_at=min(pending, max(turn.now, earliest))))


def remind(turn: Turn, client: NodeId | None, method: Method) -> None:
    """Something still waits: begin a push attempt, unless one is under way or used up. May be repeated freely."""
    if (client, method) not in turn.tables.push_attempts:
        wake(turn, client, method)


def remind_if_waiting(turn: Turn, client: NodeId, method: Method) -> None:
    """The client is away, or not known to be here: remind it if there is a reason."""
    if _can_be_called(turn, client) and waits(turn, client, method):
        remind(turn, client, method)


def end(turn: Turn, client: NodeId) -> None:
    """The client has connected, or is none any more: all its push attempts, and their cooldowns, are over."""
    for method in Method:
        attempt = turn.tables.push_attempts.get((client, method))
        if attempt is not None:
            turn.drop(attempt)


def run(turn: Turn) -> None:
    """Send what is due. Without a node nobody knows who is away."""
    for attempt in list(turn.tables.push_attempts.values()):
        if attempt.next_at is None or attempt.next_at > turn.now or not turn.state.attached:
            continue
        if not waits(turn, attempt.client, attempt.method):
            turn.drop(attempt)
            continue
        tries = attempt.tries + 1
        pause = turn.policy.push_cooldown_seconds * 2 ** (tries - 1)
        turn.put(replace(attempt, tries=tries, last_at=turn.now, next_at=_after(turn, tries, pause)))
        soon = attempt.method is Method.EXPIRY_SOON
        turn.do(Notify(attempt.client, attempt.method, turn.state.soonest_expiry[attempt.client] if soon else None))


def reported(turn: Turn, event: NotificationReported) -> None:
    """A notification that was not delivered is tried again sooner."""
    attempt = turn.tables.push_attempts.get((event.client, event.method))
    if attempt is not None and not event.delivered and attempt.tries:
        pause = turn.policy.push_retry_seconds * 2 ** (attempt.tries - 1)
        turn.put(replace(attempt, next_at=_after(turn, attempt.tries, pause)))


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    if not turn.state.attached:
        return math.inf
    return min(
        (attempt.next_at for attempt in turn.tables.push_attempts.values() if attempt.next_at is not None),
        default=math.inf,
    )


def waits(turn: Turn, client: NodeId, method: Method) -> bool:
    """Whether there still is a reason to call this client by this method."""
    if not turn.tables.is_client(client):
        return False
    match method:
        case Method.ONION_MESSAGE:
            return bool(turn.tables.messages_for(client))
        case Method.PAYMENT_INCOMING:
            return _htlc_waits(turn, client)
        case Method.SETTLEMENT_PENDING:
            return _payer_needed(turn, client) or _result_waits(turn, client)
        case Method.EXPIRY_SOON:
            return _expires_soon(turn, client)


def _can_be_called(turn: Turn, client: NodeId) -> bool:
    return client not in turn.state.online and turn.tables.is_client(client)


def _after(turn: Turn, tries: int, pause: float) -> float | None:
    return turn.now + pause if tries < turn.policy.max_pushes else None


def _htlc_waits(turn: Turn, client: NodeId) -> bool:
    held = turn.tables.waiting()
    for block in turn.tables.blocks.values():
        held += links.stuck_parts(turn, block)
    return any(links.next_peer(turn, each.htlc) == client for each in held)


def _payer_needed(turn: Turn, client: NodeId) -> bool:
    theirs = turn.tables.blocks_of(client)
    return any(links.payer_missing(turn, links.stuck_parts(turn, block)) for block in theirs)


def _result_waits(turn: Turn, client: NodeId) -> bool:
    return any(
        each.htlc.peer == client
        and not each.gone
        and (
            each.outcome is not None
            or each.verdict in (Verdict.FAIL, Verdict.SETTLE)
            or each.key in turn.state.resolved_ahead
        )
        for each in turn.tables.htlcs.values()
    )


def _expires_soon(turn: Turn, client: NodeId) -> bool:
    height, soonest = turn.state.height, turn.state.soonest_expiry.get(client)
    return height is not None and soonest is not None and soonest - height <= turn.policy.expiry_soon_blocks
