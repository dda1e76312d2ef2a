"""The real stores, on a disk or in memory. Either outlives the process that is killed with it open."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asyncpay.store import Store

_MEMORY = Path("/dev/shm")


class Disks:
    """A folder for the stores of one simulation, on the disk or on a RAM disk."""

    def __init__(self, *, on_disk: bool) -> None:
        place = None if on_disk or not _MEMORY.is_dir() else _MEMORY
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=place))

    def disk(self, name: str) -> "Disk":
        """The file of one process."""
        return Disk(self._folder / f"{name}.sqlite")

    def close(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Disk:
    """One file, and the store that has it open, if any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store[Any] | None = None

    def open(self, kind: type[Store[Any]]) -> list[Any]:
        """What the store holds."""
        self._store = kind(self._path)
        return list(self._store.load())

    def commit(self, changes: Iterable[Any]) -> None:
        """See Store.commit."""
        assert self._store is not None
        self._store.commit(changes)

    def close(self) -> None:
        """The process is gone."""
        if self._store is not None:
            self._store.close()
            self._store = None
