"""The clock of the engines, which never goes back and never jumps, and the Unix time that belongs to it.

The system clock may be set: by NTP, by hand, or when a machine is resumed; on some machines it does not run while they
are off. So durations are measured by the monotonic clock, counted from a start in Unix time. The system clock is read
regularly. As long as it shows another time than before, Unix time is an interval (asyncpay.engine.core.UnixTime). A
different reading is believed once it has persisted for PERSIST_SECONDS.

The believed time and the time that the system clock shows are stored with the first decision that depends on them. The
time without a running process is the difference between two readings of the system clock. The engine's time advances by
that difference, but the believed Unix time does not: it may still be the one that was believed when something was last
stored. So a clock that is wrong over any number of restarts is believed no sooner than one that is wrong while a
process runs.
"""

import math
import time
from collections.abc import Callable

from asyncpay.engine.core import ClockRead, StoredClock

PERSIST_SECONDS = 300
"""How long the system clock must show another time until it is believed. Less than the 600 s by which an invoice
outlasts the hold of its payment: a hold that should end by a corrected clock ends before its invoice expires."""
READ_SECONDS = 10
"""The maximum interval between two readings of the system clock."""
TOLERANCE_SECONDS = 2
"""Two readings that differ by less are taken as the same time."""
MAX_UNIX_SECONDS = 60_000_000_000
"""The latest time that is accepted, in the year 3871: a later reading is taken as this time."""
MAX_LEAP_SECONDS = 86_400
"""The longest time without a running process that counts towards durations. If the time was longer, or only seems so,
durations continue where they stopped."""


def steady() -> float:
    """Return seconds from some start, never set. Time while the system was suspended counts, if it is measured."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SteadyClock:
    """The clock of one process.

    stored: the latest time in the store; None if there is none. kept: the stored state of the clock itself; None in a
    new file, and in a file of an earlier release, whose times are taken as Unix time.

    The clock starts at `stored`, plus the time by which the system clock has advanced since then, if that is a day at
    most. Two advances are computed: from the stored reading of the system clock, and from the stored believed time. The
    smaller one counts. Otherwise, if the clock was corrected while no process ran, its error would count as time.
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
        """Return the time for `handle`, in seconds. It is Unix time as long as the system clock is not set."""
        return self._zero + self._steady()

    def unix(self) -> float:
        """Return the likeliest Unix time: the believed one, or the reading at the start while none is believed yet."""
        return self.now() + self._guessed

    @property
    def in_doubt(self) -> bool:
        """Whether the last reading differs from the believed time."""
        return self._doubted is not None

    @property
    def unstored(self) -> StoredClock | None:
        """What to store with the next decision, before its effects are carried out; None if it is stored already."""
        shown = self._believed if self._doubted is None else self._doubted[0]
        return None if (self._believed, shown) == self._kept else StoredClock(self.now(), self._believed, shown)

    def mark_stored(self, clock: StoredClock) -> None:
        """Record that this state of the clock is stored."""
        self._kept = (clock.believed_offset_seconds, clock.shown_offset_seconds)

    def _system(self) -> float:
        """Return the reading of the system clock, limited to what can be stored."""
        return min(max(self._read_system(), 0.0), MAX_UNIX_SECONDS)

    def read(self) -> ClockRead | None:
        """Read the system clock; return the event for the engine if anything has changed, else None."""
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
