"""What changed between two looks at peers, channels and HTLCs."""

import asyncio
from dataclasses import replace

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, Link, ShortChannelId
from asyncpay.node_events import HtlcGone, LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected
from asyncpay.nodes import reach
from asyncpay.nodes.reach import Reach, Sight, by_id, link_changes, peer_changes

PEER = bytes(33)
HTLC = HtlcKey(ChannelId.from_name(1), 7)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def link(number: int, *, usable: bool = True) -> Link:
    name = ShortChannelId(number)
    return Link(channel_id=ChannelId.from_name(name), short_channel_id=name, peer=PEER, usable=usable)


def test_link_changes() -> None:
    before = by_id(link(1), link(2), link(3))
    now = by_id(link(1), link(2, usable=False), link(4))
    assert list(link_changes(before, now)) == [
        LinkChanged(link(2, usable=False)),
        LinkChanged(link(4)),
        LinkClosed(ChannelId.from_name(3)),
    ]


def test_a_new_alias_is_a_change() -> None:
    named = replace(link(1), aliases=frozenset({ShortChannelId(9)}))
    assert list(link_changes(by_id(link(1)), by_id(named))) == [LinkChanged(named)]


def test_a_channel_that_gets_another_name_is_the_same_channel() -> None:
    """A zero-conf channel is confirmed, or a splice is locked in."""
    renamed = replace(link(1), short_channel_id=ShortChannelId(8))
    assert list(link_changes(by_id(link(1)), by_id(renamed))) == [LinkChanged(renamed)]


def test_peer_changes() -> None:
    assert list(peer_changes(frozenset({b"a", b"b"}), frozenset({b"b", b"c"}))) == [
        PeerDisconnected(b"a"),
        PeerConnected(b"c"),
    ]


class Scenery:
    """What a look shows, and what was reported."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        self.looks = asyncio.Semaphore(0)
        self.reported: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.reach = Reach(self._look, self.reported.put)

    async def _look(self) -> Sight:
        self.looks.release()
        return self.sight

    async def next(self, count: int) -> list[NodeEvent]:
        async with asyncio.timeout(10):
            return [await self.reported.get() for _ in range(count)]


@pytest.mark.anyio
async def test_word_of_an_old_connections_end_may_come_after_the_new_one() -> None:
    """LND tells of the end in a thread of its own; the next look puts it right."""
    seen = Scenery(Sight(links={}, online=frozenset({PEER})))
    await seen.reach.begin()
    await seen.reach.peer_event(PEER, online=True)
    watching = asyncio.create_task(seen.reach.watch())
    await seen.reach.peer_event(PEER, online=False)
    assert await seen.next(2) == [PeerDisconnected(PEER), PeerConnected(PEER)]
    watching.cancel()


@pytest.mark.anyio
async def test_an_offered_htlc_is_gone_when_a_look_does_not_show_it() -> None:
    there, left = (Sight(links={}, online=frozenset(), htlcs=frozenset(htlcs)) for htlcs in ({HTLC}, ()))
    seen = Scenery(there)
    seen.reach.expect_to_leave(HTLC)
    await seen.reach.look()
    assert seen.reported.empty()

    seen.sight = left
    await seen.reach.look()
    await seen.reach.look()
    assert await seen.next(1) == [HtlcGone(HTLC)]
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_a_channel_is_found_by_every_name_that_it_had() -> None:
    confirmed = replace(link(1), short_channel_id=ShortChannelId(8), aliases=frozenset({ShortChannelId(1)}))
    spliced = replace(link(1), short_channel_id=ShortChannelId(9))
    closed = ShortChannelId(7)
    seen = Scenery(Sight(links=by_id(confirmed), online=frozenset(), names={closed: ChannelId.from_name(2)}))
    await seen.reach.begin()
    seen.sight = Sight(links=by_id(spliced), online=frozenset())
    await seen.reach.look()
    for name in (1, 8, 9):
        assert await seen.reach.channel_named(ShortChannelId(name)) == confirmed.channel_id
        assert seen.reach.peer_named(ShortChannelId(name)) == PEER
    assert await seen.reach.channel_named(closed) == ChannelId.from_name(2)
    assert await seen.reach.channel_named(ShortChannelId(99)) is None


@pytest.mark.anyio
async def test_an_htlc_that_comes_during_a_look_is_not_taken_for_gone() -> None:
    seen = Scenery(Sight(links={}, online=frozenset()))

    async def look() -> Sight:
        seen.reach.expect_to_leave(HTLC)
        return seen.sight

    seen.reach = Reach(look, seen.reported.put)
    await seen.reach.look()
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_peers_who_come_and_go_do_not_wait_for_a_look() -> None:
    seen = Scenery(Sight(links={}, online=frozenset({b"d" * 33})))
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def look() -> Sight:
        begun.set()
        await goes_on.wait()
        return seen.sight

    seen.reach = Reach(look, seen.reported.put)
    looking = asyncio.create_task(seen.reach.look())
    await begun.wait()
    async with asyncio.timeout(10):
        await seen.reach.peer_event(PEER, online=True)
        await seen.reach.peer_event(b"d" * 33, online=True)
        await seen.reach.peer_event(b"d" * 33, online=False)
    goes_on.set()
    await looking
    assert seen.reach.online == {PEER}, "what the node said meanwhile is newer"
    assert await seen.next(3) == [PeerConnected(PEER), PeerConnected(b"d" * 33), PeerDisconnected(b"d" * 33)]
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_many_reasons_to_look_again_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LOOK_AGAIN_SECONDS", 60)
    seen = Scenery(Sight(links=by_id(link(1, usable=False)), online=frozenset(), moving=True))
    timers: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, _: timers.append(seconds) or object())
    for _ in range(10):
        await seen.reach.look()
    assert len(timers) == 1


@pytest.mark.anyio
async def test_as_long_as_something_moves_it_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LOOK_AGAIN_SECONDS", 0)
    seen = Scenery(Sight(links=by_id(link(1, usable=False)), online=frozenset(), moving=True))
    await seen.reach.begin()
    watching = asyncio.create_task(seen.reach.watch())
    async with asyncio.timeout(10):
        for _ in range(3):
            await seen.looks.acquire()
    seen.sight = Sight(links=by_id(link(1)), online=frozenset())
    assert await seen.next(1) == [LinkChanged(link(1))]
    watching.cancel()


def test_messages_go_further_through_relaying_peers_with_a_usable_channel_only() -> None:
    """And through those that are there: what the last look showed is corrected by what came since."""
    usable, relaying, gone = (bytes([2, number]) * 16 + b"x" for number in range(3))
    links = by_id(*(replace(link(number), peer=peer) for number, peer in enumerate((usable, relaying, gone))))
    channels = {**links, **by_id(replace(link(9, usable=False), peer=PEER))}
    sight = Sight(
        links=channels, online=frozenset({usable, relaying, gone, PEER}), relaying=frozenset({relaying, PEER, gone})
    )
    assert sight.first_hops == {relaying, gone}

    async def run() -> None:
        async def look() -> Sight:
            return sight

        async def report(_: NodeEvent) -> None:
            pass

        known = Reach(look, report)
        await known.begin()
        assert known.first_hops == {relaying, gone}
        assert known.with_channel == {usable, relaying, gone, PEER}
        await known.peer_event(gone, online=False)
        assert known.first_hops == {relaying}

    asyncio.run(run())
