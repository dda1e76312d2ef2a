"""The LSP's file."""

from typing import ClassVar

from asyncpay.engine.lsp.records import Attempt, Block, Delivered, Htlc, PushAttempt, Record, StoredMessage, Webhook
from asyncpay.store.database import Store, Table


class LspStore(Store[Record]):
    """What asyncpay.engine.lsp keeps; messages and memories of them are loaded in order."""

    owner = "LSP"
    application_id = 0x41504159  # "APAY"
    folder = "lsp"
    if_not_written = "HTLCs stay held until the LSP runs again"
    if_damaged = (
        "it holds decisions on HTLCs that may be open. An empty file in its place would let held HTLCs pass and "
        "forget payments made on behalf; an old copy would contradict what was decided since"
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
