"""The cells of a table as parameters of one test."""

from collections.abc import Iterable, Set
from typing import Any

import pytest

Cell = tuple[str, ...]


def cells(table: Iterable[Cell], always: Set[Cell]) -> list[Any]:
    """Return the cells of a table with the columns step, target and fault. `make test` runs those of `always`.

    A full run executes the rows (step and fault) in parallel, and the cells of each row sequentially: see
    tests/support/grouping.py for the `/`.
    """

    def name(cell: Cell) -> str:
        step, whom, what = cell
        return f"{step}-{what}/{whom}".replace(" ", "_")

    return [pytest.param(*cell, id=name(cell), marks=() if cell in always else pytest.mark.full) for cell in table]
