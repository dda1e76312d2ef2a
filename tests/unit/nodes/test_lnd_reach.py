"""What changed between two looks at peers and channels."""

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import pytest

from asyncpay.lightning import Link, ShortChannelId
from asyncpay.node_events import LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected
from asyncpay.nodes.lnd.connection import Connection
from asyncpay.nodes.lnd.reach import Reach, link_changes, link_of, peer_changes
from asyncpay.nodes.proto import lightning_pb2 as ln

PEER = bytes(33)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def link(number: int, *, usable: bool = True) -> Link:
    return Link(short_channel_id=ShortChannelId(number), peer=PEER, usable=usable)


def by_name(*links: Link) -> dict[ShortChannelId, Link]:
    return {each.short_channel_id: each for each in links}


def test_link_changes() -> None:
    before = by_name(link(1), link(2), link(3))
    now = by_name(link(1), link(2, usable=False), link(4))
    assert list(link_changes(before, now)) == [
        LinkChanged(link(2, usable=False)),
        LinkChanged(link(4)),
        LinkClosed(ShortChannelId(3)),
    ]


def test_a_new_alias_is_a_change() -> None:
    named = replace(link(1), aliases=frozenset({ShortChannelId(9)}))
    assert list(link_changes(by_name(link(1)), by_name(named))) == [LinkChanged(named)]


def test_peer_changes() -> None:
    assert list(peer_changes(frozenset({b"a", b"b"}), frozenset({b"b", b"c"}))) == [
        PeerDisconnected(b"a"),
        PeerConnected(b"c"),
    ]


class StubLnd:
    """Answers with the peers that are there, and has no channels."""

    def __init__(self, *online: bytes) -> None:
        self.online = online
        self.lightning = self

    def calling(self, _: str) -> nullcontext[None]:
        return nullcontext()

    async def ListPeers(self, *_: Any, **__: Any) -> ln.ListPeersResponse:  # noqa: N802 - LND's name
        return ln.ListPeersResponse(peers=[ln.Peer(pub_key=peer.hex()) for peer in self.online])

    async def ListChannels(self, *_: Any, **__: Any) -> ln.ListChannelsResponse:  # noqa: N802 - LND's name
        return ln.ListChannelsResponse()


@pytest.mark.anyio
async def test_word_of_an_old_connections_end_may_come_after_the_new_one() -> None:
    """LND tells of the end in a thread of its own; the next look puts it right."""
    reported: asyncio.Queue[NodeEvent] = asyncio.Queue()
    reach = Reach(cast("Connection", StubLnd(PEER)), reported.put)
    await reach.begin()
    await reach.peer_event(ln.PeerEvent(pub_key=PEER.hex(), type=ln.PeerEvent.PEER_ONLINE))
    watching = asyncio.create_task(reach.watch())
    await reach.peer_event(ln.PeerEvent(pub_key=PEER.hex(), type=ln.PeerEvent.PEER_OFFLINE))
    async with asyncio.timeout(10):
        assert [await reported.get(), await reported.get()] == [PeerDisconnected(PEER), PeerConnected(PEER)]
    watching.cancel()


def test_every_name_of_a_channel_is_known() -> None:
    """A channel without confirmations keeps its alias as its main name when it has got a real one."""
    channel = ln.Channel(
        chan_id=5, alias_scids=[5, 6], zero_conf_confirmed_scid=7, remote_pubkey=PEER.hex(), active=True
    )
    assert link_of(channel) == Link(
        short_channel_id=ShortChannelId(5),
        aliases=frozenset({ShortChannelId(6), ShortChannelId(7)}),
        peer=PEER,
        usable=True,
    )


def test_a_confirmed_channel_without_aliases_has_none() -> None:
    assert link_of(ln.Channel(chan_id=5, remote_pubkey=PEER.hex())).aliases == frozenset()
