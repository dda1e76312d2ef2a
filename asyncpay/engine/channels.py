"""The node's channels, by id, by name and by peer."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from asyncpay.lightning import ChannelId, Link, NodeId, ShortChannelId


@dataclass
class Channels:
    """Channels as the node last reported them. A peer has several; a channel has several names, which may change."""

    _by_id: dict[ChannelId, Link] = field(default_factory=dict)
    _by_name: dict[ShortChannelId, ChannelId] = field(default_factory=dict)
    _by_peer: dict[NodeId, set[ChannelId]] = field(default_factory=dict)

    def replace(self, links: Iterable[Link]) -> None:
        """These and no others are there."""
        self._by_id.clear()
        self._by_name.clear()
        self._by_peer.clear()
        for link in links:
            self.set(link)

    def set(self, link: Link) -> None:
        """Take note of a channel, new or changed; names that it had before are not its names any more."""
        self.remove(link.channel_id)
        self._by_id[link.channel_id] = link
        self._by_peer.setdefault(link.peer, set()).add(link.channel_id)
        for name in link.names:
            self._by_name[name] = link.channel_id

    def remove(self, channel_id: ChannelId) -> None:
        """Forget a channel."""
        link = self._by_id.pop(channel_id, None)
        if link is None:
            return
        for name in link.names:
            if self._by_name.get(name) == channel_id:
                del self._by_name[name]
        self._by_peer[link.peer].discard(channel_id)
        if not self._by_peer[link.peer]:
            del self._by_peer[link.peer]

    def get(self, channel_id: ChannelId) -> Link | None:
        """The channel, if it is there."""
        return self._by_id.get(channel_id)

    def named(self, name: ShortChannelId) -> Link | None:
        """The channel that has this name now."""
        channel_id = self._by_name.get(name)
        return None if channel_id is None else self._by_id[channel_id]

    def has(self, peer: NodeId) -> bool:
        """Whether there is a channel with this peer, usable or not."""
        return peer in self._by_peer

    def stays(self, peer: NodeId) -> bool:
        """Whether there is a channel with this peer that is not about to be closed."""
        return any(not self._by_id[each].closing for each in self._by_peer.get(peer, ()))

    def usable(self, channel_id: ChannelId) -> bool:
        """Whether this very channel is usable."""
        link = self._by_id.get(channel_id)
        return link is not None and link.usable

    def reaches(self, peer: NodeId) -> bool:
        """Whether any channel of this peer is usable: nodes forward over whichever has the balance."""
        return any(self._by_id[each].usable for each in self._by_peer.get(peer, ()))

    @property
    def any_usable(self) -> bool:
        """Whether an HTLC could go over any channel at all."""
        return any(link.usable for link in self._by_id.values())
