"""How the LSP is doing, as the running process tells it."""

from collections.abc import Iterable
from typing import Any

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.stages import FINISHED
from asyncpay.engine.lsp.turn import State
from asyncpay.service.common.event_log import EventLog

Status = dict[str, Any]


def snapshot(lsp: Lsp, event_log: EventLog, now: float, attached_at: float | None) -> Status:
    """Everything an operator asks about, as plain values. Times are Unix seconds, hashes and ids hex.

    now: the engine's time. attached_at: since when the node answers; errors from before that are of its start.
    """
    state, tables = lsp.state, lsp.state.tables
    return {
        "healthy": state.attached,
        "node": {
            "attached": state.attached,
            "attached_at": attached_at,
            "network": state.network,
            "height_blocks": state.height,
            "peers_online": sorted(peer.hex() for peer in state.online),
        },
        "blocks": [_block(block, tables.parts(block), state, now) for block in tables.blocks.values()],
        "waiting_for_a_client": [_htlc(htlc, state, now) for htlc in tables.waiting()],
        "mailbox": {
            client.hex(): {"messages": len(messages), "bytes": sum(message.size for message in messages)}
            for client in tables.clients()
            if (messages := tables.messages_for(client))
        },
        "webhooks": [
            {"client": hook.client.hex(), "app_name": hook.app_name, "url": hook.url}
            for hook in tables.webhooks.values()
        ],
        "last_errors": list(event_log.errors),
    }


def _block(block: Block, parts: Iterable[Htlc], state: State, now: float) -> Status:
    return {
        "unblock_hash": block.unblock_hash.hex(),
        "client": block.client.hex(),
        "stage": block.stage.value,
        "finished": block.stage in FINISHED,
        "payment_hashes": [payment_hash.hex() for payment_hash in block.payment_hashes],
        "amount_msat": block.amount_msat,
        "release_by_height": block.release_by_height,
        "hold_until": block.hold_until,
        "parts": [_htlc(part, state, now) for part in parts],
        "courier_sent": block.courier_sent,
    }


def _htlc(part: Htlc, state: State, now: float) -> Status:
    link = state.channels.get(part.key.channel_id)
    return {
        "htlc": str(part.key),
        "short_channel_id": None if link is None else str(link.short_channel_id),
        "payment_hash": part.htlc.payment_hash.hex(),
        "amount_msat": part.htlc.incoming_amount_msat,
        "incoming_expiry": part.htlc.incoming_expiry,
        "age_seconds": round(now - part.offered_at, 3),
        "on_offer": part.key in state.on_offer,
        "verdict": part.verdict.value if part.verdict else None,
        "outcome": part.outcome.value if part.outcome else None,
        "gone": part.gone,
    }
