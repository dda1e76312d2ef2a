"""Indexes: keys of records by something that they share, and by the time or the height that each waits for.

No event may cost more because more is remembered, so engines find records by these and by no scan.
"""

import math
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from sortedcontainers import SortedList

K = TypeVar("K")
V = TypeVar("V")

FEW = 8
"""A group of so many keys is a tuple: almost all groups are that small, and a dict takes four times the memory."""


class Index(Generic[K, V]):
    """Keys of records, grouped by something they share, in the order in which they came. Empty groups are not kept."""

    def __init__(self) -> None:
        self._groups: dict[K, tuple[V, ...] | dict[V, None]] = {}

    def __contains__(self, group: K) -> bool:
        return group in self._groups

    def add(self, group: K, key: V) -> None:
        """Put `key` into `group`."""
        members = self._groups.get(group, ())
        if isinstance(members, dict):
            members[key] = None
        elif key not in members:
            more = (*members, key)
            self._groups[group] = more if len(more) <= FEW else dict.fromkeys(more)

    def discard(self, group: K, key: V) -> None:
        """Take `key` out of `group`."""
        members = self._groups.get(group, ())
        if isinstance(members, dict):
            members.pop(key, None)
        elif key in members:
            members = self._groups[group] = tuple(each for each in members if each != key)
        if not members:
            self._groups.pop(group, None)

    def clear(self) -> None:
        """Empty all groups."""
        self._groups.clear()

    def of(self, group: K) -> tuple[V, ...]:
        """The members of `group`, oldest first."""
        return tuple(self._groups.get(group, ()))

    def first(self, group: K, most: int) -> list[V]:
        """The oldest members of `group`, `most` at most."""
        return list(islice(self._groups.get(group, ()), most))

    def size(self, group: K) -> int:
        """How many members `group` has."""
        return len(self._groups.get(group, ()))

    def groups(self) -> list[K]:
        """The groups that have members."""
        return list(self._groups)


class Deadlines(Generic[K]):
    """Keys ordered by what each waits for: a time, or a height. A key waits for one number, or for none.

    An operation costs O(log n), so an event costs the same however much is remembered.
    """

    def __init__(self) -> None:
        # The second number is another one in each entry, so keys are never compared: they need no order.
        self._entries: dict[K, tuple[float, int, K]] = {}
        self._order: SortedList[Any] = SortedList()
        self._entered = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, deadline: float) -> None:
        """Let `key` wait for this, and for nothing else any more; infinity: for nothing."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == deadline:
            return
        self.discard(key)
        if deadline < math.inf:
            self._entered += 1
            entry = self._entries[key] = deadline, self._entered, key
            self._order.add(entry)

    def get(self, key: K) -> float:
        """What `key` waits for; infinity for nothing."""
        entry = self._entries.get(key)
        return math.inf if entry is None else entry[0]

    def clear(self) -> None:
        """Let no key wait any more."""
        self._entries.clear()
        self._order.clear()

    def discard(self, key: K) -> None:
        """Let `key` wait for nothing."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._order.remove(entry)

    @property
    def earliest(self) -> K | None:
        """The key that waits for the earliest of all, if there is one."""
        return cast(K, self._order[0][2]) if self._order else None

    @property
    def first(self) -> float:
        """The earliest of all; infinity if there is none."""
        return cast(float, self._order[0][0]) if self._order else math.inf

    def due(self, reached: float, most: int | None = None) -> list[K]:
        """The keys that wait for this or something earlier, earliest first; `most`: no more of them than that."""
        return [key for _, _, key in islice(self._order.irange(maximum=(reached, math.inf)), most)]
