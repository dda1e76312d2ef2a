"""The LSP's store."""

from collections.abc import Sequence
from typing import Any, ClassVar

from asyncpay.engine.core import Change
from asyncpay.engine.lsp.archive import ArchivedBlock, Found, Lookup, Summary
from asyncpay.engine.lsp.records import (
    Archived,
    Attempt,
    Block,
    Delivered,
    Htlc,
    Postponed,
    PushAttempt,
    Record,
    StoredMessage,
    Webhook,
)
from asyncpay.store import archive
from asyncpay.store.database import Moves, Store, Table


class LspStore(Store[Record]):
    """The records of asyncpay.engine.lsp. Messages, stored and delivered, are loaded in order, archived blocks not."""

    owner = "LSP"
    application_id = 0x41504159  # "APAY"
    folder = "lsp"
    if_not_written = "HTLCs stay held until the LSP runs again"
    if_damaged = (
        "it has the decisions on HTLCs that may be in flight. Do not replace it by an empty file or an old copy: held "
        "HTLCs would then be forwarded, and payments made on behalf would be unknown"
    )
    tables: ClassVar = {
        Block: Table(Block, "blocks", ["unblock_hash"], "hold_until"),
        Htlc: Table(Htlc, "htlcs", ["channel_id", "htlc_id"], "offered_at"),
        Attempt: Table(Attempt, "attempts", ["payment_hash"], "payment_hash"),
        StoredMessage: Table(StoredMessage, "stored_messages", ["client", "message_id"], "number"),
        Delivered: Table(Delivered, "delivered", ["client", "message_id"], "delivered_at"),
        PushAttempt: Table(PushAttempt, "push_attempts", ["client", "method"], "method"),
        Webhook: Table(Webhook, "webhooks", ["client", "app_name"], "app_name"),
    }

    moved: ClassVar = (Archived, Postponed)

    def archived(self) -> Summary:
        """Return the summary of the archive that the engine needs at its start."""
        with self._in_use, self._explained():
            return archive.Archives(self._database).summary()

    def recall(self, lookup: Lookup) -> Found:
        """Return the requested archived blocks."""
        with self._in_use, self._explained():
            return archive.Archives(self._database).find(lookup)

    def latest_archived(self, most: int) -> list[ArchivedBlock]:
        """Return the blocks that were archived last, the latest first."""
        with self._in_use, self._explained():
            return archive.Archives(self._database).latest(most)

    def moves(self, changes: Sequence[Change[Any]]) -> tuple[Moves, Moves]:
        """Return the moves to the archive and back: see archive.moves."""
        return archive.moves(changes)
