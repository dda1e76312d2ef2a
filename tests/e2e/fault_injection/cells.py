"""The cells of a table as parameters of one test."""

from collections.abc import Iterable, Set
from typing import Any

import pytest

Cell = tuple[str, ...]


def cells(table: Iterable[Cell], always: Set[Cell]) -> list[Any]:
    """Those of a table whose columns are a step, whom it happens to, and what happens. `make test` takes `always`.

    A whole run plays the steps and happenings side by side, and the cells of each one after the other: see
    tests/e2e/conftest.py for the `/`.
    """

    def name(cell: Cell) -> str:
        step, whom, what = cell
        return f"{step}-{what}/{whom}".replace(" ", "_")

    return [pytest.param(*cell, id=name(cell), marks=() if cell in always else pytest.mark.full) for cell in table]
