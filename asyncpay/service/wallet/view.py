"""The stored payments and claims of the wallet, as plain values for users and programs, and their changes.

Times are Unix seconds, hashes and ids hex. The pid of a payment is a secret and is never shown; the unblock_hash is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from asyncpay.engine.core import Change, Put
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import WITH_NODE
from asyncpay.engine.wallet import WalletRecord
from asyncpay.wire.messages import unblock_hash

Plain = dict[str, Any]


class View:
    """Payments and claims, as of the last stored change."""

    def __init__(self, records: Iterable[WalletRecord]) -> None:
        self.payments: dict[bytes, OutgoingPayment] = {}
        self.claims: dict[bytes, Claim] = {}
        self._changed = asyncio.Event()
        for record in records:
            self._put(record)

    def stored(self, changes: Iterable[Change[WalletRecord]]) -> None:
        """Apply changes that are now stored."""
        for change in changes:
            if isinstance(change, Put):
                self._put(change.record)
            elif isinstance(change.record, OutgoingPayment):
                self.payments.pop(change.record.key, None)
            else:
                self.claims.pop(change.record.key, None)
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, payment_hash: bytes) -> AsyncIterator[OutgoingPayment]:
        """Yield a payment as it is now, and again after each change."""
        last = None
        while True:
            changed = self._changed
            now = self.payments.get(payment_hash)
            if now is not None and now != last:
                yield now
            last = now
            await changed.wait()

    def _put(self, record: WalletRecord) -> None:
        if isinstance(record, OutgoingPayment):
            self.payments[record.key] = record
        else:
            self.claims[record.key] = record


def payment(record: OutgoingPayment) -> Plain:
    """Return a payment of this wallet as plain values."""
    return {
        "payment_hash": record.payment_hash.hex(),
        "state": record.state.value,
        "amount_msat": record.amount_msat,
        "fee_msat": record.fee_msat,
        "payee": record.payee.hex(),
        "description": record.description,
        "unblock_hash": unblock_hash(record.pid).hex(),
        "release_by_height": record.release_by_height,
        "hold_until": record.hold_until,
        "lsp_says": None if record.told is None else record.told.name.lower().replace("_", " "),
        "parts": record.told_parts,
        "cancelled": record.cancelled,
        "outcome_unsure_until": record.unsure_until if record.state in WITH_NODE else None,
        "preimage": None if record.preimage is None else record.preimage.hex(),
        "failure": record.failure or None,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
    }


def claim(record: Claim) -> Plain:
    """Return a claim, a payment announced to this wallet, as plain values."""
    return {
        "payment_hashes": [payment_hash.hex() for payment_hash in record.payment_hashes],
        "state": record.state.value,
        "amount_msat": record.amount_msat,
        "unblock_hash": unblock_hash(record.pid).hex(),
        "release_by_height": record.release_by_height,
        "hold_until": record.hold_until,
        "releases_sent": record.tries,
        "failure": record.failure or None,
        "announced_at": record.announced_at,
    }
