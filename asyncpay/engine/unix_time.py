"""Unix time as an engine knows it: an interval, because a clock may be wrong.

The `now` of `handle` never goes back and never leaps: it is right for everything that lasts so many seconds. What
two nodes have agreed on in Unix time (hold_until, the expiry of an invoice) is compared with this interval, and
nothing that cannot be taken back is decided unless it is true at both of its ends.
"""

import math
from dataclasses import dataclass

from asyncpay.engine.events import ClockRead


@dataclass(slots=True)
class UnixTime:
    """Unix time lies between `now` + earliest_offset_seconds and `now` + latest_offset_seconds.

    now: the engine's own time, in seconds. Both offsets are 0 until a ClockRead says otherwise.
    """

    now: float = 0
    earliest_offset_seconds: int = 0
    latest_offset_seconds: int = 0

    def turn(self, now: float, event: object) -> None:
        """An event is handled now. What the clock shows counts for everything that is due."""
        self.now = now
        if isinstance(event, ClockRead):
            self.earliest_offset_seconds = event.earliest_offset_seconds
            self.latest_offset_seconds = event.latest_offset_seconds

    @property
    def latest(self) -> float:
        """The latest Unix time that it can be."""
        return self.now + self.latest_offset_seconds

    def surely_past(self, unix_seconds: int) -> bool:
        """Whether this Unix second is over, however the clock is read. The second itself is not past."""
        return math.floor(self.now + self.earliest_offset_seconds) > unix_seconds

    def past_at(self, unix_seconds: int) -> float:
        """When, in the engine's own time, `surely_past` becomes true."""
        return unix_seconds + 1.0 - self.earliest_offset_seconds
