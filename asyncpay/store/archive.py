"""The archive in the LSP's file: finished blocks, with their parts and attempts, in tables that are not loaded.

`moves` moves records in both directions, in the transaction of the changes that require it; `Archives` reads them.
"""

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from asyncpay.engine.core import Change, Drop, Put
from asyncpay.engine.lsp.archive import ArchivedBlock, Due, Found, Lookup, NamedBy, Outline, Summary, Unreadable
from asyncpay.engine.lsp.records import Archived, Attempt, Block, Htlc, Postponed
from asyncpay.engine.lsp.states import State
from asyncpay.store.database import Moves
from asyncpay.store.rows import Shape, Value, u64_column

_SHAPES = {"blocks": Shape(Block), "htlcs": Shape(Htlc), "attempts": Shape(Attempt)}
_OF_BLOCK = {"blocks": "unblock_hash", "htlcs": "block", "attempts": "block"}
_COLUMNS = {table: ", ".join(shape.columns) for table, shape in _SHAPES.items()}
_SELECT = {table: f"SELECT {_COLUMNS[table]} FROM archived_{table} WHERE {_OF_BLOCK[table]} = ?" for table in _SHAPES}
_ENTRY = "SELECT forget_after, forget_at_height, latest_at FROM archived_blocks WHERE unblock_hash = ?"
_FIND = {
    "payments": "SELECT unblock_hash FROM archived_payments WHERE client = ? AND payment_hash = ?",
    "htlcs": "SELECT block FROM archived_htlcs WHERE channel_id = ? AND htlc_id = ?",
    "attempts": "SELECT block FROM archived_attempts WHERE payment_hash = ?",
}
_PARTS = "SELECT count(*) FROM archived_htlcs WHERE block = ?"

_Execution: TypeAlias = tuple[object, tuple[Value, ...]]
_Move: TypeAlias = tuple[str, list[_Execution]]

T = TypeVar("T")


def moves(changes: Sequence[Change[Any]]) -> tuple[Moves, Moves]:
    """Return the moves out of the archive, before other records are written, and the moves into it, after that.

    A block may be taken back, changed and archived again in one transaction. No move replaces a row of another block.
    """
    mine = [change for change in changes if isinstance(change.record, Archived)]
    taken_back = {change.record.key: change.record for change in mine if isinstance(change, Drop)}
    last = {change.record.key: change for change in mine}
    archived = [change.record for change in last.values() if isinstance(change, Put)]
    postponed = [change.record for change in changes if isinstance(change.record, Postponed)]
    return list(_take_back(list(taken_back.values()))), [*_archive(archived), *_postpone(postponed)]


def _take_back(entries: Sequence[Archived]) -> Iterator[_Move]:
    if not entries:
        return
    names: list[_Execution] = [(entry, (entry.unblock_hash,)) for entry in entries]
    for table in _SHAPES:
        yield _moving(f"archived_{table}", table, table), names
        yield f"DELETE FROM archived_{table} WHERE {_OF_BLOCK[table]} = ?", names
    payments: list[_Execution] = [(entry, (entry.client, each)) for entry in entries for each in entry.payment_hashes]
    yield "DELETE FROM archived_payments WHERE client = ? AND payment_hash = ?", payments


def _archive(entries: Sequence[Archived]) -> Iterator[_Move]:
    if not entries:
        return
    names: list[_Execution] = [(entry, (entry.unblock_hash,)) for entry in entries]
    for table in _SHAPES:
        yield _moving(table, f"archived_{table}", table), names
        yield f"DELETE FROM {table} WHERE {_OF_BLOCK[table]} = ?", names
    yield (
        "INSERT OR REPLACE INTO archived_payments VALUES (?, ?, ?)",
        [(entry, (entry.client, each, entry.unblock_hash)) for entry in entries for each in entry.payment_hashes],
    )
    yield (
        "UPDATE archived_blocks SET forget_after = ?, forget_at_height = ?, latest_at = ? WHERE unblock_hash = ?",
        [(each, (each.forget_after, each.forget_at_height, each.latest_at, each.unblock_hash)) for each in entries],
    )


def _postpone(blocks: Sequence[Postponed]) -> Iterator[_Move]:
    if blocks:
        yield (
            "UPDATE archived_blocks SET forget_after = ?, forget_at_height = NULL WHERE unblock_hash = ?",
            [(each, (each.forget_after, each.unblock_hash)) for each in blocks],
        )


def _moving(source: str, target: str, table: str) -> str:
    columns = _COLUMNS[table]
    return f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {source} WHERE {_OF_BLOCK[table]} = ?"


class Archives:
    """Read access to the archive of an open file."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def summary(self) -> Summary:
        """Return the summary of the archive that the engine needs at its start."""
        rows = self._database.execute(
            "SELECT client, state, count(*), max(latest_at) FROM archived_blocks GROUP BY client, state"
        )
        blocks, times = [], []
        for client, state, number, latest_at in rows:
            blocks.append((client, State(state), number))
            if latest_at is not None:
                times.append(latest_at)
        after, at_height = self._first("forget_after"), self._first("forget_at_height")
        return Summary(tuple(blocks), max(times, default=None), after, at_height)

    def find(self, lookup: Lookup) -> Found:
        """Return the requested blocks, each once. Those that cannot be read do not keep others from being found."""
        whole: dict[bytes, NamedBy] = {}
        first_after = first_at_height = None
        if lookup.due is not None:
            after, first_after = self._over("forget_after", lookup.due.unix_second, lookup.due)
            at_height, first_at_height = self._over("forget_at_height", lookup.due.height, lookup.due)
            whole.update(dict.fromkeys((*after, *at_height), NamedBy.DUE))
        keys = [(bytes(key.channel_id), u64_column(key.htlc_id)) for key in lookup.htlcs]
        outlined = dict.fromkeys((*lookup.unblock_hashes, *self._named("payments", lookup.payments)), NamedBy.MESSAGE)
        outlines, unreadable = _read_each(outlined, self._outline)
        attempts = lookup.attempts if outlines or unreadable else lookup.attempts + lookup.attempts_if_new
        attempted = self._named("attempts", [(payment_hash,) for payment_hash in attempts])
        whole.update(dict.fromkeys(attempted, NamedBy.ATTEMPT))
        whole.update(dict.fromkeys(self._named("htlcs", keys), NamedBy.HTLC))
        blocks, also_unreadable = _read_each(whole, self._block)
        return Found(
            tuple(blocks),
            first_after,
            first_at_height,
            tuple(each for each in outlines if each.block.key not in whole),
            (*(each for each in unreadable if each.unblock_hash not in whole), *also_unreadable),
        )

    def _named(self, table: str, keys: Iterable[Sequence[Value]]) -> list[bytes]:
        """Return the unblock_hashes of the blocks that these keys of a table name."""
        return [name for key in keys for (name,) in self._database.execute(_FIND[table], key)]

    def latest(self, most: int) -> list[ArchivedBlock]:
        """Return the blocks that were archived last, the latest first."""
        rows = self._database.execute("SELECT unblock_hash FROM archived_blocks ORDER BY number DESC LIMIT ?", (most,))
        blocks, _ = _read_each({name: NamedBy.MESSAGE for (name,) in rows.fetchall()}, self._block)
        return blocks

    def _over(self, column: str, reached: int, due: Due) -> tuple[list[bytes], float]:
        """Return a slice of the blocks whose time or height is over, and the lowest value of all others."""
        rows = self._database.execute(
            f"SELECT unblock_hash FROM archived_blocks WHERE {column} <= ? ORDER BY {column} LIMIT ?",
            (reached, due.most),
        )
        names = [name for (name,) in rows]
        return names, reached if len(names) == due.most else self._first(column, beyond=reached)

    def _first(self, column: str, beyond: int = -1) -> float:
        (first,) = self._database.execute(
            f"SELECT min({column}) FROM archived_blocks WHERE {column} > ?",
            (beyond,),
        ).fetchone()
        return math.inf if first is None else first

    def _outline(self, name: bytes) -> Outline | None:
        block = next(iter(self._read("blocks", name)), None)
        if block is None:
            return None
        (parts,) = self._database.execute(_PARTS, (name,)).fetchone()
        return Outline(block, parts)

    def _block(self, name: bytes) -> ArchivedBlock | None:
        block = next(iter(self._read("blocks", name)), None)
        if block is None:
            return None
        after, at_height, latest_at = self._database.execute(_ENTRY, (name,)).fetchone()
        entry = Archived(
            unblock_hash=name,
            client=block.client,
            payment_hashes=block.payment_hashes,
            forget_after=after,
            forget_at_height=at_height,
            latest_at=latest_at,
        )
        parts = sorted(self._read("htlcs", name), key=lambda part: part.offered_at)
        return ArchivedBlock(entry, block, tuple(parts), tuple(self._read("attempts", name)))

    def _read(self, table: str, name: bytes) -> list[Any]:
        return [_SHAPES[table].from_row(row) for row in self._database.execute(_SELECT[table], (name,)).fetchall()]


def _read_each(named: dict[bytes, NamedBy], read: Callable[[bytes], T | None]) -> tuple[list[T], list[Unreadable]]:
    """Read these blocks one by one. A block with a row that is damaged, or has values unknown here, is unreadable."""
    found, unreadable = [], []
    for name, named_by in named.items():
        try:
            if (block := read(name)) is not None:
                found.append(block)
        except sqlite3.OperationalError:  # the file cannot be read now
            raise
        except (ValueError, TypeError, sqlite3.DatabaseError) as error:
            unreadable.append(Unreadable(name, named_by, " ".join(str(error).split())))
    return found, unreadable
