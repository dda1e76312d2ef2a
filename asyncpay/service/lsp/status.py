"""The status of the LSP, from the running process."""

from collections.abc import Iterable
from typing import Any

from asyncpay.engine.lsp.archive import ArchivedBlock
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.state import LspState
from asyncpay.engine.lsp.states import FINISHED
from asyncpay.service.common.event_log import EventLog

Status = dict[str, Any]

MOST_ARCHIVED = 100
"""The most archived blocks, the latest ones, that the status lists."""


def snapshot(
    lsp: Lsp, archived: Iterable[ArchivedBlock], event_log: EventLog, now: float, attached_at: float | None
) -> Status:
    """Return the status for operators, as plain values. Times are Unix seconds, hashes and ids hex.

    archived: the latest archived blocks, the last one at the end; some of them may be in memory again.
    now: the engine's time. attached_at: since when the node is attached; earlier errors belong to its start.
    """
    state, records = lsp.state, lsp.state.records
    return {
        "healthy": state.node.attached,
        "node": {
            "attached": state.node.attached,
            "attached_at": attached_at,
            "network": state.node.network,
            "height_blocks": state.node.height,
            "peers_online": sorted(peer.hex() for peer in state.node.online),
        },
        "blocks": [
            *(_block(each.block, each.parts, state, now) for each in archived if each.block.key not in records.blocks),
            *(_block(block, records.parts(block), state, now) for block in records.blocks.values()),
        ],
        "archived_blocks": records.archive.total + len(records.archive.loaded),
        "waiting_for_a_client": [_htlc(htlc, state, now) for htlc in records.waiting()],
        "mailbox": {
            client.hex(): {"messages": len(messages), "bytes": sum(message.size for message in messages)}
            for client in records.clients()
            if (messages := records.messages_for(client))
        },
        "webhooks": [
            {"client": hook.client.hex(), "app_name": hook.app_name, "url": hook.url}
            for hook in records.webhooks.values()
        ],
        "last_errors": list(event_log.errors),
    }


def _block(block: Block, parts: Iterable[Htlc], state: LspState, now: float) -> Status:
    return {
        "unblock_hash": block.unblock_hash.hex(),
        "client": block.client.hex(),
        "state": block.state.value,
        "finished": block.state in FINISHED,
        "payment_hashes": [payment_hash.hex() for payment_hash in block.payment_hashes],
        "amount_msat": block.amount_msat,
        "release_by_height": block.release_by_height,
        "hold_until": block.hold_until,
        "parts": [_htlc(part, state, now) for part in parts],
        "courier_sent": block.courier_sent,
    }


def _htlc(part: Htlc, state: LspState, now: float) -> Status:
    link = state.node.channels.get(part.key.channel_id)
    return {
        "htlc": str(part.key),
        "short_channel_id": None if link is None else str(link.short_channel_id),
        "payment_hash": part.htlc.payment_hash.hex(),
        "amount_msat": part.htlc.incoming_amount_msat,
        "incoming_expiry": part.htlc.incoming_expiry,
        "age_seconds": round(now - part.offered_at, 3),
        "intercepted": part.key in state.intercepted,
        "resolution": part.resolution.value if part.resolution else None,
        "outcome": part.outcome.value if part.outcome else None,
        "gone": part.gone,
    }
