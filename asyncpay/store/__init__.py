"""What an LSP must not forget, in one SQLite file.

One transaction for each step of the engine, on disk before anything is done about it (WAL, synchronous=FULL).
The schema is migrated upwards, from version to version, and never downwards.
"""

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from asyncpay.engine.changes import Change, Put
from asyncpay.engine.lsp.records import (
    Attempt,
    Block,
    Call,
    Delivered,
    Htlc,
    Letter,
    Record,
    Webhook,
)
from asyncpay.store.rows import Shape, Value

_APPLICATION_ID = 0x41504159  # "APAY", so that another program's file is not taken for ours


class StoreError(Exception):
    """The file cannot be used; the text says why and what to do."""


class _Table:
    """One table and its statements. `key`: the columns that find a record; `order`: of loading."""

    def __init__(self, record: type[Record], name: str, key: Sequence[str], order: str) -> None:
        self.shape = Shape(record)
        columns = ", ".join(self.shape.columns)
        places = ", ".join("?" * len(self.shape.columns))
        self._key = [self.shape.columns.index(column) for column in key]
        self.put = f"INSERT OR REPLACE INTO {name} ({columns}) VALUES ({places})"
        self.drop = f"DELETE FROM {name} WHERE " + " AND ".join(f"{column} = ?" for column in key)
        self.select = f"SELECT {columns} FROM {name} ORDER BY {order}"

    def key_of(self, record: Record) -> list[Value]:
        """The values that find the record's row."""
        row = self.shape.to_row(record)
        return [row[place] for place in self._key]


_TABLES: dict[type[Record], _Table] = {
    Block: _Table(Block, "blocks", ["unblock_hash"], "hold_until"),
    Htlc: _Table(Htlc, "htlcs", ["short_channel_id", "htlc_id"], "offered_at"),
    Attempt: _Table(Attempt, "attempts", ["payment_hash"], "payment_hash"),
    Letter: _Table(Letter, "letters", ["client", "letter_id"], "number"),
    Delivered: _Table(Delivered, "delivered", ["client", "letter_id"], "delivered_at"),
    Call: _Table(Call, "calls", ["client", "method"], "method"),
    Webhook: _Table(Webhook, "webhooks", ["client", "app_name"], "app_name"),
}


def shipped_migrations() -> list[str]:
    """The SQL that leads from each version to the next, beginning with an empty file."""
    files = sorted((file for file in resources.files("asyncpay.store").joinpath("migrations").iterdir()), key=str)
    return [file.read_text() for file in files if file.name.endswith(".sql")]


class Store:
    """The LSP's file. Opened by one process at a time; StoreError if it cannot be, or must not be.

    migrations: for tests.
    """

    def __init__(self, path: Path, migrations: Sequence[str] | None = None) -> None:
        self._path = path
        self._lock = _take_lock(path)
        try:
            self._database = self._open(shipped_migrations() if migrations is None else migrations)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
        self._lock.close()

    def load(self) -> Iterator[Record]:
        """Everything, letters and memories of them in order: what `Lsp` is made from."""
        with self._explained():
            for table in _TABLES.values():
                for row in self._database.execute(table.select):
                    yield table.shape.from_row(row)

    def commit(self, changes: Iterable[Change[Record]]) -> None:
        """Make these changes in one transaction; when this returns they are on disk.

        StoreError: none was made, and the engine that decided them must be thrown away.
        """
        last = {(type(change.record), change.record.key): change for change in changes}
        if not last:
            return
        with self._explained(), self._transaction():
            for change in last.values():
                table = _TABLES[type(change.record)]
                if isinstance(change, Put):
                    self._database.execute(table.put, table.shape.to_row(change.record))
                else:
                    self._database.execute(table.drop, table.key_of(change.record))

    def _open(self, migrations: Sequence[str]) -> sqlite3.Connection:
        with self._explained():
            database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._database = database
        try:
            with self._explained():
                self._check()
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                self._migrate(migrations)
        except BaseException:
            database.close()
            raise
        return database

    def _check(self) -> None:
        """That this is our file, and whole."""
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != _APPLICATION_ID and tables:
            raise StoreError(f"{self._path} belongs to another program. Name another file in the configuration.")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StoreError(
                f"{self._path} was written by a newer release (version {version}, this one knows "
                f"{len(migrations)}). Start that release again; there is no way back for the file."
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            with self._transaction():
                for statement in _statements(script):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._database.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what happened to which file, and what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self._path} cannot be written or read: {error}. See to disk space and permissions; "
                "nothing was lost, and HTLCs stay held until the LSP runs again."
            ) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            what = " ".join(str(error).split())
            raise StoreError(
                f"{self._path} is damaged: {what}. It holds decisions on HTLCs that may be open: recover it "
                f"(sqlite3 {self._path} .recover). An empty file in its place would let held HTLCs pass and "
                "forget payments made on behalf; an old copy would contradict what was decided since."
            ) from error


def _take_lock(path: Path) -> IO[bytes]:
    """Two LSPs on one file would decide twice."""
    try:
        lock = path.with_name(path.name + ".lock").open("wb")
    except OSError as error:
        raise StoreError(
            f"cannot use {path}: {error}. Make its directory, or allow this user to write there."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreError(f"{path} is in use by another process. Stop the other LSP first.") from None
    return lock


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: `executescript` would end the transaction."""
    statement = ""
    for piece in script.split(";")[:-1]:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
