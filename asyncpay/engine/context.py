"""The state that every engine keeps about its node and the time, and the handling of one event.

`NodeView` is folded from the node's events in one place, and nothing of it is stored. After an interruption the node
reports everything again: `Attached` replaces the whole view.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from asyncpay.engine.core import Change, Detached, Transition, UnixTime
from asyncpay.lightning import ChannelId, Link, NodeId, ShortChannelId
from asyncpay.node_events import Attached, BlockConnected, LinkChanged, LinkClosed, PeerConnected, PeerDisconnected


@dataclass
class Channels:
    """Channels as the node last reported them. A peer has several; a channel has several names, which may change."""

    _by_id: dict[ChannelId, Link] = field(default_factory=dict)
    _by_name: dict[ShortChannelId, ChannelId] = field(default_factory=dict)
    _by_peer: dict[NodeId, set[ChannelId]] = field(default_factory=dict)
    _usable: set[ChannelId] = field(default_factory=set)

    def __iter__(self) -> Iterator[Link]:
        """Iterate over all channels."""
        return iter(self._by_id.values())

    def replace(self, links: Iterable[Link]) -> None:
        """Replace all channels by these."""
        self._by_id.clear()
        self._by_name.clear()
        self._by_peer.clear()
        self._usable.clear()
        for link in links:
            self.set(link)

    def set(self, link: Link) -> None:
        """Record a new or changed channel; it loses its earlier names."""
        self.remove(link.channel_id)
        self._by_id[link.channel_id] = link
        self._by_peer.setdefault(link.peer, set()).add(link.channel_id)
        if link.usable:
            self._usable.add(link.channel_id)
        for name in link.names:
            self._by_name[name] = link.channel_id

    def remove(self, channel_id: ChannelId) -> None:
        """Delete a channel, if it is known."""
        link = self._by_id.pop(channel_id, None)
        if link is None:
            return
        for name in link.names:
            if self._by_name.get(name) == channel_id:
                del self._by_name[name]
        self._usable.discard(channel_id)
        self._by_peer[link.peer].discard(channel_id)
        if not self._by_peer[link.peer]:
            del self._by_peer[link.peer]

    def get(self, channel_id: ChannelId) -> Link | None:
        """Return the channel, or None if it is unknown."""
        return self._by_id.get(channel_id)

    def named(self, name: ShortChannelId) -> Link | None:
        """Return the channel that has this name now."""
        channel_id = self._by_name.get(name)
        return None if channel_id is None else self._by_id[channel_id]

    def names_of(self, peer: NodeId) -> list[ShortChannelId]:
        """Return all names of the channels with this peer."""
        return [name for each in self._by_peer.get(peer, ()) for name in self._by_id[each].names]

    def has(self, peer: NodeId) -> bool:
        """Return whether there is a channel with this peer, usable or not."""
        return peer in self._by_peer

    def stays(self, peer: NodeId) -> bool:
        """Return whether there is a channel with this peer that is not about to be closed."""
        return any(not self._by_id[each].closing for each in self._by_peer.get(peer, ()))

    def usable(self, channel_id: ChannelId) -> bool:
        """Return whether this channel is usable."""
        return channel_id in self._usable

    def reaches(self, peer: NodeId) -> bool:
        """Return whether any channel of this peer is usable: a node forwards over any channel with enough balance."""
        return any(each in self._usable for each in self._by_peer.get(peer, ()))

    @property
    def any_usable(self) -> bool:
        """Whether any channel is usable."""
        return bool(self._usable)


@dataclass
class NodeView:
    """The last reports of the node; empty until it was attached for the first time.

    attached: whether it is attached now. node_id: 33 bytes. network: as in Invoice.
    height: of the last block; None until the node was attached for the first time.
    online: the connected peers; empty while the node is not attached.
    channels: their last known state, also while the node is not attached.
    """

    attached: bool = False
    node_id: NodeId = b""
    network: str = ""
    height: int | None = None
    online: set[NodeId] = field(default_factory=set)
    channels: Channels = field(default_factory=Channels)

    def fold(self, event: object) -> bool:
        """Update the view by an event. Return False if it reports a peer as connected that was already connected."""
        match event:
            case Attached():
                self.attached = True
                self.node_id, self.network, self.height = event.node_id, event.network, event.height
                self.online = set(event.online)
                self.channels.replace(event.links)
            case Detached():
                self.attached = False
                self.online.clear()
            case BlockConnected(height):
                self.height = height
            case PeerConnected(peer):
                if peer in self.online:
                    return False
                self.online.add(peer)
            case PeerDisconnected(peer):
                self.online.discard(peer)
            case LinkChanged(link):
                self.channels.set(link)
            case LinkClosed(channel_id):
                self.channels.remove(channel_id)
        return True

    def is_above(self, height: int) -> bool:
        """Return whether the known chain is higher than this height."""
        return self.height is not None and self.height > height


@dataclass(kw_only=True)
class EngineState:
    """The state of every engine in addition to its records; lost with the process.

    unix: the time of the event, and the interval in which Unix time lies. node: the last reports of the node.
    """

    unix: UnixTime = field(default_factory=UnixTime)
    node: NodeView = field(default_factory=NodeView)


S = TypeVar("S", bound=EngineState)
P = TypeVar("P")
R = TypeVar("R")
F = TypeVar("F")


@dataclass
class EventContext(Generic[S, P, R, F]):
    """The handling of one event. Changes apply to `state` immediately; effects wait until the changes are stored.

    policy: the limits that a user may set.
    """

    state: S
    policy: P
    changes: list[Change[R]] = field(default_factory=list, kw_only=True)
    effects: list[F] = field(default_factory=list, kw_only=True)

    @property
    def node(self) -> NodeView:
        """The last reports of the node."""
        return self.state.node

    @property
    def now(self) -> float:
        """The time of this event."""
        return self.state.unix.now

    def emit(self, effect: F) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def transition(self) -> Transition[R, F]:
        """Return the collected changes and effects."""
        return Transition(tuple(self.changes), tuple(self.effects))
