"""What changed between two snapshots at peers, channels and HTLCs."""

import asyncio
from dataclasses import replace

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, Link, ShortChannelId
from asyncpay.node_events import HtlcGone, LinkChanged, LinkClosed, NodeEvent, PeerConnected, PeerDisconnected
from asyncpay.nodes import event_stream
from asyncpay.nodes.event_stream import NodeSnapshot, PeerTracker, by_id, link_changes, peer_changes

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


class ScriptedNode:
    """What a snapshot shows, and what was reported."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        self.snapshot = snapshot
        self.snapshots = asyncio.Semaphore(0)
        self.reported: asyncio.Queue[NodeEvent] = asyncio.Queue()
        self.tracker = PeerTracker(self._take_snapshot, self.reported.put)

    async def _take_snapshot(self) -> NodeSnapshot:
        self.snapshots.release()
        return self.snapshot

    async def next(self, count: int) -> list[NodeEvent]:
        async with asyncio.timeout(10):
            return [await self.reported.get() for _ in range(count)]


@pytest.mark.anyio
async def test_word_of_an_old_connections_end_may_come_after_the_new_one() -> None:
    """LND tells of the end in a thread of its own; the next poll puts it right."""
    seen = ScriptedNode(NodeSnapshot(links={}, online=frozenset({PEER})))
    await seen.tracker.begin()
    await seen.tracker.peer_event(PEER, online=True)
    watching = asyncio.create_task(seen.tracker.watch())
    await seen.tracker.peer_event(PEER, online=False)
    assert await seen.next(2) == [PeerDisconnected(PEER), PeerConnected(PEER)]
    watching.cancel()


@pytest.mark.anyio
async def test_an_offered_htlc_is_gone_when_a_poll_does_not_show_it() -> None:
    there, left = (NodeSnapshot(links={}, online=frozenset(), htlcs=frozenset(htlcs)) for htlcs in ({HTLC}, ()))
    seen = ScriptedNode(there)
    seen.tracker.expect_to_leave(HTLC)
    await seen.tracker.poll()
    assert seen.reported.empty()

    seen.snapshot = left
    await seen.tracker.poll()
    await seen.tracker.poll()
    assert await seen.next(1) == [HtlcGone(HTLC)]
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_a_channel_is_found_by_every_name_that_it_had() -> None:
    confirmed = replace(link(1), short_channel_id=ShortChannelId(8), aliases=frozenset({ShortChannelId(1)}))
    spliced = replace(link(1), short_channel_id=ShortChannelId(9))
    closed = ShortChannelId(7)
    seen = ScriptedNode(
        NodeSnapshot(links=by_id(confirmed), online=frozenset(), names={closed: ChannelId.from_name(2)})
    )
    await seen.tracker.begin()
    seen.snapshot = NodeSnapshot(links=by_id(spliced), online=frozenset())
    await seen.tracker.poll()
    for name in (1, 8, 9):
        assert await seen.tracker.channel_named(ShortChannelId(name)) == confirmed.channel_id
        assert seen.tracker.peer_named(ShortChannelId(name)) == PEER
    assert await seen.tracker.channel_named(closed) == ChannelId.from_name(2)
    assert await seen.tracker.channel_named(ShortChannelId(99)) is None


@pytest.mark.anyio
async def test_an_htlc_that_comes_during_a_poll_is_not_taken_for_gone() -> None:
    seen = ScriptedNode(NodeSnapshot(links={}, online=frozenset()))

    async def look() -> NodeSnapshot:
        seen.tracker.expect_to_leave(HTLC)
        return seen.snapshot

    seen.tracker = PeerTracker(look, seen.reported.put)
    await seen.tracker.poll()
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_peers_who_come_and_go_do_not_wait_for_a_poll() -> None:
    seen = ScriptedNode(NodeSnapshot(links={}, online=frozenset({b"d" * 33})))
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def look() -> NodeSnapshot:
        begun.set()
        await goes_on.wait()
        return seen.snapshot

    seen.tracker = PeerTracker(look, seen.reported.put)
    looking = asyncio.create_task(seen.tracker.poll())
    await begun.wait()
    async with asyncio.timeout(10):
        await seen.tracker.peer_event(PEER, online=True)
        await seen.tracker.peer_event(b"d" * 33, online=True)
        await seen.tracker.peer_event(b"d" * 33, online=False)
    goes_on.set()
    await looking
    assert seen.tracker.online == {PEER}, "what the node said meanwhile is newer"
    assert await seen.next(3) == [PeerConnected(PEER), PeerConnected(b"d" * 33), PeerDisconnected(b"d" * 33)]
    assert seen.reported.empty()


@pytest.mark.anyio
async def test_many_reasons_to_poll_again_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "POLL_AGAIN_SECONDS", 60)
    seen = ScriptedNode(NodeSnapshot(links=by_id(link(1, usable=False)), online=frozenset(), moving=True))
    timers: list[float] = []

    def call_later(seconds: float, _: object) -> object:
        timers.append(seconds)
        return object()

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    for _ in range(10):
        await seen.tracker.poll()
    assert len(timers) == 1


@pytest.mark.anyio
async def test_as_long_as_something_moves_it_is_polled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "POLL_AGAIN_SECONDS", 0)
    seen = ScriptedNode(NodeSnapshot(links=by_id(link(1, usable=False)), online=frozenset(), moving=True))
    await seen.tracker.begin()
    watching = asyncio.create_task(seen.tracker.watch())
    async with asyncio.timeout(10):
        for _ in range(3):
            await seen.snapshots.acquire()
    seen.snapshot = NodeSnapshot(links=by_id(link(1)), online=frozenset())
    assert await seen.next(1) == [LinkChanged(link(1))]
    watching.cancel()


def test_messages_go_further_through_relaying_peers_with_a_usable_channel_only() -> None:
    """And through those that are there: what the last look showed is corrected by what came since."""
    usable, relaying, gone = (bytes([2, number]) * 16 + b"x" for number in range(3))
    links = by_id(*(replace(link(number), peer=peer) for number, peer in enumerate((usable, relaying, gone))))
    channels = {**links, **by_id(replace(link(9, usable=False), peer=PEER))}
    snapshot = NodeSnapshot(
        links=channels, online=frozenset({usable, relaying, gone, PEER}), relaying=frozenset({relaying, PEER, gone})
    )
    assert snapshot.first_hops == {relaying, gone}

    async def run() -> None:
        async def look() -> NodeSnapshot:
            return snapshot

        async def report(_: NodeEvent) -> None:
            pass

        known = PeerTracker(look, report)
        await known.begin()
        assert known.first_hops == {relaying, gone}
        assert known.with_channel == {usable, relaying, gone, PEER}
        await known.peer_event(gone, online=False)
        assert known.first_hops == {relaying}

    asyncio.run(run())


@pytest.mark.anyio
async def test_first_hops_are_the_relaying_peers_of_the_moment_with_a_usable_channel() -> None:
    links = by_id(
        *(replace(link(number, usable=number != 3), peer=bytes([number]) * 33) for number in (1, 2, 3, 4)),
    )
    one, two, three, four, stranger = (bytes([number]) * 33 for number in (1, 2, 3, 4, 5))
    everybody = frozenset({one, two, three, four, stranger})
    node = ScriptedNode(NodeSnapshot(links=links, online=everybody, relaying=everybody - {two}))
    await node.tracker.begin()
    first_hops = node.tracker.first_hops
    assert set(first_hops) == {one, four}
    assert first_hops & frozenset({one, two, stranger}) == {one}
    await node.tracker.peer_event(one, online=False)
    assert set(first_hops) == {four}
    await node.tracker.peer_event(one, online=True)
    assert one in first_hops
    assert len(first_hops) == 2
