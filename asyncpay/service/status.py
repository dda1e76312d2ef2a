"""How the LSP is doing, told by the running process over a Unix socket beside its store."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from asyncpay.engine.lsp import Lsp
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.stages import FINISHED
from asyncpay.lightning import HtlcKey
from asyncpay.service.journal import Journal

Status = dict[str, Any]


class NotRunningError(Exception):
    """No LSP answers at the socket; the text names it."""


def snapshot(lsp: Lsp, journal: Journal) -> Status:
    """Everything an operator asks about, as plain values. Times are Unix seconds, hashes and ids hex."""
    state, tables, now = lsp.state, lsp.state.tables, time.time()
    return {
        "healthy": state.attached,
        "node": {
            "attached": state.attached,
            "network": state.network,
            "height_blocks": state.height,
            "peers_online": sorted(peer.hex() for peer in state.online),
        },
        "blocks": [_block(block, tables.parts(block), state.on_offer, now) for block in tables.blocks.values()],
        "waiting_for_a_client": [_htlc(htlc, state.on_offer, now) for htlc in tables.waiting()],
        "mailbox": {
            client.hex(): {"messages": len(letters), "bytes": sum(letter.size for letter in letters)}
            for client in tables.clients()
            if (letters := tables.letters_for(client))
        },
        "webhooks": [
            {"client": hook.client.hex(), "app_name": hook.app_name, "url": hook.url}
            for hook in tables.webhooks.values()
        ],
        "last_errors": list(journal.errors),
    }


def _block(block: Block, parts: Iterable[Htlc], on_offer: set[HtlcKey], now: float) -> Status:
    return {
        "unblock_hash": block.unblock_hash.hex(),
        "client": block.client.hex(),
        "stage": block.stage.value,
        "finished": block.stage in FINISHED,
        "payment_hashes": [payment_hash.hex() for payment_hash in block.payment_hashes],
        "amount_msat": block.amount_msat,
        "release_by_height": block.release_by_height,
        "hold_until": block.hold_until,
        "parts": [_htlc(part, on_offer, now) for part in parts],
        "courier_sent": block.courier_sent,
    }


def _htlc(part: Htlc, on_offer: set[HtlcKey], now: float) -> Status:
    return {
        "htlc": str(part.key),
        "payment_hash": part.htlc.payment_hash.hex(),
        "amount_msat": part.htlc.incoming_amount_msat,
        "incoming_expiry": part.htlc.incoming_expiry,
        "age_seconds": round(now - part.offered_at, 3),
        "on_offer": part.key in on_offer,
        "verdict": part.verdict.value if part.verdict else None,
        "outcome": part.outcome.value if part.outcome else None,
        "gone": part.gone,
    }


async def serve(path: Path, tell: Callable[[], Status]) -> asyncio.Server:
    """Answer every connection with one JSON object, until the server is closed. Only this user may connect."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(tell()).encode())
        writer.close()

    return await asyncio.start_unix_server(answer, sock=_listen(path))


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by a process that was killed: the store's lock is ours, so it is gone
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(old_mask)
    return listener


def ask(path: Path, timeout_seconds: float = 5) -> Status:
    """The status of the LSP that listens at this socket. NotRunningError if none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(path))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            status: Status = json.loads(answer)
        except (OSError, ValueError) as error:
            raise NotRunningError(
                f"no LSP answers at {path}: {error}. It does not run, or still waits for its node: see its log."
            ) from None
    return status
