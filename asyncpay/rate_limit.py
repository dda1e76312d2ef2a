"""How often a party may have something done."""

import time
from collections.abc import Callable, Hashable


class RateLimit:
    """So many at once, and one more after each so many seconds; each party has its own count.

    burst: how many at once. seconds: until there is room for one more.
    """

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._room_seconds = burst * seconds
        self._seconds = seconds
        self._clock = clock
        self._paid_until: dict[
            Hashable, float
        ] = {}  # when its count is back at nothing; those who came last at the end

    def seconds_to_wait(self, party: Hashable) -> float:
        """0: it may, and is counted. Else how long it has to wait."""
        now = self._clock()
        self._forget(now)
        until = max(self._paid_until.get(party, now), now) + self._seconds
        too_much = until - now - self._room_seconds
        if too_much > 1e-6:
            return too_much
        self._paid_until.pop(party, None)
        self._paid_until[party] = until
        return 0

    def _forget(self, now: float) -> None:
        """Parties whose count is back at nothing. Some more may stay until those before them have gone."""
        while self._paid_until:
            party, until = next(iter(self._paid_until.items()))
            if until > now:
                return
            del self._paid_until[party]
