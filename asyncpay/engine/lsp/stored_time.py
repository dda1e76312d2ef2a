"""The latest time that the store is a witness of: the engine's clock must not begin before it."""

from collections.abc import Iterator

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.tables import Tables


def latest(tables: Tables, policy: LspPolicy) -> float | None:
    """In seconds, on the clock of the process that stored it; None if nothing is stored."""
    return max(_times(tables, policy), default=None)


def _times(tables: Tables, policy: LspPolicy) -> Iterator[float]:
    """When something happened; of what is due again, the earliest time at which that can have been decided."""
    for htlc in tables.htlcs.values():
        yield htlc.offered_at
    for block in tables.blocks.values():
        if block.first_part_at is not None:
            yield block.first_part_at
        if block.courier_next_at is not None:
            first, most = policy.courier_first_seconds, policy.courier_most_seconds
            yield block.courier_next_at - backoff_seconds(first, most, block.courier_sent)
    for message in tables.messages.values():
        yield message.arrived_at
    for delivered in tables.delivered.values():
        yield max(delivered.delivered_at, delivered.pushed_at)
    for webhook in tables.webhooks.values():
        yield webhook.used_at
    for attempt in tables.push_attempts.values():
        if attempt.last_at is not None:
            yield attempt.last_at
