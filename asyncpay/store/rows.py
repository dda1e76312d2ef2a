"""Conversion of frozen dataclasses to rows and back: one column for each field, nested dataclasses flattened."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, TypeAlias

from asyncpay.lightning import U64, ShortChannelId

Value: TypeAlias = int | float | str | bytes | None

_HASH_BYTES = 32
_STORED_AS_THEY_ARE = (int, str, bytes)
_LAST_SECOND = 1e11
"""Beyond every time that a component reads (asyncpay.service.common.clock): what a damaged file may say."""
UNWRITABLE = (OverflowError, TypeError, AttributeError)
"""The exceptions of `to_row` for a record with a value that no column can hold."""


def u64_column(number: int) -> bytes:
    """Encode a u64 as 8 bytes: SQLite's integers are signed, so their maximum is 2^63-1."""
    return number.to_bytes(8, "big")


class Shape:
    """The conversion of records of one class to rows. It is computed once: stores are loaded record by record."""

    def __init__(self, record: type) -> None:
        leaves = list(_leaves(record))
        self.columns = [column for column, _, _ in leaves]
        self._values = attrgetter(*(path for _, path, _ in leaves))
        hints = [hint for _, _, hint in leaves]
        self._writers = [(at, writer) for at, hint in enumerate(hints) if (writer := _writer(hint)) is not None]
        self._readers = [(at, reader) for at, hint in enumerate(hints) if (reader := _reader(hint)) is not None]
        self._build, _ = _builder(record, 0)

    def to_row(self, record: object) -> list[Value]:
        """Return the record's values in the order of `columns`. UNWRITABLE for values that do not match the fields."""
        row = list(self._values(record))
        for at, write in self._writers:
            if row[at] is not None:
                row[at] = write(row[at])
        return row

    def from_row(self, row: Sequence[Value]) -> Any:
        """Return the record of this row. ValueError for values that no record has."""
        values = list(row)
        for at, read in self._readers:
            if values[at] is not None:
                values[at] = read(values[at])
        return self._build(values)


def _fields(record: type) -> Iterator[tuple[str, Any]]:
    """Yield name and type of each field."""
    hints = typing.get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        yield field.name, _without_none(hints[field.name])


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        (hint,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    return hint


def _leaves(record: type, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield column, attribute path and type of each field that has a column."""
    for name, hint in _fields(record):
        if dataclasses.is_dataclass(hint):
            yield from _leaves(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield name, prefix + name, hint


def _builder(record: type, first: int) -> tuple[Callable[[Sequence[Any]], Any], int]:
    """Return a function that builds a record from the values from index `first` on, and the index after them."""
    plain: list[tuple[str, int]] = []
    nested: list[tuple[str, Callable[[Sequence[Any]], Any]]] = []
    place = first
    for name, hint in _fields(record):
        if dataclasses.is_dataclass(hint):
            inner, place = _builder(typing.cast(type, hint), place)
            nested.append((name, inner))
        else:
            plain.append((name, place))
            place += 1

    def build(values: Sequence[Any]) -> Any:
        fields = {name: values[at] for name, at in plain}
        for name, inner in nested:
            fields[name] = inner(values)
        return record(**fields)

    return build, place


def _writer(hint: Any) -> Callable[[Any], Value] | None:
    """Return the conversion of a value of this type to a column's value; None: unchanged."""
    if hint is U64:
        return u64_column
    if hint is ShortChannelId:
        return str
    if hint is bool:
        return int
    if isinstance(hint, type) and issubclass(hint, Enum):
        return attrgetter("value")
    if typing.get_origin(hint) is tuple:
        return b"".join
    return None


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    """Return the conversion of a column's value to one of this type; None: unchanged."""
    if hint in _STORED_AS_THEY_ARE:
        return None
    if hint is float:
        return _seconds
    if hint is ShortChannelId:
        return ShortChannelId.parse
    if hint is U64:
        return _u64
    if typing.get_origin(hint) is tuple:
        return _hashes
    return typing.cast(Callable[[Any], Any], hint)


def _seconds(column: float) -> float:
    if not -_LAST_SECOND < column < _LAST_SECOND:  # nor is it not a number
        raise ValueError(f"{column} is no time")
    return column


def _u64(column: bytes) -> int:
    return int.from_bytes(column, "big")


def _hashes(column: bytes) -> tuple[bytes, ...]:
    return tuple(column[start : start + _HASH_BYTES] for start in range(0, len(column), _HASH_BYTES))
