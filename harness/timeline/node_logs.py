"""Messages between nodes, from the logs of both ends: a message that one sent and the other received is one event."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.nodes.base import Node
from harness.nodes.wire_log import PeerGone, WireMessage
from harness.timeline.lines import Clock, Line, Lines
from harness.timeline.model import Event, Kind, shortened

EARLY_SECONDS = 0.5
"""A message's arrival may be logged this much before its sending: programs log at different moments."""
UNDERWAY_SECONDS = 300.0
"""A message that has not arrived after this time is lost: a later equal one is another message."""


@dataclass
class Passed:
    """A message from one node to another. sent, arrived: Unix seconds; None if that end's log does not have it."""

    sender: str
    receiver: str
    message: WireMessage
    sent: float | None
    arrived: float | None
    offset_seconds: float | None = None

    @property
    def time(self) -> float:
        """The time of its sending, or else of its arrival."""
        return self.sent if self.sent is not None else self.arrived or 0.0


@dataclass(frozen=True)
class Seen:
    """One node's log entry about a message."""

    time: float
    node: str
    message: WireMessage
    offset_seconds: float | None


def read(
    logs: Mapping[str, bytes], nodes: Mapping[str, type[Node]], names: Mapping[str, str]
) -> tuple[list[Passed], list[Event]]:
    """Return all messages, each once, and the ended connections. logs, nodes: by name; names: by node id."""
    seen: list[Seen] = []
    gone: list[Event] = []
    for name, node in nodes.items():
        clock = Clock()
        for line in Lines(logs.get(name, b"")):
            found = of_line(name, node, line, names, clock)
            if isinstance(found, Event):
                gone.append(found)
            elif found is not None:
                seen.append(found)
    pairing = Pairing(names)
    passed = [pairing.take(each) for each in sorted(seen, key=lambda each: each.time)]
    return [each for each in passed if each is not None], gone


def of_line(name: str, node: type[Node], line: Line, names: Mapping[str, str], clock: Clock) -> Seen | Event | None:
    """Parse a line of a node's log: one end of a message, or the end of a connection. clock: the log's."""
    entry = None if line.text.startswith("{") else node.read_log_line(line.text)
    if entry is None:
        return None
    when = clock.moment(entry.own_time, line.stamp)
    if isinstance(entry, PeerGone):
        return _gone(entry, name, names, when.time, when.offset_seconds)
    return Seen(when.time, name, entry, when.offset_seconds)


def _gone(entry: PeerGone, node: str, names: Mapping[str, str], time: float, offset: float | None) -> Event:
    return Event(
        time=time,
        lane=node,
        kind=Kind.PEER,
        what="peer gone",
        text=f"no connection with {_name(entry.peer_id, names)} any more",
        because=shortened(entry.because),
        source=node,
        clock_offset_seconds=offset,
    )


def _name(node_id: str, names: Mapping[str, str]) -> str:
    return names.get(node_id, node_id[:12] + "…")


class Pairing:
    """Joins both ends' lines about one message. Messages of one kind between two nodes arrive in order."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._open_ends: dict[tuple[object, ...], deque[Passed]] = defaultdict(deque)

    def take(self, seen: Seen) -> Passed | None:
        """Return the message of this log entry; None if it completes a message that the other end has logged before."""
        peer = _name(seen.message.peer_id, self._names)
        sender, receiver = (seen.node, peer) if seen.message.sent else (peer, seen.node)
        ends = self._open_ends[sender, receiver, seen.message.name, seen.message.htlc_id]
        while ends and seen.time - ends[0].time > UNDERWAY_SECONDS:
            ends.popleft()
        partner = next((end for end in ends if _fits(end, seen)), None)
        passed = partner or Passed(sender, receiver, seen.message, None, None, seen.offset_seconds)
        if partner:
            ends.remove(partner)
        else:
            ends.append(passed)
        if seen.message.sent:
            passed.sent = seen.time
        else:
            passed.arrived = seen.time
        passed.message = _joined(passed.message, seen.message)
        return None if partner else passed


def _fits(end: Passed, other: Seen) -> bool:
    one, two = end.message, other.message
    if one.sent == two.sent or (one.key and two.key and one.key != two.key):
        return False
    if one.channel and two.channel and one.channel != two.channel:
        return False
    return one.sent or other.time - end.time <= EARLY_SECONDS


def _joined(one: WireMessage, other: WireMessage) -> WireMessage:
    """Return the union of both ends' log entries."""
    return replace(
        one,
        channel=one.channel or other.channel,
        amount_msat=other.amount_msat if one.amount_msat is None else one.amount_msat,
        expiry_blocks=other.expiry_blocks if one.expiry_blocks is None else one.expiry_blocks,
        payment_hash=one.payment_hash or other.payment_hash,
        key=one.key or other.key,
    )
