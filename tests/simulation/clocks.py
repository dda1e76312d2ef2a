"""System clocks that jump for a while: each process has the clock of its machine, and goes by a SteadyClock beside it.

A jump lasts less long than a process needs to believe it. Then nothing may end by it; and what ends at a Unix second
waits while the clock is in doubt, as it is after a start, too.
"""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from asyncpay.service.clock import SteadyClock

if TYPE_CHECKING:
    from .process import Process
    from .world import World

DAY = 86_400.0
JUMPS_SECONDS = (3_600.0, -3_600.0, DAY, -DAY, 15 * DAY, -400 * DAY, 400 * DAY)
LASTING_SECONDS = (1.0, 30.0, 200.0, 280.0)
LOOK_AGAIN_SECONDS = 30.0
"""How often a process whose clock is in doubt reads it again."""


@dataclass(frozen=True, slots=True)
class ClockJumps:
    """The system clock under a process shows another time for a while."""

    process: str
    by_seconds: float
    lasting_seconds: float

    def apply(self, world: "World") -> None:
        process = world.processes[self.process]
        if process.clock_error:
            return
        world.clocks_jumped = True
        process.set_clock(self.by_seconds)
        world.kernel.later(self.lasting_seconds, lambda: process.set_clock(0.0))

    def __str__(self) -> str:
        way = "ahead" if self.by_seconds > 0 else "back"
        return f"the clock under {self.process} is {abs(self.by_seconds):g} s {way} for {self.lasting_seconds:g} s"


def draw(random: Random) -> ClockJumps:
    """Some clock jumps."""
    process = random.choice(["LSP_a", "LSP_a", "LSP_b", "A's wallet", "B's wallet"])
    return ClockJumps(process, random.choice(JUMPS_SECONDS), random.choice(LASTING_SECONDS))


def beside(process: "Process", stored: float | None) -> SteadyClock:
    """The clock by which a process goes that begins now."""
    kernel = process.kernel
    return SteadyClock(stored, lambda: kernel.now + process.clock_error, lambda: kernel.now)
