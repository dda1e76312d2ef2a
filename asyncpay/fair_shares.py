"""Fair shares of limited resources for each party: a bound on concurrent work, and a rate limit.

A party that asks for much waits for its own work, and no other party waits for it.
"""

import asyncio
import heapq
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, Self, TypeAlias, TypeVar

T = TypeVar("T")

_Turns: TypeAlias = OrderedDict[Hashable, None]
"""Parties that may begin work, in the order of their turns. To find the first key of a dict, Python scans the places of
all keys that were deleted before it.
"""


class TooManyError(Exception):
    """The party has the maximum of waiting work; or all parties together have, and this party has the most."""


class FairSemaphore:
    """Bound the work that runs and the work that waits, within one event loop.

    at_once: the most work that runs, of all parties together. each: the most that runs, of one party. waiting: the most
    that waits, of one party. waiting_in_all: the most that waits, of all parties; beyond it, the party with the most
    waiting work loses its latest.
    The work of one party begins in the order in which its slots were requested.
    """

    def __init__(
        self, *, each: int, waiting: float, at_once: float = math.inf, waiting_in_all: float = math.inf
    ) -> None:
        self._each = each
        self._waiting = waiting
        self._at_once = at_once
        self._waiting_in_all = waiting_in_all
        self._under_way: Counter[Hashable] = Counter()
        self._total_under_way = 0
        self._queues: dict[Hashable, deque[Slot]] = {}
        self._total_waiting = 0
        self._turns: _Turns = OrderedDict()

    def slot(self, party: Hashable) -> "Slot":
        """Return a slot for one piece of work; the caller must enter it. Raises TooManyError."""
        waits = self._under_way[party] >= self._each or self._total_under_way >= self._at_once
        if waits and len(self._queues.get(party, ())) >= self._waiting:
            raise TooManyError(f"{self._waiting} are already waiting")
        slot = Slot(self, party)
        self._queues.setdefault(party, deque()).append(slot)
        self._total_waiting += 1
        self._give_turns(party)
        if self._total_waiting > self._waiting_in_all:
            self._displace()
        return slot

    def _give_turns(self, party: Hashable) -> None:
        """Start the work that may start now, after this party has requested a slot or given one back."""
        if party in self._queues and self._under_way[party] < self._each:
            self._turns.setdefault(party)
        while self._turns and self._total_under_way < self._at_once:
            following, _ = self._turns.popitem(last=False)
            slot = self._queues[following].popleft()
            self._forget_waiting(following)
            self._under_way[following] += 1
            self._total_under_way += 1
            if following in self._queues and self._under_way[following] < self._each:
                self._turns[following] = None
            slot.decided.set_result(True)

    def _displace(self) -> None:
        greediest = max(self._queues, key=lambda party: len(self._queues[party]))
        slot = self._queues[greediest].pop()
        self._forget_waiting(greediest)
        slot.decided.set_result(False)

    def _forget_waiting(self, party: Hashable) -> None:
        self._total_waiting -= 1
        if not self._queues[party]:
            del self._queues[party]
            self._turns.pop(party, None)

    def give_back(self, slot: "Slot") -> None:
        """Take a slot back: its work is finished, or will not run."""
        party = slot.party
        if not slot.decided.done():
            self._queues[party].remove(slot)
            self._forget_waiting(party)
            slot.decided.cancel()
        elif not slot.decided.cancelled() and slot.decided.result():
            self._under_way[party] -= 1
            if not self._under_way[party]:
                del self._under_way[party]
            self._total_under_way -= 1
            self._give_turns(party)


class Slot:
    """A slot of a FairSemaphore, as an async context manager: entering it waits for its turn. Raises TooManyError."""

    def __init__(self, semaphore: FairSemaphore, party: Hashable) -> None:
        self.party = party
        self.decided: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._semaphore = semaphore

    async def __aenter__(self) -> Self:
        try:
            may_begin = await asyncio.shield(self.decided)
        except asyncio.CancelledError:
            self._semaphore.give_back(self)
            raise
        if not may_begin:
            raise TooManyError("too many are waiting, and this party has the most")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the slot back, for work that does not end where the slot was entered."""
        self._semaphore.give_back(self)


class FairQueue(Generic[T]):
    """Work that waits for its turn without a task of its own, so that there may be much of it.

    Parties take turns, and of one party's work the most urgent begins first; equally urgent work in its order. Work has
    an owner too, who may have work with many parties.
    begin: starts one piece of work; `done` is called when it has ended. each, at_once: as in FairSemaphore.
    each_owner: the most work that runs, of one owner.
    """

    def __init__(
        self,
        begin: Callable[[Hashable, T], None],
        *,
        each: int,
        at_once: int,
        each_owner: float = math.inf,
    ) -> None:
        self._begin = begin
        self._each = each
        self._at_once = at_once
        self._each_owner = each_owner
        self._number = 0
        self._waiting: dict[Hashable, list[_Waiting[T]]] = {}  # heaps; the number keeps the order
        self._set_aside: dict[Hashable, list[tuple[Hashable, _Waiting[T]]]] = {}  # by owner that has its maximum
        self._turns: _Turns = OrderedDict()
        self._under_way: Counter[Hashable] = Counter()
        self._under_way_of: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        """Return how much work waits."""
        return sum(map(len, self._waiting.values())) + sum(map(len, self._set_aside.values()))

    def add(self, party: Hashable, urgency: int, work: T, owner: Hashable = None) -> None:
        """Let this work wait, or begin it. urgency: the least number is the most urgent."""
        self._number += 1
        self._wait(party, (urgency, self._number, owner, work))
        self._give_turns()

    def done(self, party: Hashable, owner: Hashable = None) -> None:
        """A piece of this party's and this owner's work has ended."""
        for under_way, each in ((self._under_way, party), (self._under_way_of, owner)):
            under_way[each] -= 1
            if not under_way[each]:
                del under_way[each]
        for other, waiting in self._set_aside.pop(owner, ()):
            self._wait(other, waiting)
        self._may_begin(party)
        self._give_turns()

    def _wait(self, party: Hashable, waiting: "_Waiting[T]") -> None:
        heapq.heappush(self._waiting.setdefault(party, []), waiting)
        self._may_begin(party)

    def _may_begin(self, party: Hashable) -> None:
        if party in self._waiting and self._under_way[party] < self._each:
            self._turns.setdefault(party)

    def _give_turns(self) -> None:
        while self._turns and self._under_way.total() < self._at_once:
            following, _ = self._turns.popitem(last=False)
            if (waiting := self._next_of(following)) is None:
                continue
            _, _, owner, work = waiting
            self._under_way[following] += 1
            self._under_way_of[owner] += 1
            self._may_begin(following)
            self._begin(following, work)

    def _next_of(self, party: Hashable) -> "_Waiting[T] | None":
        """Take the party's most urgent work whose owner may begin more. Other owners' work before it is set aside."""
        heap, found = self._waiting[party], None
        while heap and found is None:
            first = heapq.heappop(heap)
            owner = first[2]
            if self._under_way_of[owner] < self._each_owner:
                found = first
            else:
                self._set_aside.setdefault(owner, []).append((party, first))
        if not heap:
            del self._waiting[party]
        return found


_Waiting: TypeAlias = tuple[int, int, Hashable, T]
"""Urgency, number, owner, and the work."""


class RateLimit:
    """A token bucket for each party.

    burst: how many times a party is served without a pause. seconds: until it may be served once more.
    """

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._room_seconds = burst * seconds
        self._seconds = seconds
        self._clock = clock
        # When a party's bucket is full again; served last at the end.
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def seconds_to_wait(self, party: Hashable) -> float:
        """Return 0 and count the request if the party may be served now; otherwise the seconds that it must wait."""
        now = self._clock()
        self._forget(now)
        full_at = max(self._full_at.get(party, now), now) + self._seconds
        too_much = full_at - now - self._room_seconds
        if too_much > 1e-6:
            return too_much
        self._full_at.pop(party, None)
        self._full_at[party] = full_at
        return 0

    def _forget(self, now: float) -> None:
        """Delete full buckets from the front. A full one may stay until those before it are deleted."""
        while self._full_at:
            party, full_at = next(iter(self._full_at.items()))
            if full_at > now:
                return
            del self._full_at[party]
