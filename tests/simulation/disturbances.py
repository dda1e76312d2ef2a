"""The disturbances of a simulation: each one is data, with a description.

A schedule is a list of these, each with its failpoint. Durations and amounts come from short lists, the mildest
first: shrinking tries those.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .attacker import ATTACKS
from .network import Delayed, Duplicated, Lost, Rejected

if TYPE_CHECKING:
    from .simulation import Simulation

DOWN_SECONDS = (1.0, 8.0, 60.0, 400.0)
APART_SECONDS = (1.0, 10.0, 60.0, 400.0)
LATE_SECONDS = (0.5, 3.0, 20.0, 200.0)
ORPHANED_SECONDS = ((1.0, 0.5), (8.0, 20.0), (60.0, 500.0), (400.0, 500.0), (400.0, 500.0), (400.0, 500.0))
"""How long a process is down, and how late its order arrives: mostly after the node was queried without result. Linux
keeps sending a dead process's socket data for minutes (tcp_orphan_retries), but not for ten."""
BLOCKS = (1, 2, 5, 20, 60)


@dataclass(frozen=True, slots=True)
class Crash:
    """A process is killed, and started again by its supervisor."""

    process: str
    down_seconds: float

    def apply(self, sim: "Simulation") -> None:
        sim.processes[self.process].crash(self.down_seconds)

    def __str__(self) -> str:
        who = self.process if "wallet" in self.process else f"{self.process}'s component"
        return f"{who} is killed, and runs again {self.down_seconds:g} s later"


@dataclass(frozen=True, slots=True)
class NodeCrash:
    """A node is killed, with its connections; `silently`: its peers do not notice immediately."""

    node: str
    down_seconds: float
    silently: bool = False

    def apply(self, sim: "Simulation") -> None:
        node, phone = sim.nodes.get(self.node), sim.phone(self.node)
        if phone is not None:
            phone.crash_node(self.down_seconds, silently=self.silently)
        elif node is not None and node.running:
            node.kill(silently=self.silently)
            sim.kernel.call_later(self.down_seconds, node.start)

    def __str__(self) -> str:
        how = " without a word" if self.silently else ""
        return f"the node of {self.node} is killed{how}, and runs again {self.down_seconds:g} s later"


@dataclass(frozen=True, slots=True)
class PluginDies:
    """CLN's plugin dies with HTLCs held, and then lightningd: some, all or none of them are forwarded by then."""

    node: str
    node_survives_seconds: float

    def apply(self, sim: "Simulation") -> None:
        node = sim.nodes[self.node]
        if node.running and node.implementation.plugin_death_resumes:
            sim.plugin_died.update(node.held)
            node.plugin_dies()
            sim.kernel.call_later(self.node_survives_seconds, lambda: NodeCrash(self.node, DOWN_SECONDS[1]).apply(sim))

    def __str__(self) -> str:
        return f"the plugin in {self.node} dies: what was held goes on, until the node stops as well"


@dataclass(frozen=True, slots=True)
class Cut:
    """A connection breaks for some time. `unnoticed`: by none, one (the LSP's end) or both of its ends."""

    connection: str
    apart_seconds: float
    unnoticed: int = 0

    def apply(self, sim: "Simulation") -> None:
        connection = sim.connection(self.connection)
        if connection is None:
            return
        phone, lsp = connection.ends
        ends = ((), (lsp,), (phone, lsp))[self.unnoticed]
        connection.drop(unnoticed_by=ends, blocked_seconds=self.apart_seconds)

    def __str__(self) -> str:
        how = ("", ", and the far end does not notice", ", and neither end notices")[self.unnoticed]
        return f"{self.connection} breaks for {self.apart_seconds:g} s{how}"


@dataclass(frozen=True, slots=True)
class Sleep:
    """A phone is switched off, or loses its power."""

    phone: str
    silently: bool = False

    def apply(self, sim: "Simulation") -> None:
        if (phone := sim.phone(self.phone)) is not None:
            phone.sleep(silently=self.silently)

    def __str__(self) -> str:
        return f"{self.phone}'s phone is switched off" + (" without a word" if self.silently else "")


@dataclass(frozen=True, slots=True)
class Wake:
    """A user wakes a phone."""

    phone: str
    seconds: float

    def apply(self, sim: "Simulation") -> None:
        if (phone := sim.phone(self.phone)) is not None:
            phone.wake(self.seconds)

    def __str__(self) -> str:
        return f"{self.phone} looks at the phone for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Mine:
    """Blocks are found in a row."""

    blocks: int

    def apply(self, sim: "Simulation") -> None:
        sim.chain.mine_in_a_row(self.blocks)

    def __str__(self) -> str:
        return f"{self.blocks} blocks are found" if self.blocks > 1 else "a block is found"


@dataclass(frozen=True, slots=True)
class Cancel:
    """The payer's user cancels the payment."""

    def apply(self, sim: "Simulation") -> None:
        sim.cancels()

    def __str__(self) -> str:
        return "A's user cancels"


@dataclass(frozen=True, slots=True)
class HandOverEarly:
    """A payer of another implementation hands over before its parts are held (the sketch does not forbid it)."""

    def apply(self, sim: "Simulation") -> None:
        sim.hands_over_early()

    def __str__(self) -> str:
        return "A's wallet hands over already now"


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """A channel is force-closed."""

    number: int

    def apply(self, sim: "Simulation") -> None:
        sim.closed_channel = True
        sim.chain.channels[self.number % len(sim.chain.channels)].close()

    def __str__(self) -> str:
        return f"channel {self.number} is closed"


@dataclass(frozen=True, slots=True)
class MutualClose:
    """A mutual close of a channel is requested, which waits until its HTLCs are removed."""

    number: int

    def apply(self, sim: "Simulation") -> None:
        sim.closed_channel = True
        sim.chain.channels[self.number % len(sim.chain.channels)].close_by_agreement()

    def __str__(self) -> str:
        return f"channel {self.number} is to be closed by agreement"


@dataclass(frozen=True, slots=True)
class Rename:
    """A zero-conf channel is confirmed, or a splice is locked in: the channel has another short channel id."""

    number: int

    def apply(self, sim: "Simulation") -> None:
        sim.chain.channels[self.number % len(sim.chain.channels)].rename()

    def __str__(self) -> str:
        return f"channel {self.number} gets another name"


@dataclass(frozen=True, slots=True)
class Attack:
    """C makes one of its attacks."""

    attack: str

    def apply(self, sim: "Simulation") -> None:
        ATTACKS[self.attack](sim)

    def __str__(self) -> str:
        return f"C {self.attack}"


@dataclass(frozen=True, slots=True)
class Orphaned:
    """A process is killed while its order to pay is in transit, and the order arrives late: the node was suspended, and
    reads its socket's buffer when it resumes.
    """

    process: str
    down_seconds: float
    seconds: float

    def apply(self, sim: "Simulation") -> None:
        Crash(self.process, self.down_seconds).apply(sim)

    def __str__(self) -> str:
        return f"{Crash(self.process, self.down_seconds)}; its order to pay arrives {self.seconds:g} s late"


DAY = 86_400.0
JUMPS_SECONDS = (3_600.0, -3_600.0, DAY, -DAY, 15 * DAY, -400 * DAY, 400 * DAY)
LASTING_SECONDS = (1.0, 30.0, 200.0, 280.0)


@dataclass(frozen=True, slots=True)
class ClockJumps:
    """The system clock of a process shows another time for some time."""

    process: str
    by_seconds: float
    lasting_seconds: float

    def apply(self, sim: "Simulation") -> None:
        process = sim.processes[self.process]
        if process.clock_error:
            return
        process.set_clock(self.by_seconds)
        sim.kernel.call_later(self.lasting_seconds, lambda: process.set_clock(0.0))

    def __str__(self) -> str:
        way = "ahead" if self.by_seconds > 0 else "back"
        return f"the clock under {self.process} is {abs(self.by_seconds):g} s {way} for {self.lasting_seconds:g} s"


Disturbance: TypeAlias = (
    Crash
    | Orphaned
    | NodeCrash
    | PluginDies
    | Cut
    | Sleep
    | Wake
    | Mine
    | Cancel
    | HandOverEarly
    | CloseChannel
    | MutualClose
    | Rename
    | Attack
    | ClockJumps
    | Lost
    | Duplicated
    | Delayed
    | Rejected
)
MESSAGE_FAULTS = (Lost, Duplicated, Delayed, Rejected)
