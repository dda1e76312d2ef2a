"""Messages between nodes, from the logs of both ends: what one sent and the other received is one event."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from harness.nodes.base import Node
from harness.nodes.wire_log import PeerGone, WireMessage
from harness.timeline.lines import Lines, moment
from harness.timeline.model import Event, Kind, shortened

EARLY_SECONDS = 0.5
"""A message may seem to arrive this much before it was sent: programs write the line at different moments."""
UNDERWAY_SECONDS = 300.0
"""A message that has not arrived after so long is lost: a later one that looks the same is another."""


@dataclass
class Passed:
    """A message from one node to another. sent, arrived: Unix seconds; None if that end's log does not say it."""

    sender: str
    receiver: str
    message: WireMessage
    sent: float | None
    arrived: float | None
    offset_seconds: float | None = None

    @property
    def time(self) -> float:
        """When it was sent, or else when it arrived."""
        return self.sent if self.sent is not None else self.arrived or 0.0


@dataclass(frozen=True)
class _Seen:
    time: float
    node: str
    message: WireMessage
    offset_seconds: float | None


def read(
    logs: Mapping[str, bytes], nodes: Mapping[str, type[Node]], names: Mapping[str, str]
) -> tuple[list[Passed], list[Event]]:
    """All messages, each once, and the connections that ended. logs, nodes: by name; names: by node id."""
    seen: list[_Seen] = []
    gone: list[Event] = []
    for name, node in nodes.items():
        for line in Lines(logs.get(name, b"")):
            entry = None if line.text.startswith("{") else node.read_log_line(line.text)
            if entry is None:
                continue
            when = moment(entry.own_time, line.stamp)
            if isinstance(entry, PeerGone):
                gone.append(_gone(entry, name, names, when.time, when.offset_seconds))
            else:
                seen.append(_Seen(when.time, name, entry, when.offset_seconds))
    seen.sort(key=lambda each: each.time)
    return list(_paired(seen, names)), gone


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


def _paired(seen: list[_Seen], names: Mapping[str, str]) -> Iterator[Passed]:
    """Both ends' lines about one message joined. Messages of one kind between two nodes arrive in their order."""
    open_ends: dict[tuple[object, ...], deque[Passed]] = defaultdict(deque)
    for each in seen:
        peer = _name(each.message.peer_id, names)
        sender, receiver = (each.node, peer) if each.message.sent else (peer, each.node)
        ends = open_ends[sender, receiver, each.message.name, each.message.htlc_id]
        while ends and each.time - ends[0].time > UNDERWAY_SECONDS:
            ends.popleft()
        partner = next((end for end in ends if _fits(end, each)), None)
        if partner is None:
            passed = Passed(sender, receiver, each.message, None, None, each.offset_seconds)
            ends.append(passed)
            yield passed
        else:
            ends.remove(partner)
            passed = partner
        if each.message.sent:
            passed.sent = each.time
        else:
            passed.arrived = each.time
        passed.message = _joined(passed.message, each.message)


def _fits(end: Passed, other: _Seen) -> bool:
    one, two = end.message, other.message
    if one.sent == two.sent or (one.key and two.key and one.key != two.key):
        return False
    if one.channel and two.channel and one.channel != two.channel:
        return False
    return one.sent or other.time - end.time <= EARLY_SECONDS


def _joined(one: WireMessage, other: WireMessage) -> WireMessage:
    """All that either end's log says."""
    return replace(
        one,
        channel=one.channel or other.channel,
        amount_msat=other.amount_msat if one.amount_msat is None else one.amount_msat,
        expiry_blocks=other.expiry_blocks if one.expiry_blocks is None else one.expiry_blocks,
        payment_hash=one.payment_hash or other.payment_hash,
        key=one.key or other.key,
    )
