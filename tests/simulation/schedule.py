"""Schedules, and the injectors: one draws a schedule from a seed while the simulation runs, one replays a schedule.

A schedule is a setup (Setup) and disturbances, each at its failpoint. Without disturbances the payment succeeds; so
the fewer there are, the simpler the trace. This is why the scheduler is custom and not Hypothesis' stateful testing.
There an example is the list of *all* steps, so that a shrunk one must still contain every step of a payment, and
removing one step changes the meaning of the following ones. Here an example has only the disturbances, each named by
its failpoint, and each can be removed independently. A number always names the same schedule, on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from .attacker import ATTACKS, JAM_SLOTS
from .disturbances import (
    APART_SECONDS,
    BLOCKS,
    DOWN_SECONDS,
    JUMPS_SECONDS,
    LASTING_SECONDS,
    LATE_SECONDS,
    MESSAGE_FAULTS,
    ORPHANED_SECONDS,
    Attack,
    Cancel,
    ClockJumps,
    CloseChannel,
    Crash,
    Cut,
    Disturbance,
    HandOverEarly,
    Mine,
    MutualClose,
    NodeCrash,
    Orphaned,
    PluginDies,
    Rename,
    Sleep,
    Wake,
)
from .kernel import Failpoint
from .network import Delayed, Duplicated, Lost, Rejected
from .setup import Setup

if TYPE_CHECKING:
    from .simulation import Simulation

MOST_DISTURBANCES = 25
CHANCES = (0.004, 0.01, 0.02, 0.05, 0.1)
"""Chance of a disturbance at any failpoint; one of these for a whole schedule."""
LOSSES = (0.0, 0.0, 0.0, 0.3)
"""Chance that a message is lost; one of these for a whole schedule. Onion messages are not acknowledged: CLN drops
those above its rate (connectd/onion_message.c: handle_onion_message), LND those that do not fit in its peer's queue,
and a phone on a train loses a third of all messages."""

MUTE = (0.0, 0.0, 0.0, 0.8)
"""Chance that a release by B is lost on its first hop; one of these for a whole schedule. A phone with a weak
transmitter receives everything, and its own messages are lost.
"""

ORPHANS = (0.0, 0.9)
"""Chance that the process that orders a payment is killed with its order in transit; one for a whole schedule."""

CROWDS = (0.0, 0.0, 0.0, 1.0)
"""Chance that C fills B's slots when A's payment is forwarded and B is offline; one of these for a whole schedule. C
would try constantly; a schedule does it once, when it matters.
"""


CLOCK_CHANCE = 0.03
RESTART_CHANCE = 0.05
"""That a process whose clock is wrong is killed, at any failpoint of its own. A start is where it may be believed."""


@dataclass(frozen=True)
class Schedule:
    """A setup and disturbances. Two equal schedules run identically."""

    setup: Setup = field(default_factory=Setup)
    disturbances: tuple[tuple[Failpoint, Disturbance], ...] = ()


class RandomInjector:
    """Injects random disturbances, and records them. `calm`: inject no more."""

    def __init__(self, random: Random) -> None:
        self.calm = False
        self.drawn: list[tuple[Failpoint, Disturbance]] = []
        self.sim: Simulation
        self._random = random
        self._chance = random.choice(CHANCES)
        self._loss = random.choice(LOSSES)
        self._mute = random.choice(MUTE)
        self._orphans = random.choice(ORPHANS)
        self._crowds = random.choice(CROWDS)

    def __call__(self, failpoint: Failpoint) -> list[Any]:
        faults: list[Any] = []
        if self._loss and is_message(failpoint.name) and self._may_disturb(self._loss):
            faults += self._disturb(failpoint, Lost())
        if self._mute and is_release_of_payee(failpoint.name) and self._may_disturb(self._mute):
            faults += self._disturb(failpoint, Lost())
        if self._orphans and is_order(failpoint.name) and self._may_disturb(self._orphans):
            faults += self._disturb(failpoint, draw_orphaned(self._random, failpoint.name))
        crowded = failpoint.name == "HTLC update LSP_a->router" and not self.sim.phone_b.awake
        if self._crowds and crowded and self._may_disturb(self._crowds):
            self._crowds = 0.0
            faults += self._disturb(failpoint, Attack(JAM_SLOTS))
        process, _ = process_at(failpoint.name)
        if self._has_wrong_clock(process) and self._may_disturb(RESTART_CHANCE):
            faults += self._disturb(failpoint, Crash(process, self._random.choice(DOWN_SECONDS)))
        while self._may_disturb(self._chance):
            faults += self._disturb(failpoint, draw(self._random, failpoint.name))
        return faults

    def _may_disturb(self, chance: float) -> bool:
        return not self.calm and len(self.drawn) < MOST_DISTURBANCES and self._random.random() < chance

    def _has_wrong_clock(self, process: str) -> bool:
        return process in self.sim.processes and self.sim.processes[process].clock_error != 0

    def _disturb(self, failpoint: Failpoint, disturbance: Disturbance) -> list[Any]:
        self.drawn.append((failpoint, disturbance))
        return _disturb(self.sim, failpoint, disturbance)


class ReplayInjector:
    """Injects the disturbances of a schedule. `happened`: those whose failpoint was reached."""

    def __init__(self, schedule: Schedule) -> None:
        self.calm = False
        self.sim: Simulation
        self.happened: list[tuple[Failpoint, Disturbance]] = []
        self._todo: dict[Failpoint, list[Disturbance]] = {}
        for failpoint, disturbance in schedule.disturbances:
            self._todo.setdefault(failpoint, []).append(disturbance)

    def __call__(self, failpoint: Failpoint) -> list[Any]:
        faults: list[Any] = []
        if not self.calm and failpoint in self._todo:
            for disturbance in self._todo[failpoint]:
                self.happened.append((failpoint, disturbance))
                faults += _disturb(self.sim, failpoint, disturbance)
        return faults


def _disturb(sim: "Simulation", failpoint: Failpoint, disturbance: Disturbance) -> list[Any]:
    sim.kernel.log("!", "just before %s: %s", failpoint, disturbance)
    if isinstance(disturbance, MESSAGE_FAULTS):
        return [disturbance]
    disturbance.apply(sim)
    return [Delayed(disturbance.seconds)] if isinstance(disturbance, Orphaned) else []


def is_message(failpoint: str) -> bool:
    """Whether an onion message arrives at this failpoint."""
    return "->" in failpoint and not failpoint.startswith("HTLC")


def is_release_of_payee(failpoint: str) -> bool:
    """Whether B's release of the payment arrives at its LSP at this failpoint."""
    return failpoint.startswith("payment_release B->")


def is_order(failpoint: str) -> bool:
    """Whether an order to pay arrives at a node at this failpoint."""
    return failpoint.endswith(" is told to pay")


def process_at(failpoint: str) -> tuple[str, str]:
    """Return the process that this failpoint is of, and what it is about to do; empty strings if it is of none."""
    for verb in (" does ", " has stored ", " decides on "):
        process, found, what = failpoint.partition(verb)
        if found:
            return process, what
    return "", ""


def draw_orphaned(random: Random, failpoint: str) -> Orphaned:
    """Draw a crash of a process whose order arrives later."""
    node = failpoint.removesuffix(" is told to pay")
    process = f"{node}'s wallet" if node in ("A", "B") else node
    down_seconds, late_seconds = random.choice(ORPHANED_SECONDS)
    return Orphaned(process, down_seconds, late_seconds)


def draw(random: Random, failpoint: str) -> Disturbance:
    """Draw a disturbance for this failpoint: often one that is specific to it."""
    if random.random() < CLOCK_CHANCE:
        return _clock_jump(random)
    special = random.random()
    if is_message(failpoint) and special < 0.6:
        message_faults: list[Disturbance] = [Lost(), Lost(), Duplicated(), Delayed(random.choice(LATE_SECONDS))]
        return random.choice(message_faults)
    if failpoint.startswith("push to") and special < 0.6:
        push_faults: list[Disturbance] = [Lost(), Rejected(), Delayed(random.choice(LATE_SECONDS))]
        return random.choice(push_faults)
    if is_order(failpoint) and special < 0.6:
        return draw_orphaned(random, failpoint)
    process, verb = process_at(failpoint)
    if verb and special < 0.5:
        return Crash(process, random.choice(DOWN_SECONDS))
    return _anything(random)


def _anything(random: Random) -> Disturbance:
    weights, makers = zip(*_ANYTHING, strict=True)
    maker: Callable[[Random], Disturbance] = random.choices(makers, weights)[0]
    return maker(random)


def _lsp(random: Random) -> str:
    return random.choice(["LSP_a", "LSP_a", "LSP_b"])


def _phone(random: Random) -> str:
    return random.choice(["A", "A", "B"])


def _link(random: Random) -> str:
    return random.choice(["A-LSP_a", "A-LSP_a", "B-LSP_b", "LSP_a-router", "LSP_b-router"])


def _channel(random: Random) -> int:
    return random.choice([0, 0, 1, 2, 3, 4])


def _node_crash(random: Random) -> NodeCrash:
    lsp = _lsp(random)
    node = random.choice([lsp, lsp, lsp, "router", _phone(random)])
    return NodeCrash(node, random.choice(DOWN_SECONDS), random.random() < 0.3)


def _crash(random: Random) -> Crash:
    lsp = _lsp(random)
    return Crash(random.choice([lsp, lsp, "A's wallet", "B's wallet"]), random.choice(DOWN_SECONDS))


def _clock_jump(random: Random) -> ClockJumps:
    """Draw a clock jump."""
    process = random.choice(["LSP_a", "LSP_a", "LSP_b", "A's wallet", "B's wallet"])
    return ClockJumps(process, random.choice(JUMPS_SECONDS), random.choice(LASTING_SECONDS))


_ANYTHING: tuple[tuple[int, Callable[[Random], Disturbance]], ...] = (
    (4, _crash),
    (5, _node_crash),
    (7, lambda random: Cut(_link(random), random.choice(APART_SECONDS), random.choice([0, 0, 1, 2]))),
    (6, lambda random: Sleep(_phone(random), random.random() < 0.4)),
    (4, lambda random: Wake(_phone(random), random.choice([5.0, 60.0, 300.0]))),
    (4, lambda random: Mine(random.choice(BLOCKS))),
    (7, lambda random: Attack(random.choice(list(ATTACKS)))),
    (2, lambda _: HandOverEarly()),
    (1, lambda random: PluginDies(_lsp(random), random.choice([0.01, 0.05, 1.0]))),
    (1, lambda _: Cancel()),
    (2, lambda random: CloseChannel(_channel(random))),
    (1, lambda random: MutualClose(_channel(random))),
    (3, lambda random: Rename(_channel(random))),
)
"""The relative frequency of each kind among the disturbances of any failpoint."""
