"""What every engine takes in from the shell around it, beside what happens to the node and to people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Also due when the engine's `next_deadline` is reached."""


@dataclass(frozen=True, slots=True)
class Detached:
    """The node's stream has ended. What it offered will be offered again, what it was asked may never be told."""


@dataclass(frozen=True, slots=True)
class ClockRead:
    """By how much Unix time is ahead of the `now` of `handle`: between these two.

    Both are the same as long as the clock is not in doubt (see asyncpay.service.clock).
    """

    earliest_offset_seconds: int
    latest_offset_seconds: int
