"""Indexes of records: by a shared property, and by the time or the height that each record waits for.

The cost of an event must not grow with the number of records, so engines find records by indexes and never by a scan.
"""

import math
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from sortedcontainers import SortedList

K = TypeVar("K")
V = TypeVar("V")

FEW = 8
"""Groups of up to this many keys are tuples: almost all groups are so small, and a dict takes four times the memory."""


class Index(Generic[K, V]):
    """Keys of records, grouped by a shared property, in the order of insertion. Empty groups are not kept."""

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
        """Return the members of `group`, oldest first."""
        return tuple(self._groups.get(group, ()))

    def first(self, group: K, most: int) -> list[V]:
        """Return the oldest members of `group`, at most `most`."""
        return list(islice(self._groups.get(group, ()), most))

    def size(self, group: K) -> int:
        """Return the number of members of `group`."""
        return len(self._groups.get(group, ()))

    def groups(self) -> list[K]:
        """Return the groups that have members."""
        return list(self._groups)


class Deadlines(Generic[K]):
    """Keys ordered by their deadlines, which are times or heights. A key has one deadline, or none.

    An operation costs O(log n), so the cost of an event hardly grows with the number of keys.
    """

    def __init__(self) -> None:
        # The second number is unique in each entry, so keys are never compared: they need no order.
        self._entries: dict[K, tuple[float, int, K]] = {}
        self._order: SortedList[Any] = SortedList()
        self._entered = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, deadline: float) -> None:
        """Set the deadline of `key`; infinity: `key` has no deadline."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] == deadline:
            return
        self.discard(key)
        if deadline < math.inf:
            self._entered += 1
            entry = self._entries[key] = deadline, self._entered, key
            self._order.add(entry)

    def get(self, key: K) -> float:
        """Return the deadline of `key`; infinity if it has none."""
        entry = self._entries.get(key)
        return math.inf if entry is None else entry[0]

    def clear(self) -> None:
        """Remove all deadlines."""
        self._entries.clear()
        self._order.clear()

    def discard(self, key: K) -> None:
        """Remove the deadline of `key`."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._order.remove(entry)

    @property
    def earliest(self) -> K | None:
        """Return the key with the earliest deadline, or None."""
        return cast(K, self._order[0][2]) if self._order else None

    @property
    def first(self) -> float:
        """The earliest deadline; infinity if there is none."""
        return cast(float, self._order[0][0]) if self._order else math.inf

    def due(self, reached: float, most: int | None = None) -> list[K]:
        """Return the keys whose deadline is `reached` or earlier, earliest first; at most `most` of them."""
        return [key for _, _, key in islice(self._order.irange(maximum=(reached, math.inf)), most)]
