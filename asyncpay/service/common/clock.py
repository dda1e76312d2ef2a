"""The time that engines go by: a clock that never goes back and never leaps, and what Unix time is beside it.

The system's clock is set by others: by NTP, by hand, by a machine that is resumed, or that has none while it is off.
So what lasts so many seconds is measured by the monotonic clock, from a start in Unix time. The system's clock is read
beside it, and as long as it shows something else than before, Unix time is an interval (asyncpay.engine.core.UnixTime).
A different reading is believed once it has persisted for PERSIST_SECONDS.
"""

import math
import time
from collections.abc import Callable

from asyncpay.engine.core import ClockRead

PERSIST_SECONDS = 300
"""How long the system's clock must show another time until it is believed. Less than the 600 s by which an invoice
outlasts the hold of its payment: a hold that should end by a clock that was put right ends before its invoice."""
READ_SECONDS = 10
"""How often the system's clock is read at least."""
TOLERANCE_SECONDS = 2
"""Readings that differ by less show the same time."""
MAX_LEAP_SECONDS = 86_400
"""The longest time without a running process that counts for what lasts so many seconds. After a longer one, if it was
one, that goes on where it was."""


def steady() -> float:
    """Seconds from some start, never set; where the system can tell, those while it was suspended count too."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SteadyClock:
    """stored: the latest time in the store, None if there is none. The clock begins there, unless the system's clock
    shows the same or at most a day more: then it begins with that, and Unix time lies between the two at first.
    """

    def __init__(
        self,
        stored: float | None = None,
        system: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._system = system
        self._steady = steady
        shown = system()
        start = shown if stored is None or 0 <= shown - stored <= MAX_LEAP_SECONDS else stored
        self._zero = start - steady()
        self._believed = 0.0 if stored is None or abs(stored - start) < TOLERANCE_SECONDS else stored - start
        self._guessed = shown - start
        self._doubted: tuple[float, float] | None = None
        self._told = ClockRead(0, 0)

    def now(self) -> float:
        """The time for `handle`: in seconds, and Unix time as long as the system's clock is not set."""
        return self._zero + self._steady()

    def unix(self) -> float:
        """The likeliest Unix time: what is believed, or what was shown at the start while nothing is believed yet."""
        return self.now() + self._guessed

    @property
    def in_doubt(self) -> bool:
        """Whether the last reading was another than is believed."""
        return self._doubted is not None

    def read(self) -> ClockRead | None:
        """Read the system's clock; what the engine must be told of it, if that has changed."""
        now = self.now()
        offset = self._system() - now
        if abs(offset - self._believed) < TOLERANCE_SECONDS:
            self._guessed, self._doubted = self._believed, None
        elif self._doubted is None or abs(offset - self._doubted[0]) >= TOLERANCE_SECONDS:
            self._doubted = (offset, now)
        elif now - self._doubted[1] >= PERSIST_SECONDS:
            self._believed = self._guessed = offset
            self._doubted = None
        offsets = [self._believed] if self._doubted is None else [self._believed, self._doubted[0]]
        told = ClockRead(math.floor(min(offsets)), math.ceil(max(offsets)))
        if told == self._told:
            return None
        self._told = told
        return told
