"""The time that engines go by: a clock that never goes back and never leaps, and what Unix time is beside it.

The system's clock is set by others: by NTP, by hand, by a machine that is resumed, or that has none while it is off.
So what lasts so many seconds is measured by the monotonic clock, from a start in Unix time. The system's clock is read
beside it, and as long as it shows something else than before, Unix time is an interval (asyncpay.engine.core.UnixTime).
A different reading is believed once it has persisted for PERSIST_SECONDS.

What is believed, and what the system's clock shows, is stored with the first decision that is made by it. How long no
process ran is the difference of two readings of the system's clock. The engine's time goes on by that, but no belief
does: Unix time may still be what it was believed to be when something was stored last. So a clock that is wrong over
any number of restarts is believed no sooner than one that is wrong while a process runs.
"""

import math
import time
from collections.abc import Callable

from asyncpay.engine.core import ClockRead, StoredClock

PERSIST_SECONDS = 300
"""How long the system's clock must show another time until it is believed. Less than the 600 s by which an invoice
outlasts the hold of its payment: a hold that should end by a clock that was put right ends before its invoice."""
READ_SECONDS = 10
"""How often the system's clock is read at least."""
TOLERANCE_SECONDS = 2
"""Readings that differ by less show the same time."""
MAX_UNIX_SECONDS = 60_000_000_000
"""The latest time that is read, in the year 3871: a clock that shows a later one is taken to show this."""
MAX_LEAP_SECONDS = 86_400
"""The longest time without a running process that counts for what lasts so many seconds. After a longer one, if it was
one, that goes on where it was."""


def steady() -> float:
    """Seconds from some start, never set; where the system can tell, those while it was suspended count too."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SteadyClock:
    """stored: the latest time in the store, None if there is none. kept: what is stored of the clock itself; None in a
    new file, and in one of an earlier release, whose times are taken for Unix time.

    The clock begins at `stored`, and ahead of it by as much as the system's clock went on since then, if that was a day
    at most. That is the lesser of what it shows more than was shown, and of what it shows more than was believed: a
    clock that was put right while no process ran would count the time by which it was wrong.
    """

    def __init__(
        self,
        stored: float | None = None,
        kept: StoredClock | None = None,
        system: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._read_system = system
        self._steady = steady
        shown = self._system()
        believed = was_shown = 0.0
        if kept is not None:
            believed, was_shown = kept.believed_offset_seconds, kept.shown_offset_seconds
            stored = kept.time if stored is None else max(stored, kept.time)
        if stored is None:
            stored = shown
        passed = shown - stored - max(believed, was_shown)
        leap = passed if 0 <= passed <= MAX_LEAP_SECONDS else 0.0
        start = stored + leap
        self._zero = start - steady()
        self._believed = believed if leap < TOLERANCE_SECONDS else believed - leap
        self._guessed = shown - start
        self._doubted: tuple[float, float] | None = None
        self._told = ClockRead(0, 0)
        self._kept = (believed, was_shown)

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

    @property
    def unstored(self) -> StoredClock | None:
        """What to store with the next decision, before anything is done about that; None if the store has it."""
        shown = self._believed if self._doubted is None else self._doubted[0]
        return None if (self._believed, shown) == self._kept else StoredClock(self.now(), self._believed, shown)

    def mark_stored(self, clock: StoredClock) -> None:
        """Take note that this is stored."""
        self._kept = (clock.believed_offset_seconds, clock.shown_offset_seconds)

    def _system(self) -> float:
        """What the system's clock shows, within what can be stored."""
        return min(max(self._read_system(), 0.0), MAX_UNIX_SECONDS)

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
