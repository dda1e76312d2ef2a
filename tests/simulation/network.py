"""Connections: their state, each end's view of it, and losses in transit.

A connection is up or down; each end's view of it may be wrong for minutes: for instance after a phone has lost its
radio link, or after one end was killed silently. Messages sent into such a half-open connection
are lost without an error. Onion messages are datagrams: they may be lost, duplicated, delayed and reordered
at any time. Channel messages (channels.py) are retransmitted after a reconnection, as BOLT 2 requires.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncpay.wire import messages
from asyncpay.wire.onion import OnionMessage

from .kernel import Kernel, Lifetime

if TYPE_CHECKING:
    from .channels import Channel
    from .node import SimNode
    from .onions import Onions

LATENCY_SECONDS = 0.02
REESTABLISH_SECONDS = 0.05
REDIAL_SECONDS = 2.0
NOTICED_SECONDS = 100.0
"""The time until a silent connection is closed: 75 to 150 s on real nodes."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The message of this failpoint is lost."""


@dataclass(frozen=True, slots=True)
class Duplicated:
    """The message of this failpoint arrives twice."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """The message of this failpoint arrives this much later, after others that were sent later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """The push of this failpoint is refused by the push service."""


class Connection:
    """A connection between two nodes; one of them dials."""

    def __init__(self, network: "Network", dialler: "SimNode", other: "SimNode") -> None:
        self.ends = (dialler, other)
        self.name = f"{dialler.name}-{other.name}"
        self.up = False
        self.lifetime = Lifetime()
        self.channels: list[Channel] = []
        self.blocked_until = 0.0
        self.changed_at = 0.0
        self._network = network
        self._believed = {dialler.name: False, other.name: False}
        self._dialling = False

    def other(self, node: "SimNode") -> "SimNode":
        """Return the other end of `node`."""
        return self.ends[1] if node is self.ends[0] else self.ends[0]

    def seen_by(self, node: "SimNode") -> bool:
        """Whether `node` regards itself as connected."""
        return self._believed[node.name]

    def channel_for(self, node: "SimNode", amount_msat: int) -> "Channel | None":
        """A channel over which `node` can send this amount."""
        able = (each for each in self.channels if each.usable_by(node) and each.balance_msat[node.name] >= amount_msat)
        return next(able, None)

    def dial_soon(self, seconds: float = REDIAL_SECONDS) -> None:
        """Reconnect the ends automatically, as soon as that is possible."""
        if self._dialling or self.up:
            return
        self._dialling = True
        kernel = self._network.kernel
        kernel.call_later(
            max(seconds, self.blocked_until - kernel.now), self._dial, failpoint=f"{self.name} reconnects"
        )

    def _dial(self) -> None:
        self._dialling = False
        if self.up or not all(end.running for end in self.ends):
            return  # a node that starts dials again
        if self.blocked_until > self._network.kernel.now:
            self.dial_soon()
            return
        for end in self.ends:
            self._see(end, False)
        self.up = True
        self.lifetime = Lifetime()
        for end in self.ends:
            self._see(end, True)
        self._network.kernel.call_later(REESTABLISH_SECONDS, self._reestablish, self.lifetime)

    def _reestablish(self) -> None:
        self.changed_at = self._network.kernel.now
        for channel in self.channels:
            channel.reestablish()
        for end in self.ends:
            end.reestablished(self)

    def drop(self, *, unnoticed_by: tuple["SimNode", ...] = (), blocked_seconds: float = 0) -> None:
        """Break the connection. An end that does not notice regards it as up for some time."""
        kernel = self._network.kernel
        self.blocked_until = max(self.blocked_until, kernel.now + blocked_seconds)
        if self.up:
            self.up = False
            self.lifetime.over = True
            broken = self.lifetime
            for end in self.ends:
                if end not in unnoticed_by:
                    self._see(end, False)
                else:
                    kernel.call_later(NOTICED_SECONDS, lambda end=end: self._give_up(end, broken))  # type: ignore[misc]
        self.dial_soon()

    def _give_up(self, end: "SimNode", broken: Lifetime) -> None:
        if self.lifetime is broken:
            self._see(end, False)

    def forget(self, node: "SimNode") -> None:
        """`node` was stopped: it no longer regards the connection as up."""
        self._believed[node.name] = False
        for channel in self.channels:
            channel.established.discard(node.name)

    def _see(self, end: "SimNode", connected: bool) -> None:
        if self._believed[end.name] == connected:
            return
        self._believed[end.name] = connected
        self.changed_at = self._network.kernel.now
        if not connected:
            for channel in self.channels:
                channel.established.discard(end.name)
        if end.running:
            end.peer_seen(self.other(end), connected)


class Network:
    """All connections, and the onion messages sent over them."""

    def __init__(self, kernel: Kernel, onions: "Onions") -> None:
        self.kernel = kernel
        self.connections: list[Connection] = []
        self._onions = onions

    def connect(self, dialler: "SimNode", other: "SimNode") -> Connection:
        """Make two nodes peers; they are not connected yet."""
        connection = Connection(self, dialler, other)
        self.connections.append(connection)
        for end in connection.ends:
            end.connections[connection.other(end).id] = connection
        return connection

    def send_onion(self, source: "SimNode", target: bytes, message: OnionMessage) -> bool:
        """Send a message to a peer. Return False if the peer is not connected, as far as `source` knows."""
        connection = source.connections.get(target)
        if connection is None or not connection.seen_by(source):
            return False
        if connection.up:
            other = connection.other(source)
            name = f"{self.describe(message)} {source.name}->{other.name}"
            self.kernel.call_later(
                LATENCY_SECONDS,
                lambda: self._arrive(name, source, other, message, connection.lifetime),
                connection.lifetime,
            )
        return True

    def _arrive(
        self, name: str, source: "SimNode", target: "SimNode", message: OnionMessage, lifetime: Lifetime
    ) -> None:
        for fault in self.kernel.failpoint(name):
            match fault:
                case Lost():
                    return
                case Duplicated():
                    self.kernel.call_later(LATENCY_SECONDS, lambda: target.relay.take(source.id, message), lifetime)
                case Delayed(seconds):
                    self.kernel.call_later(seconds, lambda: target.relay.take(source.id, message), lifetime)
                    return
        if not lifetime.over:
            target.relay.take(source.id, message)

    def describe(self, message: OnionMessage) -> str:
        """Describe a message, for names of failpoints and for the trace."""
        payload = self._onions.content(message)
        content = None if payload is None else payload.async_payment
        try:
            return "message" if not content else messages.Kind(content[0]).name.lower()
        except ValueError:
            return "message"
