"""A limit on how often each party is served."""

import time
from collections.abc import Callable, Hashable


class RateLimit:
    """A token bucket for each party.

    burst: how many times a party is served without a pause. seconds: until it may be served once more.
    """

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._room_seconds = burst * seconds
        self._seconds = seconds
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}  # when a party's bucket is full again; served last at the end

    def seconds_to_wait(self, party: Hashable) -> float:
        """Return 0 and count it, if the party may be served now; otherwise how long it must wait."""
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
