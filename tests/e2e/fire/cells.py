"""The cells of a table as parameters of one test: which of them `make test` takes, and which share a testbed."""

from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

import pytest

Cell = tuple[str, ...]


def cells(file: str, table: Iterable[Cell], always: Set[Cell]) -> list[Any]:
    """Of the table in this file, whose last column is what happens to whom the others name.

    What `make test` takes, `always`, shares one testbed; in a full run each step and last column has its own, and
    they run side by side.
    """
    name = Path(file).stem

    def marks(cell: Cell) -> list[pytest.MarkDecorator]:
        if cell in always:
            return [pytest.mark.xdist_group(name)]
        return [pytest.mark.xdist_group(f"{name} {cell[0]} {cell[-1]}"), pytest.mark.full]

    return [pytest.param(*cell, id="-".join(cell).replace(" ", "_"), marks=marks(cell)) for cell in table]
