"""Who can be reached: connected peers and usable channels, and what changes about them.

LND tells in two streams that a peer or a channel came or went, and answers at any time which of them are
there. The streams say when to look, and the look says what is so: whatever was missed, or came late, is
put right by the next one, at the latest with the next block. Only a peer's going and coming again is
taken from the stream itself, for a look may fall behind both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from asyncpay.lightning import Link, NodeId, ShortChannelId
from asyncpay.node_events import LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection
from asyncpay.nodes.proto import lightning_pb2 as ln

Links = Mapping[ShortChannelId, Link]
Report = Callable[[NodeEvent], Awaitable[None]]

UNKNOWN_PEER: NodeId = bytes(33)
"""Whose channel it was that is closed and not settled on chain yet: LND's RPC does not tell."""


class Reach:
    """Peers and links as they were last reported; empty until `begin`."""

    def __init__(self, lnd: Connection, report: Report) -> None:
        self.links: Links = {}
        self.online: frozenset[NodeId] = frozenset()
        self._lnd = lnd
        self._report = report
        self._stale = asyncio.Event()
        # What is reported must agree with what is noted down, so both happen before anybody else may do either.
        self._reporting = asyncio.Lock()
        self._peers: dict[ShortChannelId, NodeId] = {}

    async def begin(self) -> None:
        """Ask LND for the first time; nothing is reported."""
        self.links = await open_links(self._lnd)
        self.online = frozenset(await connected_peers(self._lnd))
        self._remember_peers()

    async def look(self) -> None:
        """Ask LND, and report whatever is not as it was."""
        async with self._reporting:
            links, online = self.links, self.online
            await self.begin()
            for event in (*peer_changes(online, self.online), *link_changes(links, self.links)):
                await self._report(event)

    async def watch(self) -> None:
        """Look whenever something may have changed. Ends with an error of `look` only."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self.look()

    def suspect(self) -> None:
        """Something may have changed: `watch` will look."""
        self._stale.set()

    async def peer_event(self, event: ln.PeerEvent) -> None:
        """Take in what LND says of one peer."""
        peer = bytes.fromhex(event.pub_key)
        now = {peer} if event.type == ln.PeerEvent.PEER_ONLINE else set()
        async with self._reporting:
            before = self.online
            self.online = before - {peer} | now
            for change in peer_changes(before, self.online):
                await self._report(change)
        self.suspect()

    async def peer_of(self, short_channel_id: ShortChannelId) -> NodeId:
        """The other end of a channel, by any of its names; UNKNOWN_PEER if it closed before this was made."""
        if short_channel_id not in self._peers:
            await self.look()
        return self._peers.get(short_channel_id, UNKNOWN_PEER)

    def _remember_peers(self) -> None:
        for link in self.links.values():
            self._peers |= dict.fromkeys((link.short_channel_id, *link.aliases), link.peer)


def link_of(channel: ln.Channel) -> Link:
    """An open channel as LND lists it; `active` is LND's word for: peer connected, and HTLCs can be added."""
    name = ShortChannelId(channel.chan_id)
    others = {*channel.alias_scids, channel.zero_conf_confirmed_scid} - {name, 0}
    return Link(
        short_channel_id=name,
        aliases=frozenset(map(ShortChannelId, others)),
        peer=bytes.fromhex(channel.remote_pubkey),
        usable=channel.active,
    )


def link_changes(before: Links, now: Links) -> Iterator[LinkChanged | LinkClosed]:
    """The events that lead from one state to the other."""
    for name, link in now.items():
        if before.get(name) != link:
            yield LinkChanged(link)
    for name in before.keys() - now.keys():
        yield LinkClosed(name)


def peer_changes(before: frozenset[NodeId], now: frozenset[NodeId]) -> Iterator[PeerConnected | PeerDisconnected]:
    """The events that lead from one state to the other."""
    yield from map(PeerDisconnected, before - now)
    yield from map(PeerConnected, now - before)


async def open_channels(lnd: Connection) -> list[ln.Channel]:
    """All open channels, usable or not; those being closed are left out."""
    with lnd.calling("list its channels"):
        return list((await lnd.lightning.ListChannels(ln.ListChannelsRequest(), timeout=CALL_SECONDS)).channels)


async def channels_with(lnd: Connection, peer: NodeId) -> list[ShortChannelId]:
    """The open channels with this peer, usable or not."""
    return [link.short_channel_id for link in (await open_links(lnd)).values() if link.peer == peer]


async def open_links(lnd: Connection) -> Links:
    """The open channels as links, by their main name."""
    links = map(link_of, await open_channels(lnd))
    return {link.short_channel_id: link for link in links}


async def connected_peers(lnd: Connection) -> dict[NodeId, ln.Peer]:
    """The connected peers."""
    with lnd.calling("list its peers"):
        peers = (await lnd.lightning.ListPeers(ln.ListPeersRequest(), timeout=CALL_SECONDS)).peers
    return {bytes.fromhex(peer.pub_key): peer for peer in peers}
