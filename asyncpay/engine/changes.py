"""What every engine gives out: changes to its records, which come first, and then effects."""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

R = TypeVar("R", covariant=True)
"""A record: a frozen dataclass with a `key`."""
E = TypeVar("E", covariant=True)
"""An effect: something to be done outside."""


@dataclass(frozen=True, slots=True)
class Put(Generic[R]):
    """Write this record in place of the one with the same key."""

    record: R


@dataclass(frozen=True, slots=True)
class Drop(Generic[R]):
    """Forget this record."""

    record: R


Change: TypeAlias = Put[R] | Drop[R]


@dataclass(frozen=True, slots=True)
class Step(Generic[R, E]):
    """Store `changes` in one transaction, then carry out `effects` in this order."""

    changes: tuple[Change[R], ...]
    effects: tuple[E, ...]
