"""A stream of events from a lightningd that is played: which channel an HTLC is on, whatever it is called just then."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, Resolution
from asyncpay.node_events import Attached, HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled, LinkChanged, NodeEvent
from asyncpay.nodes.cln.event_stream import EventStream

PEER = "02" * 33
ID = ChannelId(b"\xcc" * 32)
ALIAS, CONFIRMED, SPLICED = "16000000x1x1", "700x1x0", "777x1x0"
PREIMAGE = b"\xcd" * 32

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lightningd:
    """In the place of its RPC: one channel, the plugin's events, and the answers that the plugin was given."""

    socket = Path("rpc")

    def __init__(self) -> None:
        self.channel: dict[str, Any] = {
            "channel_id": ID.hex(),
            "peer_id": PEER,
            "state": "CHANNELD_NORMAL",
            "peer_connected": True,
            "reestablished": True,
            "alias": {"local": ALIAS, "remote": "9x9x9"},
            "htlcs": [],
        }
        self.answers: list[dict[str, Any]] = []
        self._events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._number = 0

    def tell(self, topic: str, **payload: Any) -> None:
        self._events.put_nowait((topic, payload))

    def ask(self, name: str, **more: Any) -> None:
        """The hook, about HTLC 7 of the channel that is called so."""
        self.channel["htlcs"] = [
            {
                "direction": "in",
                "id": 7,
                "amount_msat": 1_001,
                "expiry": 500,
                "payment_hash": "ab" * 32,
                "state": "RCVD_ADD_ACK_REVOCATION",
            }
        ]
        htlc = {"short_channel_id": name, "id": 7, "amount_msat": 1_001, "cltv_expiry": 500, "payment_hash": "ab" * 32}
        onion = {"short_channel_id": "5x6x7", "forward_msat": 1_000, "outgoing_cltv_value": 400}
        self.tell("htlc_accepted", peer_id=PEER, onion=onion, htlc=htlc, **more)

    async def call(self, method: str, *_: Any, **parameters: Any) -> dict[str, Any]:
        match method:
            case "asyncpay-attach":
                return {"session": 1}
            case "getinfo":
                return {"id": PEER, "network": "regtest", "blockheight": 100}
            case "listpeers":
                return {"peers": [{"id": PEER, "connected": True}]}
            case "listpeerchannels":
                return {"channels": [dict(self.channel)]}
            case "asyncpay-events":
                topic, payload = await self._events.get()
                self._number += 1
                return {"events": [{"number": self._number, "topic": topic, "payload": payload}]}
            case "asyncpay-answer":
                self.answers.append(parameters)
                return {"answered": True}
        raise AssertionError(method)


class Stream:
    """An stream whose events are taken one after the other."""

    def __init__(self, node: Lightningd) -> None:
        self.stream = EventStream(node)  # type: ignore[arg-type]
        self._events: AsyncIterator[NodeEvent] = self.stream.events()

    async def next(self, *kinds: type[NodeEvent]) -> Any:
        async with asyncio.timeout(10):
            async for event in self._events:
                if isinstance(event, kinds):
                    return event
        raise AssertionError("the stream has ended")


@pytest.fixture
async def node() -> Lightningd:
    return Lightningd()


@pytest.fixture
async def stream(node: Lightningd) -> AsyncIterator[Stream]:
    made = Stream(node)
    await made.next(Attached)
    yield made
    await made.stream.close()


async def test_an_htlc_is_the_same_after_confirmation_and_splice(node: Lightningd, stream: Stream) -> None:
    node.ask(ALIAS)
    key = (await stream.next(HtlcOffered)).htlc.key
    assert key == HtlcKey(ID, 7)
    for name in (CONFIRMED, SPLICED):
        node.channel = node.channel | {"short_channel_id": name}
        node.tell("block_added", height=101)
        changed = await stream.next(LinkChanged, HtlcGone)
        assert (changed.link.channel_id, str(changed.link.short_channel_id)) == (ID, name)
    await stream.stream.resolve_htlc(key, Resolution.FAIL, None)
    assert [(each["short_channel_id"], each["htlc_id"], each["result"]) for each in node.answers] == [
        (ALIAS, 7, "fail")
    ]
    node.tell("forward_event", in_channel=SPLICED, in_htlc_id=7, status="settled", preimage=PREIMAGE.hex())
    assert await stream.next(HtlcSettled) == HtlcSettled(key, PREIMAGE)
    node.tell("forward_event", in_channel=CONFIRMED, in_htlc_id=7, status="local_failed")  # said before the splice
    assert await stream.next(HtlcFailed) == HtlcFailed(key)


async def test_a_name_that_is_news_is_looked_up(node: Lightningd, stream: Stream) -> None:
    node.channel = node.channel | {"short_channel_id": CONFIRMED}
    node.ask(CONFIRMED)
    assert (await stream.next(HtlcOffered)).htlc.key == HtlcKey(ID, 7)


async def test_what_is_offered_by_a_name_of_the_past_is_on_the_channel_that_the_plugin_says(
    node: Lightningd, stream: Stream
) -> None:
    node.channel = node.channel | {"short_channel_id": SPLICED}
    node.ask(CONFIRMED, channel_id=ID.hex())
    key = (await stream.next(HtlcOffered)).htlc.key
    assert key == HtlcKey(ID, 7)
    await stream.stream.resolve_htlc(key, Resolution.RESUME, None)
    assert node.answers[0]["short_channel_id"] == CONFIRMED


async def test_what_is_offered_by_an_unknown_name_can_be_answered(node: Lightningd, stream: Stream) -> None:
    node.ask(CONFIRMED)
    key = (await stream.next(HtlcOffered)).htlc.key
    await stream.stream.resolve_htlc(key, Resolution.FAIL, None)
    assert node.answers[0]["short_channel_id"] == CONFIRMED


async def test_an_htlc_on_a_channel_that_is_to_be_closed_is_not_gone(node: Lightningd, stream: Stream) -> None:
    node.ask(ALIAS)
    key = (await stream.next(HtlcOffered)).htlc.key
    node.channel = node.channel | {"state": "CHANNELD_SHUTTING_DOWN"}
    node.tell("channel_state_changed")
    changed = (await stream.next(LinkChanged, HtlcGone)).link
    assert (changed.closing, changed.usable) == (True, False)
    await stream.stream.resolve_htlc(key, Resolution.FAIL, None)
    node.channel = node.channel | {"htlcs": []}
    assert await stream.next(HtlcGone) == HtlcGone(key)


async def test_the_largest_htlc_id_of_bolt_2(node: Lightningd, stream: Stream) -> None:
    node.tell("forward_event", in_channel=ALIAS, in_htlc_id=2**64 - 1, status="failed")
    assert await stream.next(HtlcFailed) == HtlcFailed(HtlcKey(ID, 2**64 - 1))
