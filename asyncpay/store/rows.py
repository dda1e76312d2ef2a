"""Between frozen dataclasses and rows: a column for each field, nested dataclasses spread out in place."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, TypeAlias

from asyncpay.lightning import U64, ShortChannelId

Value: TypeAlias = int | float | str | bytes | None

_HASH_BYTES = 32


def u64_column(number: int) -> bytes:
    """8 bytes: SQLite's integers have a sign, so they end at 2^63-1."""
    return number.to_bytes(8, "big")


class Shape:
    """How records of one class become rows."""

    def __init__(self, record: type) -> None:
        self._record = record
        self.columns = [name for name, _ in _leaves(record)]

    def to_row(self, record: object) -> list[Value]:
        """The record's values in the order of `columns`."""
        return list(_values(record))

    def from_row(self, row: tuple[Value, ...]) -> Any:
        """The record that made this row."""
        return _build(self._record, iter(row))


def _columns(record: type) -> Iterator[tuple[str, Any]]:
    """Column and type of each field. A field that was renamed says in its metadata which column it still has."""
    for field, (_, hint) in zip(dataclasses.fields(record), _fields(record), strict=True):
        yield field.metadata.get("column", field.name), hint


def _fields(record: type) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        yield field.name, _without_none(hints[field.name])


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        (hint,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    return hint


def _leaves(record: type) -> Iterator[tuple[str, Any]]:
    for name, hint in _columns(record):
        if dataclasses.is_dataclass(hint):
            yield from _leaves(typing.cast(type, hint))
        else:
            yield name, hint


def _values(record: Any) -> Iterator[Value]:
    for name, hint in _fields(type(record)):
        value = getattr(record, name)
        if dataclasses.is_dataclass(value):
            yield from _values(value)
        else:
            yield _to_column(hint, value)


def _to_column(hint: Any, value: Any) -> Value:
    match value:
        case int() if hint is U64:
            return u64_column(value)
        case Enum():
            return typing.cast(Value, value.value)
        case ShortChannelId():
            return str(value)
        case tuple():
            return b"".join(value)
        case bool():
            return int(value)
    return typing.cast(Value, value)


def _build(record: type, row: Iterator[Value]) -> Any:
    values = {}
    for name, hint in _fields(record):
        nested = dataclasses.is_dataclass(hint)
        values[name] = _build(hint, row) if nested else _from_column(hint, next(row))
    return record(**values)


def _from_column(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if hint is ShortChannelId:
        return ShortChannelId.parse(value)
    if hint is U64:
        return int.from_bytes(value, "big")
    if typing.get_origin(hint) is tuple:
        return tuple(value[start : start + _HASH_BYTES] for start in range(0, len(value), _HASH_BYTES))
    return hint(value)
