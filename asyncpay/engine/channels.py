"""The node's channels, by name and by peer."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from asyncpay.lightning import HtlcKey, Link, NodeId, ShortChannelId


@dataclass
class Channels:
    """Open channels as the node last reported them. A channel has aliases, a peer has several channels."""

    _by_name: dict[ShortChannelId, Link] = field(default_factory=dict)
    _by_peer: dict[NodeId, dict[ShortChannelId, Link]] = field(default_factory=dict)

    def replace(self, links: Iterable[Link]) -> None:
        """These and no others are there."""
        self._by_name.clear()
        self._by_peer.clear()
        for link in links:
            self.set(link)

    def set(self, link: Link) -> None:
        """Take note of a channel, new or changed."""
        for name in (link.short_channel_id, *link.aliases):
            self._by_name[name] = link
        self._by_peer.setdefault(link.peer, {})[link.short_channel_id] = link

    def remove(self, short_channel_id: ShortChannelId) -> None:
        """Forget a channel, whichever of its names this is."""
        link = self._by_name.get(short_channel_id)
        if link is None:
            return
        for name in (link.short_channel_id, *link.aliases):
            self._by_name.pop(name, None)
        self._by_peer[link.peer].pop(link.short_channel_id, None)
        if not self._by_peer[link.peer]:
            del self._by_peer[link.peer]

    def peer(self, short_channel_id: ShortChannelId) -> NodeId | None:
        """Whose channel this is."""
        link = self._by_name.get(short_channel_id)
        return None if link is None else link.peer

    def has(self, peer: NodeId) -> bool:
        """Whether there is a channel with this peer, usable or not."""
        return peer in self._by_peer

    def usable(self, short_channel_id: ShortChannelId) -> bool:
        """Whether this very channel is usable."""
        link = self._by_name.get(short_channel_id)
        return link is not None and link.usable

    def reaches(self, peer: NodeId) -> bool:
        """Whether any channel of this peer is usable: nodes forward over whichever has the balance."""
        return any(link.usable for link in self._by_peer.get(peer, {}).values())

    @property
    def any_usable(self) -> bool:
        """Whether an HTLC could go over any channel at all."""
        return any(link.usable for link in self._by_name.values())

    def main_key(self, key: HtlcKey) -> HtlcKey:
        """The HTLC's key by its channel's main name: nodes use one name here and another there."""
        link = self._by_name.get(key.short_channel_id)
        return key if link is None else HtlcKey(link.short_channel_id, key.htlc_id)
