"""Who can be reached: connected peers and usable channels, and what changes about them.

A node tells in its events that a peer or a channel came or went, and answers at any time which of them are
there. The events say when to look, and the look says what is so: whatever was missed, or came late, is
put right by the next one, at the latest with the next block. Only a peer's going and coming again is
taken from the events themselves, for a look may fall behind both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from asyncpay.lightning import ChannelId, HtlcKey, Link, NodeId, ShortChannelId
from asyncpay.node_events import HtlcGone, LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected

Links = Mapping[ChannelId, Link]
"""Channels that carry HTLCs."""
Report = Callable[[NodeEvent], Awaitable[None]]

UNKNOWN_PEER: NodeId = bytes(33)
"""Whose channel it was that closed before anybody looked."""
LOOK_AGAIN_SECONDS, MOST_LOOK_AGAIN_SECONDS = 0.2, 1.0
"""While something moves: doubled from the one to the other, for a peer may leave its channel half re-established."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look at a node shows.

    relaying: those of the connected peers that relay onion messages.
    names: of all channels that the node still knows, also those that carry HTLCs no more.
    htlcs: those that came in and have not left, where the node reports no leaving by itself.
    moving: something is about to change of which the node will not tell.
    """

    links: Links
    online: frozenset[NodeId]
    relaying: frozenset[NodeId] = frozenset()
    names: Mapping[ShortChannelId, ChannelId] = field(default_factory=dict)
    htlcs: frozenset[HtlcKey] = frozenset()
    moving: bool = False

    @property
    def first_hops(self) -> frozenset[NodeId]:
        """The connected peers that take an onion message further."""
        return first_hops(self.links, self.online & self.relaying)


class Reach:
    """Peers and links as they were last reported; empty until `begin`."""

    def __init__(self, look: Callable[[], Awaitable[Sight]], report: Report) -> None:
        self.links: Links = {}
        self.online: frozenset[NodeId] = frozenset()
        self.with_channel: frozenset[NodeId] = frozenset()
        """Peers with a channel, usable or not."""
        self._relaying: frozenset[NodeId] = frozenset()
        self._peers: dict[ChannelId, NodeId] = {}  # the other end of every channel seen so far
        self._names: dict[ShortChannelId, ChannelId] = {}  # also those that the channel has no more
        self._look = look
        self._report = report
        self._stale = asyncio.Event()
        self._looking = asyncio.Lock()
        self._meanwhile: dict[NodeId, bool] = {}  # peers that the node spoke of during a look, online or not
        self._again: asyncio.TimerHandle | None = None
        self._again_seconds = LOOK_AGAIN_SECONDS
        # What is reported must agree with what is noted down, so both happen before anybody else may do either.
        # Never held while the node is asked: peers who come and go would make each other, and HTLCs, wait for that.
        self._reporting = asyncio.Lock()
        self._htlcs: set[HtlcKey] = set()

    async def begin(self) -> None:
        """Look for the first time; nothing is reported."""
        self._note(await self._look())

    async def look(self) -> None:
        """Look, and report whatever is not as it was. What the node says of a peer meanwhile is newer than the look."""
        async with self._looking:
            htlcs = frozenset(self._htlcs)
            self._meanwhile.clear()
            sight = await self._look()
            async with self._reporting:
                links, online = self.links, self.online
                left = {peer for peer, is_online in self._meanwhile.items() if not is_online}
                self._note(replace(sight, online=sight.online - left | (self._meanwhile.keys() - left)))
                self._htlcs -= htlcs - sight.htlcs
                for event in (
                    *peer_changes(online, self.online),
                    *link_changes(links, self.links),
                    *map(HtlcGone, htlcs - sight.htlcs),
                ):
                    await self._report(event)

    async def watch(self) -> None:
        """Look whenever something may have changed, half of the time at most. Ends with an error of `look` only."""
        loop = asyncio.get_running_loop()
        while True:
            await self._stale.wait()
            self._stale.clear()
            began = loop.time()
            await self.look()
            await asyncio.sleep(loop.time() - began)

    def suspect(self) -> None:
        """Something may have changed: `watch` will look."""
        self._stale.set()

    def expect_to_leave(self, key: HtlcKey) -> None:
        """An HTLC has come in, and its leaving is to be reported."""
        self._htlcs.add(key)

    async def peer_event(self, peer: NodeId, *, online: bool) -> None:
        """Take in what the node says of one peer."""
        async with self._reporting:
            before = self.online
            self.online = before - {peer} | ({peer} if online else set())
            self._meanwhile[peer] = online
            for change in peer_changes(before, self.online):
                await self._report(change)
        self.suspect()

    async def peer_of(self, channel_id: ChannelId) -> NodeId:
        """The other end of a channel; UNKNOWN_PEER if it closed before this was made."""
        if channel_id not in self._peers:
            await self.look()
        return self._peers.get(channel_id, UNKNOWN_PEER)

    async def channel_named(self, name: ShortChannelId) -> ChannelId | None:
        """The channel that has this name, or had it when it was last seen; None if none is known to have had it."""
        if name not in self._names:
            await self.look()
        return self._names.get(name)

    def peer_named(self, name: ShortChannelId) -> NodeId | None:
        """The other end of a channel seen so far, by any name that it has or had."""
        channel_id = self._names.get(name)
        return None if channel_id is None else self._peers.get(channel_id)

    @property
    def first_hops(self) -> frozenset[NodeId]:
        """The connected peers that take an onion message further."""
        return first_hops(self.links, self.online & self._relaying)

    def _note(self, sight: Sight) -> None:
        self.links, self.online, self._relaying = sight.links, sight.online, sight.relaying
        self.with_channel = frozenset(link.peer for link in sight.links.values())
        self._names |= sight.names
        for link in self.links.values():
            self._peers[link.channel_id] = link.peer
            self._names |= dict.fromkeys(link.names, link.channel_id)
        if not sight.moving:
            self._again_seconds = LOOK_AGAIN_SECONDS
        elif self._again is None:
            self._again = asyncio.get_running_loop().call_later(self._again_seconds, self._look_again)
            self._again_seconds = min(2 * self._again_seconds, MOST_LOOK_AGAIN_SECONDS)

    def _look_again(self) -> None:
        self._again = None
        self.suspect()


def by_id(*links: Link) -> Links:
    """Links by their channel ids."""
    return {link.channel_id: link for link in links}


def first_hops(links: Links, relaying: frozenset[NodeId]) -> frozenset[NodeId]:
    """Those of the relaying peers with which there is a usable channel: nodes relay for nobody else."""
    return relaying & {link.peer for link in links.values() if link.usable}


def link_changes(before: Links, now: Links) -> Iterator[LinkChanged | LinkClosed]:
    """The events that lead from one state to the other."""
    for channel_id, link in now.items():
        if before.get(channel_id) != link:
            yield LinkChanged(link)
    for channel_id in before.keys() - now.keys():
        yield LinkClosed(channel_id)


def peer_changes(before: frozenset[NodeId], now: frozenset[NodeId]) -> Iterator[PeerConnected | PeerDisconnected]:
    """The events that lead from one state to the other."""
    yield from map(PeerDisconnected, before - now)
    yield from map(PeerConnected, now - before)
