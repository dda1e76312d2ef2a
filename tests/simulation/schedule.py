"""A schedule, and who directs a run: one that draws a schedule from a seed as the world unfolds, one that repeats it.

A schedule is what is given (Setup) and what disturbs the world, each at its moment. Without disturbances the
world is calm and the payment simply works; so the fewer there are, the plainer the story. This is why the
scheduler is our own and not Hypothesis' stateful machinery. There an example is the list of *all* steps, so
that a shrunk one must still spell out everything that makes a payment, and removing one step shifts the
meaning of those behind it. Here an example holds only what went wrong, each named by the moment that it
disturbs, and can be taken out by itself. And a number names one schedule for ever, on every machine.
"""

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from .disturbances import (
    FATES,
    SMALL_HTLCS,
    Disturbance,
    Orphaned,
    Stranger,
    draw,
    draw_orphaned,
    is_message,
    is_order,
    is_release_of_payee,
)
from .kernel import Moment
from .network import Late, Lose
from .setup import Setup

if TYPE_CHECKING:
    from .world import World

MOST_DISTURBANCES = 25
CHANCES = (0.004, 0.01, 0.02, 0.05, 0.1)
"""Of a disturbance at any moment; one of these for a whole schedule."""
LOSSES = (0.0, 0.0, 0.0, 0.3)
"""Chance that a message is lost; one of these for a whole schedule. Nothing on the way of an onion message
acknowledges it: CLN drops what is faster than its rate (connectd/onion_message.c: handle_onion_message), LND what its
peer's queue has no room for, and a phone in a train loses a third of everything."""

MUTE = (0.0, 0.0, 0.0, 0.8)
"""Chance that a release by B is lost on its first hop; one of these for a whole schedule. A phone with a weak
transmitter hears all and is not heard.
"""

ORPHANS = (0.0, 0.9)
"""Chance that whoever orders a payment is killed with its order on the way; one of these for a whole schedule."""

CROWDS = (0.0, 0.0, 0.0, 1.0)
"""Chance that C fills B's slots when A's payment goes on and B is away; one of these for a whole schedule. C tries all
the time, and a schedule shows when it matters: once.
"""


@dataclass(frozen=True)
class Schedule:
    """What is given and what happens. Two equal schedules play alike."""

    setup: Setup = field(default_factory=Setup)
    disturbances: tuple[tuple[Moment, Disturbance], ...] = ()


class Drawing:
    """Directs by a random number generator, and writes down what it does. `calm` once the turbulence is over."""

    def __init__(self, random: Random) -> None:
        self.calm = False
        self.drawn: list[tuple[Moment, Disturbance]] = []
        self.world: World
        self._random = random
        self._chance = random.choice(CHANCES)
        self._loss = random.choice(LOSSES)
        self._mute = random.choice(MUTE)
        self._orphans = random.choice(ORPHANS)
        self._crowds = random.choice(CROWDS)

    def __call__(self, moment: Moment) -> list[Any]:
        fates: list[Any] = []
        if self._loss and is_message(moment.name) and self._may_disturb(self._loss):
            fates += self._disturb(moment, Lose())
        if self._mute and is_release_of_payee(moment.name) and self._may_disturb(self._mute):
            fates += self._disturb(moment, Lose())
        if self._orphans and is_order(moment.name) and self._may_disturb(self._orphans):
            fates += self._disturb(moment, draw_orphaned(self._random, moment.name))
        crowded = moment.name == "HTLC update LSP_a->router" and not self.world.phone_b.awake
        if self._crowds and crowded and self._may_disturb(self._crowds):
            self._crowds = 0.0
            fates += self._disturb(moment, Stranger(SMALL_HTLCS))
        while self._may_disturb(self._chance):
            fates += self._disturb(moment, draw(self._random, moment.name))
        return fates

    def _may_disturb(self, chance: float) -> bool:
        return not self.calm and len(self.drawn) < MOST_DISTURBANCES and self._random.random() < chance

    def _disturb(self, moment: Moment, disturbance: Disturbance) -> list[Any]:
        self.drawn.append((moment, disturbance))
        return _disturb(self.world, moment, disturbance)


class Repeating:
    """Directs by a schedule. `happened`: which of its disturbances found their moment."""

    def __init__(self, schedule: Schedule) -> None:
        self.calm = False
        self.world: World
        self.happened: list[tuple[Moment, Disturbance]] = []
        self._todo: dict[Moment, list[Disturbance]] = {}
        for moment, disturbance in schedule.disturbances:
            self._todo.setdefault(moment, []).append(disturbance)

    def __call__(self, moment: Moment) -> list[Any]:
        fates: list[Any] = []
        if not self.calm and moment in self._todo:
            for disturbance in self._todo[moment]:
                self.happened.append((moment, disturbance))
                fates += _disturb(self.world, moment, disturbance)
        return fates


def _disturb(world: "World", moment: Moment, disturbance: Disturbance) -> list[Any]:
    world.kernel.tell("!", "just before %s: %s", moment, disturbance)
    if isinstance(disturbance, FATES):
        return [disturbance]
    disturbance.apply(world)
    return [Late(disturbance.seconds)] if isinstance(disturbance, Orphaned) else []
