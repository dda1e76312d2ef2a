"""Onion messages that LND shows: how they are read when many come, and what is asked of LND for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, Link, NodeId, ShortChannelId
from asyncpay.node_events import NodeEvent, OnionReceived
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.event_stream import NodeSnapshot, by_id
from asyncpay.nodes.lnd import event_stream as event_stream_module
from asyncpay.nodes.lnd import onions
from asyncpay.nodes.lnd.event_stream import EventStream
from asyncpay.nodes.proto import lightning_pb2 as ln

pytestmark = pytest.mark.anyio

HONEST, GREEDY = b"\x02" + b"h" * 32, b"\x02" + b"g" * 32
STRANGERS = [b"\x03" + bytes([number]) * 32 for number in range(50)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class AnyStream:
    """Stands for every stream of LND's that this is not about."""

    def __getattr__(self, _: str) -> Any:
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self


class Reading:
    """An stream whose LND takes its time over the messages of all but the honest peer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lnd: Any = AnyStream()
        monkeypatch.setattr(event_stream_module, "Interceptor", AnyStream())
        monkeypatch.setattr(onions, "read", self._read)
        self.stream = EventStream(lnd)
        name = ShortChannelId(1)
        links = by_id(
            *(
                Link(channel_id=ChannelId.from_name(number), short_channel_id=name, peer=peer, usable=True)
                for number, peer in enumerate((HONEST, GREEDY))
            )
        )
        self.stream._tracker._note(NodeSnapshot(links=links, online=frozenset({HONEST, GREEDY})))
        self.asked: list[NodeId] = []
        self.taken: list[bytes] = []
        self.proceed = asyncio.Event()
        self.updates: asyncio.Queue[ln.OnionMessageUpdate] = asyncio.Queue()
        self.stream._onions = self  # type: ignore[assignment]
        self.stream._events.put = self._put  # type: ignore[method-assign,assignment]

    async def _read(self, _: Any, update: ln.OnionMessageUpdate, __: Callable[..., Any]) -> NodeEvent:
        self.asked.append(update.peer)
        if update.peer != HONEST:
            await self.proceed.wait()
        if update.onion == b"unreadable":
            raise NodeError("LND refuses to derive a key")
        if update.onion == b"never foreseen":
            raise KeyError("?")
        return OnionReceived(path_id=update.onion)

    async def _put(self, event: OnionReceived) -> None:
        assert event.path_id is not None
        self.taken.append(event.path_id)

    async def __aiter__(self) -> AsyncIterator[ln.OnionMessageUpdate]:
        while True:
            yield await self.updates.get()

    def send(self, peer: NodeId, *messages: bytes) -> None:
        for message in messages:
            self.updates.put_nowait(ln.OnionMessageUpdate(peer=peer, onion=message))

    async def run(self, *waits: Callable[[], None]) -> None:
        following = asyncio.create_task(self.stream._follow_onions())
        for wait in (lambda: None, *waits):
            wait()
            for _ in range(2_000):
                await asyncio.sleep(0)
        assert not following.done(), "the stream has ended"
        following.cancel()


async def test_one_peers_flood_does_not_delay_anothers_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    reading.send(GREEDY, *(b"flood %d" % number for number in range(1_000)))
    reading.send(HONEST, b"one", b"two")
    await reading.run()
    assert reading.taken == [b"one", b"two"]
    assert reading.asked.count(GREEDY) == 1


async def test_peers_without_a_channel_have_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    for stranger in STRANGERS:
        reading.send(stranger, *(b"flood %d" % number for number in range(100)))
    reading.send(HONEST, b"one")
    await reading.run()
    assert reading.taken == [b"one"]
    assert len(reading.asked) == 2


async def test_messages_of_one_peer_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    messages = [b"%d" % number for number in range(20)]
    reading.send(GREEDY, *messages)
    await reading.run(reading.proceed.set)
    assert reading.taken == messages


@pytest.mark.parametrize("message", [b"unreadable", b"never foreseen"])
async def test_a_message_that_cannot_be_read_is_lost_alone(monkeypatch: pytest.MonkeyPatch, message: bytes) -> None:
    reading = Reading(monkeypatch)
    reading.send(HONEST, b"one", message, b"two")
    await reading.run()
    assert reading.taken == [b"one", b"two"]
