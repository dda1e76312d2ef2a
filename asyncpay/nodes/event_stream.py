"""The event stream of an adapter, merged from its node's own streams and from polls of peers and channels.

A node reports changes of peers and channels in its events, and lists its peers and channels at any time. The
events decide when to poll, and the poll decides what is reported: missed or late events are
corrected by the next poll, at the latest with the next block. Only a peer's disconnection and reconnection are
taken from the events themselves, because a poll may come after both.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from asyncpay.lightning import ChannelId, HtlcKey, Link, NodeId, ShortChannelId
from asyncpay.node_events import HtlcGone, LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected

MAX_WAITING_EVENTS = 1_000
"""Further events wait in the node."""


class MergedStream:
    """A queue of events in the order of `put`. The first source that ends, ends the stream. It must be closed."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[NodeEvent | Exception] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._tasks: list[asyncio.Task[None]] = []

    async def put(self, event: NodeEvent) -> None:
        """Report an event, once there is space for it."""
        await self._events.put(event)

    def follow(self, source: Callable[[], Awaitable[None]]) -> None:
        """Run a source in the background: it puts its events here, and raises when it ends."""
        self._tasks.append(asyncio.create_task(self._until_it_ends(source)))

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Yield all events, then raise the error of the first source that ended, after the events before it."""
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        """End all sources."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_it_ends(self, source: Callable[[], Awaitable[None]]) -> None:
        try:
            await source()
        except Exception as error:
            await self._events.put(error)


Links = Mapping[ChannelId, Link]
"""Channels that carry HTLCs."""
Report = Callable[[NodeEvent], Awaitable[None]]

UNKNOWN_PEER: NodeId = bytes(33)
"""The peer of a channel that closed before the first poll."""
POLL_AGAIN_SECONDS, MAX_POLL_AGAIN_SECONDS = 0.2, 1.0
"""Pauses between polls while a change is pending; they double, because a peer may never re-establish its channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """A node's peers and channels at one moment.

    relaying: the connected peers that relay onion messages.
    names: the names of all channels that the node still knows, including those that no longer carry HTLCs.
    htlcs: incoming HTLCs on the channels, if the node does not itself report their removal.
    moving: whether a change is pending that the node will not report.
    """

    links: Links
    online: frozenset[NodeId]
    relaying: frozenset[NodeId] = frozenset()
    names: Mapping[ShortChannelId, ChannelId] = field(default_factory=dict)
    htlcs: frozenset[HtlcKey] = frozenset()
    moving: bool = False

    @property
    def first_hops(self) -> frozenset[NodeId]:
        """The connected peers that can relay an onion message."""
        return first_hops(self.links, self.online & self.relaying)


class PeerTracker:
    """The last reported peers and channels; empty until `begin`."""

    def __init__(self, take_snapshot: Callable[[], Awaitable[NodeSnapshot]], report: Report) -> None:
        self.links: Links = {}
        self.online: set[NodeId] = set()
        self.with_channel: frozenset[NodeId] = frozenset()
        """Peers with a channel, usable or not."""
        self.first_hops: Set[NodeId] = _FirstHops(self)
        """The connected peers that can relay an onion message: a live view."""
        self.relaying: frozenset[NodeId] = frozenset()
        self.usable: frozenset[NodeId] = frozenset()
        """Peers with a usable channel."""
        self._peers: dict[ChannelId, NodeId] = {}  # the other end of every channel seen so far
        self._names: dict[ShortChannelId, ChannelId] = {}  # including former names
        self._take_snapshot = take_snapshot
        self._report = report
        self._stale = asyncio.Event()
        self._polling = asyncio.Lock()
        self._meanwhile: dict[NodeId, bool] = {}  # peers in events during a poll, and whether they are online
        self._again: asyncio.TimerHandle | None = None
        self._again_seconds = POLL_AGAIN_SECONDS
        # The reported and the recorded state must agree, so both change under this lock.
        # It is never held during a call to the node: peer events and HTLCs would have to wait for the call.
        self._reporting = asyncio.Lock()
        self._htlcs: set[HtlcKey] = set()

    async def begin(self) -> None:
        """Take the first snapshot; nothing is reported."""
        self._note(await self._take_snapshot())

    async def poll(self) -> None:
        """Take a snapshot, and report the differences from the last. Events about a peer during the poll are newer."""
        async with self._polling:
            htlcs = frozenset(self._htlcs)
            self._meanwhile.clear()
            snapshot = await self._take_snapshot()
            async with self._reporting:
                links, online = self.links, self.online
                left = {peer for peer, is_online in self._meanwhile.items() if not is_online}
                self._note(replace(snapshot, online=snapshot.online - left | (self._meanwhile.keys() - left)))
                self._htlcs -= htlcs - snapshot.htlcs
                for event in (
                    *peer_changes(online, self.online),
                    *link_changes(links, self.links),
                    *map(HtlcGone, htlcs - snapshot.htlcs),
                ):
                    await self._report(event)

    async def watch(self) -> None:
        """Poll after each possible change, but at most half of the time. Ends only with an error of `poll`."""
        loop = asyncio.get_running_loop()
        while True:
            await self._stale.wait()
            self._stale.clear()
            began = loop.time()
            await self.poll()
            await asyncio.sleep(loop.time() - began)

    def mark_stale(self) -> None:
        """Record that something may have changed, so that `watch` polls."""
        self._stale.set()

    def expect_to_leave(self, key: HtlcKey) -> None:
        """Record an incoming HTLC whose removal is to be reported."""
        self._htlcs.add(key)

    async def peer_event(self, peer: NodeId, *, online: bool) -> None:
        """Handle the node's event about one peer."""
        async with self._reporting:
            known = peer in self.online
            self._meanwhile[peer] = online
            if online and not known:
                self.online.add(peer)
                await self._report(PeerConnected(peer))
            elif known and not online:
                self.online.remove(peer)
                await self._report(PeerDisconnected(peer))
        self.mark_stale()

    async def peer_of(self, channel_id: ChannelId) -> NodeId:
        """Return the other end of a channel; UNKNOWN_PEER if the channel closed before the first poll."""
        if channel_id not in self._peers:
            await self.poll()
        return self._peers.get(channel_id, UNKNOWN_PEER)

    async def channel_named(self, name: ShortChannelId) -> ChannelId | None:
        """Return the channel that has this name, or had it when it was last seen; None if there is none."""
        if name not in self._names:
            await self.poll()
        return self._names.get(name)

    def peer_named(self, name: ShortChannelId) -> NodeId | None:
        """Return the other end of a channel seen so far, by any present or former name of the channel."""
        channel_id = self._names.get(name)
        return None if channel_id is None else self._peers.get(channel_id)

    def _note(self, snapshot: NodeSnapshot) -> None:
        self.links, self.online, self.relaying = snapshot.links, set(snapshot.online), snapshot.relaying
        self.usable = frozenset(link.peer for link in snapshot.links.values() if link.usable)
        self.with_channel = frozenset(link.peer for link in snapshot.links.values())
        self._names |= snapshot.names
        for link in self.links.values():
            self._peers[link.channel_id] = link.peer
            self._names |= dict.fromkeys(link.names, link.channel_id)
        if not snapshot.moving:
            self._again_seconds = POLL_AGAIN_SECONDS
        elif self._again is None:
            self._again = asyncio.get_running_loop().call_later(self._again_seconds, self._poll_again)
            self._again_seconds = min(2 * self._again_seconds, MAX_POLL_AGAIN_SECONDS)

    def _poll_again(self) -> None:
        self._again = None
        self.mark_stale()


class _FirstHops(Set[NodeId]):
    """Connected peers that relay and have a usable channel. A membership test takes constant time."""

    def __init__(self, tracker: PeerTracker) -> None:
        self._tracker = tracker

    def __contains__(self, peer: object) -> bool:
        return peer in self._tracker.online and peer in self._tracker.relaying and peer in self._tracker.usable

    def __iter__(self) -> Iterator[NodeId]:
        return (peer for peer in self._tracker.online if peer in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @classmethod
    def _from_iterable(cls, peers: Iterable[NodeId]) -> frozenset[NodeId]:  # type: ignore[override]
        return frozenset(peers)


def by_id(*links: Link) -> Links:
    """Return links by their channel ids."""
    return {link.channel_id: link for link in links}


def first_hops(links: Links, relaying: frozenset[NodeId]) -> frozenset[NodeId]:
    """Return the relaying peers with a usable channel: nodes relay only for such peers."""
    return relaying & {link.peer for link in links.values() if link.usable}


def link_changes(before: Links, now: Links) -> Iterator[LinkChanged | LinkClosed]:
    """Yield the events that lead from one state to the other."""
    for channel_id, link in now.items():
        if before.get(channel_id) != link:
            yield LinkChanged(link)
    for channel_id in before.keys() - now.keys():
        yield LinkClosed(channel_id)


def peer_changes(before: Set[NodeId], now: Set[NodeId]) -> Iterator[PeerConnected | PeerDisconnected]:
    """Yield the events that lead from one state to the other."""
    yield from map(PeerDisconnected, before - now)
    yield from map(PeerConnected, now - before)
