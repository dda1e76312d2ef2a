"""What can happen to a world, beside what it does by itself: each disturbance is data, and a sentence.

A schedule is a list of these, each with its moment. Durations and amounts come from short lists, the calmest
first: that is where shrinking looks for simpler ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from asyncpay.wire.blinding import HopData
from asyncpay.wire.messages import unblock_hash
from asyncpay.wire.onion import Payload

from . import clocks, greedy
from .clocks import ClockJumps
from .network import Late, Lose, Refused, Twice
from .onions import through

if TYPE_CHECKING:
    from .world import World

DOWN_SECONDS = (1.0, 8.0, 60.0, 400.0)
APART_SECONDS = (1.0, 10.0, 60.0, 400.0)
LATE_SECONDS = (0.5, 3.0, 20.0, 200.0)
ORPHANED_SECONDS = ((1.0, 0.5), (8.0, 20.0), (60.0, 500.0), (400.0, 500.0), (400.0, 500.0), (400.0, 500.0))
"""How long a process is down, and how late the order that it gave arrives: mostly when it was asked for in vain. Linux
sends what a dead process left in a socket for minutes (tcp_orphan_retries), but not for ten."""
BLOCKS = (1, 2, 5, 20, 60)
FLOOD = 12
CLOCK_CHANCE = 0.03
SMALL_HTLCS = "sends B many small HTLCs"


@dataclass(frozen=True, slots=True)
class Crash:
    """A process is killed, and started again by its supervisor."""

    process: str
    down_seconds: float

    def apply(self, world: "World") -> None:
        world.processes[self.process].crash(self.down_seconds)

    def __str__(self) -> str:
        who = self.process if "wallet" in self.process else f"{self.process}'s component"
        return f"{who} is killed, and runs again {self.down_seconds:g} s later"


@dataclass(frozen=True, slots=True)
class NodeCrash:
    """A node is killed, with its connections; `silently`: its peers do not notice at once."""

    node: str
    down_seconds: float
    silently: bool = False

    def apply(self, world: "World") -> None:
        node = world.nodes.get(self.node)
        if self.node in ("A", "B"):
            world.phone(self.node).crash_node(self.down_seconds, silently=self.silently)
        elif node is not None and node.running:
            node.kill(silently=self.silently)
            world.kernel.later(self.down_seconds, node.start)

    def __str__(self) -> str:
        how = " without a word" if self.silently else ""
        return f"the node of {self.node} is killed{how}, and runs again {self.down_seconds:g} s later"


@dataclass(frozen=True, slots=True)
class PluginDies:
    """CLN's plugin dies with HTLCs held, and lightningd after it: some of them have left by then, or all, or none."""

    node: str
    node_survives_seconds: float

    def apply(self, world: "World") -> None:
        node = world.nodes[self.node]
        if node.running and node.implementation.name == "CLN":
            world.plugin_died.update(node.held)
            node.plugin_dies()
            world.kernel.later(self.node_survives_seconds, lambda: NodeCrash(self.node, DOWN_SECONDS[1]).apply(world))

    def __str__(self) -> str:
        return f"the plugin in {self.node} dies: what was held goes on, until the node stops as well"


@dataclass(frozen=True, slots=True)
class Cut:
    """A connection breaks for a while. `unnoticed`: by none, one (the LSP's end) or both of its ends."""

    connection: str
    apart_seconds: float
    unnoticed: int = 0

    def apply(self, world: "World") -> None:
        connection = world.connection(self.connection)
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

    def apply(self, world: "World") -> None:
        world.phone(self.phone).sleep(silently=self.silently)

    def __str__(self) -> str:
        return f"{self.phone}'s phone is switched off" + (" without a word" if self.silently else "")


@dataclass(frozen=True, slots=True)
class Wake:
    """Somebody looks at a phone."""

    phone: str
    seconds: float

    def apply(self, world: "World") -> None:
        world.phone(self.phone).wake(self.seconds)

    def __str__(self) -> str:
        return f"{self.phone} looks at the phone for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Mine:
    """Blocks are found in a row."""

    blocks: int

    def apply(self, world: "World") -> None:
        world.chain.mine_in_a_row(self.blocks)

    def __str__(self) -> str:
        return f"{self.blocks} blocks are found" if self.blocks > 1 else "a block is found"


@dataclass(frozen=True, slots=True)
class Cancel:
    """The payer's user wants the payment back."""

    def apply(self, world: "World") -> None:
        world.cancels()

    def __str__(self) -> str:
        return "A's user cancels"


@dataclass(frozen=True, slots=True)
class HandOverEarly:
    """A payer of another make hands over before its parts are held (the sketch forbids it to nobody)."""

    def apply(self, world: "World") -> None:
        world.hands_over_early()

    def __str__(self) -> str:
        return "A's wallet hands over already now"


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """Somebody closes a channel."""

    number: int

    def apply(self, world: "World") -> None:
        world.closed_channel = True
        world.chain.channels[self.number % len(world.chain.channels)].close()

    def __str__(self) -> str:
        return f"channel {self.number} is closed"


@dataclass(frozen=True, slots=True)
class MutualClose:
    """Somebody wants to close a channel, and waits for its HTLCs to leave it."""

    number: int

    def apply(self, world: "World") -> None:
        world.closed_channel = True
        world.chain.channels[self.number % len(world.chain.channels)].close_by_agreement()

    def __str__(self) -> str:
        return f"channel {self.number} is to be closed by agreement"


@dataclass(frozen=True, slots=True)
class Rename:
    """A zero-conf channel is confirmed, or a splice is locked in: the channel has another short channel id."""

    number: int

    def apply(self, world: "World") -> None:
        world.chain.channels[self.number % len(world.chain.channels)].rename()

    def __str__(self) -> str:
        return f"channel {self.number} gets another name"


@dataclass(frozen=True, slots=True)
class Stranger:
    """C tries one of its tricks."""

    deed: str

    def apply(self, world: "World") -> None:
        DEEDS[self.deed](world)

    def __str__(self) -> str:
        return f"C {self.deed}"


@dataclass(frozen=True, slots=True)
class Orphaned:
    """A process is killed while its order to pay is on its way, and the order comes late: the node was stopped, and
    hears what lies in its socket's buffer when it goes on.
    """

    process: str
    down_seconds: float
    seconds: float

    def apply(self, world: "World") -> None:
        Crash(self.process, self.down_seconds).apply(world)

    def __str__(self) -> str:
        return f"{Crash(self.process, self.down_seconds)}; its order to pay arrives {self.seconds:g} s late"


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
    | Stranger
    | ClockJumps
    | Lose
    | Twice
    | Late
    | Refused
)
FATES = (Lose, Twice, Late, Refused)


def _flood(world: "World") -> None:
    way = through([node.id for node in world.line[1:]], HopData())
    world.stranger.flood(lambda number: world.onions.seal(way, Payload(async_payment=b"\xff%d" % number)), FLOOD)


def _announce(world: "World", proof: bytes | None) -> None:
    way = through([node.id for node in world.line[1:]], HopData())
    back = world.onions.path(through([world.lsp_a_node.id, world.c.id], HopData()))
    world.stranger.announce(
        lambda pending: world.onions.seal(way, Payload(async_payment=pending.encode(), reply_path=back)), proof
    )


DEEDS: dict[str, Callable[["World"], None]] = {
    "asks LSP_a to hold A's payment": lambda world: world.stranger.request(),
    "shows LSP_a a guessed pid": lambda world: world.stranger.guess(),
    "refuses under a guessed pid": lambda world: world.stranger.refuse(),
    "cancels A's block": lambda world: world.stranger.cancel(unblock_hash(world.pid)),
    "asks for a block under the name of A's": lambda world: world.if_blocked(world.stranger.request_under),
    "tells A in LSP_a's name that all is held": lambda world: world.if_blocked(
        lambda name: world.stranger.claim_held(world.a.id, name)
    ),
    "sends an HTLC with A's payment hash": lambda world: world.stranger.pay(world.line[1:]),
    "floods B with messages": _flood,
    SMALL_HTLCS: greedy.fill_slots,
    "fills B's mailbox, from many nodes without a channel": greedy.fill_mailbox,
    "announces A's payment to B": lambda world: _announce(world, None),
    "announces A's payment to B with a made-up proof": lambda world: _announce(world, bytes(32)),
}


def is_message(moment: str) -> bool:
    """Whether an onion message arrives at this moment."""
    return "->" in moment and not moment.startswith("HTLC")


def is_release_of_payee(moment: str) -> bool:
    """Whether what B sends to release the payment arrives at its LSP at this moment."""
    return moment.startswith("payment_release B->")


def is_order(moment: str) -> bool:
    """Whether an order to pay arrives at a node at this moment."""
    return moment.endswith(" is told to pay")


def draw_orphaned(random: Random, moment: str) -> Orphaned:
    """Its order outlives a process."""
    node = moment.removesuffix(" is told to pay")
    process = f"{node}'s wallet" if node in ("A", "B") else node
    down_seconds, late_seconds = random.choice(ORPHANED_SECONDS)
    return Orphaned(process, down_seconds, late_seconds)


def draw(random: Random, moment: str) -> Disturbance:
    """Something that may disturb this moment: often what only this moment offers."""
    if random.random() < CLOCK_CHANCE:
        return clocks.draw(random)
    special = random.random()
    if is_message(moment) and special < 0.6:
        return random.choice([Lose(), Lose(), Twice(), Late(random.choice(LATE_SECONDS))])
    if moment.startswith("push to") and special < 0.6:
        return random.choice([Lose(), Refused(), Late(random.choice(LATE_SECONDS))])
    if is_order(moment) and special < 0.6:
        return draw_orphaned(random, moment)
    process, _, verb = moment.rpartition(" does ")
    if not process:
        process, _, verb = moment.partition(" has stored ")
    if not verb:
        process, _, verb = moment.partition(" decides on ")
    if verb and special < 0.5:
        return Crash(process, random.choice(DOWN_SECONDS))
    return _anything(random)


def _anything(random: Random) -> Disturbance:
    return random.choices(_MAKERS, _WEIGHTS)[0](random)


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


_WEIGHTS, _MAKERS = zip(
    (4, _crash),
    (5, _node_crash),
    (7, lambda random: Cut(_link(random), random.choice(APART_SECONDS), random.choice([0, 0, 1, 2]))),
    (6, lambda random: Sleep(_phone(random), random.random() < 0.4)),
    (4, lambda random: Wake(_phone(random), random.choice([5.0, 60.0, 300.0]))),
    (4, lambda random: Mine(random.choice(BLOCKS))),
    (7, lambda random: Stranger(random.choice(list(DEEDS)))),
    (2, lambda _: HandOverEarly()),
    (1, lambda random: PluginDies(_lsp(random), random.choice([0.01, 0.05, 1.0]))),
    (1, lambda _: Cancel()),
    (2, lambda random: CloseChannel(_channel(random))),
    (1, lambda random: MutualClose(_channel(random))),
    (3, lambda random: Rename(_channel(random))),
    strict=True,
)
"""How often each kind comes, among what may come at any moment."""
