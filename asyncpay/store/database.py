"""The store of a component: one SQLite file.

Each transition of the engine is one transaction, which is on disk before its effects are performed (WAL,
synchronous=FULL). The schema is migrated upwards, from version to version, and never downwards.
"""

import fcntl
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from asyncpay.engine.core import Change, Put, StoredClock
from asyncpay.lightning import ChannelId, ShortChannelId
from asyncpay.store.rows import UNWRITABLE, Shape, Value, u64_column

R = TypeVar("R")

_FOR_OWNER = 0o600

_READ_BYTES = 4 * 1024 * 1024
"""The size of the pieces in which a file is read through."""

_NO_PLACE = (
    OverflowError,
    UnicodeEncodeError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""The exceptions of sqlite3 for a value: more than 64 bits, a lone surrogate, too long, or of another type than its
column; and for a row that a constraint of its table forbids.
"""


class StoreError(Exception):
    """The file cannot be used; the text gives the reason and a remedy."""


class UnstorableError(Exception):
    """SQLite cannot store a record: a value, or a conflict with another record. The file is unchanged."""

    def __init__(self, record: object, why: Exception) -> None:
        super().__init__(f"{type(record).__name__} cannot be stored: {why}")
        self.record = record


class Table:
    """One table and its statements. `key`: the columns that identify a record; `order`: the order of loading."""

    def __init__(self, record: type, name: str, key: Sequence[str], order: str) -> None:
        self.shape = Shape(record)
        columns = ", ".join(self.shape.columns)
        places = ", ".join("?" * len(self.shape.columns))
        self._key = [self.shape.columns.index(column) for column in key]
        self.put = f"INSERT OR REPLACE INTO {name} ({columns}) VALUES ({places})"
        self.drop = f"DELETE FROM {name} WHERE " + " AND ".join(f"{column} = ?" for column in key)
        self.select = f"SELECT {columns} FROM {name} ORDER BY {order}"

    def key_of(self, record: object) -> list[Value]:
        """Return the values that identify the record's row."""
        row = self.shape.to_row(record)
        return [row[place] for place in self._key]


_CLOCK = Table(StoredClock, "clock", ["id"], "id")

Moves: TypeAlias = Sequence[tuple[str, Sequence[tuple[object, Sequence[Value]]]]]
"""Statements, each with all of its executions: the record that requires it, and the values."""


class Store(Generic[R]):
    """A component's file. Only one process opens it at a time; StoreError if it cannot or must not be opened.

    The subclass of a component defines its tables and migrations. migrations: other than those shipped, for tests.
    """

    owner: ClassVar[str]
    """The component that owns the file, for users."""
    application_id: ClassVar[int]
    """Distinguishes the file from those of other programs and of the other component."""
    tables: ClassVar[dict[type, Table]]
    moved: ClassVar[tuple[type, ...]] = ()
    """Record types without a table: they state where rows are. See `moves`."""
    folder: ClassVar[str]
    """The folder in asyncpay/store/migrations."""
    if_not_written: ClassVar[str]
    """The consequence for payments while the file cannot be written."""
    if_damaged: ClassVar[str]
    """The content of the file, and the consequences of an empty file or an old copy in its place."""

    def __init__(self, path: Path, migrations: Sequence[str] | None = None) -> None:
        self._path = path
        self._in_use = threading.Lock()
        self._lock = self._take_lock()
        try:
            self._database = self._open(self.shipped_migrations() if migrations is None else migrations)
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def shipped_migrations(cls) -> list[str]:
        """Return the SQL from each version to the next, beginning with an empty file."""
        folder = resources.files("asyncpay.store").joinpath("migrations", cls.folder)
        return [file.read_text() for file in sorted(folder.iterdir(), key=str) if file.name.endswith(".sql")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, after a commit in another thread has ended: SQLite crashes if closed during a commit."""
        with self._in_use:
            self._database.close()
            self._lock.close()

    def load(self) -> Iterator[R]:
        """Yield all records, each table in its order, to load the engine."""
        with self._explained():
            for table in self.tables.values():
                for row in self._database.execute(table.select):
                    yield table.shape.from_row(row)

    def clock(self) -> StoredClock | None:
        """Return the stored state of the component's clock; None if it was never wrong, and no process began late."""
        with self._explained():
            row = self._database.execute(_CLOCK.select).fetchone()
            return None if row is None else _CLOCK.shape.from_row(row)

    def commit(self, changes: Iterable[Change[Any]]) -> None:
        """Store these changes in one transaction; when this returns they are on disk.

        StoreError, or UnstorableError for a record that can never be stored: no change was stored, and the engine that
        decided them must be discarded.
        """
        changes = list(changes)
        last = {(type(change.record), change.record.key): change for change in changes}
        if not last:
            return
        statements: dict[str, list[tuple[Any, list[Value]]]] = defaultdict(list)  # no two rows are of one record
        before, after = self.moves(changes)
        for change in last.values():
            record, put = change.record, isinstance(change, Put)
            if isinstance(record, self.moved):
                continue
            table = _CLOCK if isinstance(record, StoredClock) else self.tables[type(record)]
            try:
                row = table.shape.to_row(record) if put else table.key_of(record)
            except UNWRITABLE as error:
                raise UnstorableError(record, error) from error
            statements[table.put if put else table.drop].append((record, row))
        with self._in_use, self._explained(), self._transaction():
            self._move(before)
            for statement, rows in statements.items():
                self._execute(statement, rows)
            self._move(after)

    def moves(self, _changes: Sequence[Change[Any]]) -> tuple[Moves, Moves]:
        """Return the moves of rows between tables: before any record's row is written or deleted, and after that."""
        return (), ()

    def _move(self, moves: Moves) -> None:
        for statement, executions in moves:
            for record, values in executions:  # one by one: a move cannot be repeated to find the one that fails
                try:
                    self._database.execute(statement, values)
                except _NO_PLACE as error:
                    raise UnstorableError(record, error) from error

    def _execute(self, statement: str, rows: Sequence[tuple[Any, list[Value]]]) -> None:
        try:
            self._database.executemany(statement, [row for _, row in rows])
        except _NO_PLACE:
            for record, row in rows:  # which of them it is
                try:
                    self._database.execute(statement, row)
                except _NO_PLACE as error:
                    raise UnstorableError(record, error) from error
            raise

    def _take_lock(self) -> IO[bytes]:
        """Lock the file: two processes on one file would make contradicting decisions."""
        path = self._path
        try:
            lock = os.fdopen(os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_WRONLY, _FOR_OWNER), "wb")
            _make_private(path)
        except OSError as error:
            raise StoreError(
                f"the store {path} cannot be used: {error.strerror}. "
                "Create its directory, or allow this user to write there."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StoreError(f"{path} is in use by another process. Stop the other {self.owner} first.") from None
        return lock

    def _open(self, migrations: Sequence[str]) -> sqlite3.Connection:
        _read_through(self._path)
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
        """Check that the file belongs to this component, and is not damaged."""
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != self.application_id and tables:
            raise StoreError(f"{self._path} belongs to another program. Name another file in the configuration.")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StoreError(
                f"{self._path} was written by a newer release (version {version}, this one knows "
                f"{len(migrations)}). Start that release again; the file cannot be downgraded."
            )
        self._database.create_function("u64", 1, u64_column, deterministic=True)
        self._database.create_function("channel_id", 1, _channel_id, deterministic=True)
        for number, script in enumerate(migrations[version:], start=version + 1):
            with self._transaction():
                for statement in _statements(script):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA application_id = {self.application_id}")
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
        """Turn SQLite's errors into StoreError, with the file, the reason and a remedy, in this context."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self._path} cannot be written or read: {error}. Check free disk space and file permissions; "
                f"nothing was lost, and {self.if_not_written}."
            ) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            what = " ".join(str(error).split())
            raise StoreError(
                f"{self._path} is damaged: {what}. Recover it (sqlite3 {self._path} .recover): {self.if_damaged}."
            ) from error


def _channel_id(name: str) -> bytes:
    """Return the channel id for a channel that was stored by this name, for migrations."""
    return ChannelId.from_name(ShortChannelId.parse(name))


def _read_through(path: Path) -> None:
    """Read the file once from its beginning to its end, so that it is in the page cache when it is checked.

    The check reads single pages in the order of the tables: from a disk that takes several times as long, 17 s instead
    of 4 s for 1.2 GB. This must not be done while SQLite has the file open: its locks end when the process closes any
    descriptor of the file (sqlite.org/howtocorrupt.html, 2.2).
    """
    if not path.is_file():
        return
    piece = bytearray(_READ_BYTES)
    with suppress(OSError), path.open("rb", buffering=0) as file:  # errors are reported by the check
        while file.readinto(piece):
            pass


def _make_private(path: Path) -> None:
    """Make the file and SQLite's additional files accessible only to the owner; earlier releases left them readable."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=_FOR_OWNER))
    for name in (path.name, *(path.name + suffix for suffix in (".lock", "-wal", "-shm"))):
        with suppress(FileNotFoundError, PermissionError):  # another user's file: its owner sets its permissions
            path.with_name(name).chmod(_FOR_OWNER)


def _statements(script: str) -> Iterator[str]:
    """Yield the script's statements one by one: `executescript` would end the transaction."""
    statement = ""
    for piece in script.split(";")[:-1]:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
