"""Totals of the LSP's records, over all clients: for an operator's metrics, not for decisions.

They are updated with each change of a record, so that reading them costs the same for any number of records.
"""

from collections import Counter
from dataclasses import dataclass, field

from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.lsp.records import Block, Htlc, Record, StoredMessage
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import HtlcKey


@dataclass
class Totals:
    """blocks: by state, finished ones included.
    held_parts, held_msat: HTLCs of blocks that are not resolved; held_since: when each was first offered.
    waiting_htlcs, waiting_msat: HTLCs that wait for an offline client, outside any block.
    messages, message_bytes: in all mailboxes.
    """

    blocks: Counter[State] = field(default_factory=Counter)
    held_parts: int = 0
    held_msat: int = 0
    held_since: Deadlines[HtlcKey] = field(default_factory=Deadlines)
    waiting_htlcs: int = 0
    waiting_msat: int = 0
    messages: int = 0
    message_bytes: int = 0

    def add(self, record: Record) -> None:
        """Count a record that was stored."""
        self._count(record, 1)
        if isinstance(record, Htlc) and record.block is not None and record.resolution is None:
            self.held_since.set(record.key, record.offered_at)

    def remove(self, record: Record) -> None:
        """Subtract a record that was replaced or deleted."""
        self._count(record, -1)
        if isinstance(record, Htlc):
            self.held_since.discard(record.key)

    def _count(self, record: Record, sign: int) -> None:
        match record:
            case Block():
                self.blocks[record.state] += sign
            case Htlc(resolution=None, block=None):
                self.waiting_htlcs += sign
                self.waiting_msat += sign * record.htlc.incoming_amount_msat
            case Htlc(resolution=None):
                self.held_parts += sign
                self.held_msat += sign * record.htlc.incoming_amount_msat
            case StoredMessage():
                self.messages += sign
                self.message_bytes += sign * record.size
