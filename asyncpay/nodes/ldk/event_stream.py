"""What ldkd reports as one stream of events. It ends when ldkd does, or when another process attaches."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from asyncpay.lightning import HtlcKey, NodeId, Resolution, ShortChannelId
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    CustomMessage,
    HtlcFailed,
    HtlcOffered,
    HtlcSettled,
    InvoicePaid,
    NodeEvent,
)
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.event_stream import MergedStream, PeerTracker
from asyncpay.nodes.ldk import channels, htlcs, onions
from asyncpay.nodes.ldk.rpc import LdkLostError, LdkRefusedError, Rpc
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, UNREADABLE
from asyncpay.nodes.onion_routes import Surroundings

ANSWER_SECONDS = 12
"""ldkd answers a question for events within two seconds; one that takes so much longer is frozen."""

Json = Mapping[str, Any]

log = logging.getLogger(__name__)


class EventStream:
    """One life of the event stream. Must be closed."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._events = MergedStream()
        self._tracker = PeerTracker(lambda: channels.snapshot(rpc), self._events.put)
        self._session = 0
        self._node_id: NodeId | None = None
        self._offered: set[HtlcKey] = set()

    async def events(self) -> AsyncIterator[NodeEvent]:
        """See Node.events."""
        try:
            attached = await self._attach()
        except NodeError as error:
            raise _absence(error) from None
        yield attached
        for follow in (self._follow_events, self._tracker.watch):
            self._events.follow(partial(self._until_it_ends, follow))
        async for event in self._events.events():
            yield event

    @property
    def surroundings(self) -> Surroundings | None:
        """Where onion messages may go from here, as the stream told; None if it has not begun, or has ended."""
        if self._node_id is None:
            return None
        return Surroundings(self._node_id, self._tracker.online, self._tracker.first_hops)

    def peer_named(self, name: ShortChannelId) -> NodeId | None:
        """The other end of a channel, by any of its names."""
        return self._tracker.peer_named(name)

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution) -> None:
        """See Node.resolve_htlc; no resolution but those in htlcs.RESULTS."""
        if key not in self._offered:
            raise self._not_held(key, resolution)
        self._offered.discard(key)
        try:
            answered = await self._answer(key, htlcs.RESULTS[resolution])
        except LdkLostError:
            return  # it may have got through: that must not be called undelivered
        if not answered:
            raise self._not_held(key, resolution)
        self._tracker.mark_stale()

    async def close(self) -> None:
        """End the stream; what is held stays held."""
        self._node_id = None
        await self._events.close()

    async def _answer(self, key: HtlcKey, result: str) -> bool:
        answer = await self._rpc.call("answer", channel_id=key.channel_id.hex(), htlc_id=key.htlc_id, result=result)
        return bool(answer["answered"])

    def _not_held(self, key: HtlcKey, resolution: Resolution) -> NodeUnreachableError:
        return NodeUnreachableError(
            f"LDK at {self._rpc.socket} was not told to {resolution.value} HTLC {key}: it does not hold it (any more)"
        )

    async def _attach(self) -> Attached:
        """From `attach` on everything is reported, so nothing is missed that happens after the look."""
        self._session = (await self._rpc.call("attach"))["session"]
        info = await self._rpc.call("getinfo")
        await self._tracker.begin()
        self._node_id = bytes.fromhex(info["id"])
        return Attached(
            node_id=self._node_id,
            network=info["network"],
            height=HEIGHT(info["height"]),
            links=tuple(self._tracker.links.values()),
            online=frozenset(self._tracker.online),
        )

    async def _until_it_ends(self, follow: Callable[[], Awaitable[None]]) -> None:
        try:
            await follow()
        except NodeError as error:
            raise _absence(error) from None

    async def _follow_events(self) -> None:
        """Ask for events; with the next question ldkd knows that the last ones have arrived."""
        after = 0
        while True:
            told = await self._rpc.call("events", ANSWER_SECONDS, session=self._session, after=after)
            for event in told["events"]:
                try:
                    await self._take(event["topic"], event["payload"])
                except UNREADABLE as error:
                    await self._refuse(event["topic"], event["payload"], error)
                after = event["number"]

    async def _take(self, topic: str, payload: Json) -> None:
        """Translate one event of ldkd."""
        match topic:
            case "htlc_intercepted" | "htlc_settled" | "htlc_failed" | "htlc_given_up":
                await self._take_htlc(topic, payload)
            case "peer_connected" | "peer_disconnected":
                await self._tracker.peer_event(bytes.fromhex(payload["peer"]), online=topic == "peer_connected")
            case "channels_changed":
                self._tracker.mark_stale()
            case "block":
                await self._events.put(BlockConnected(HEIGHT(payload["height"])))
                self._tracker.mark_stale()
            case "custom_message":
                peer, data = bytes.fromhex(payload["peer"]), bytes.fromhex(payload["data"])
                await self._events.put(CustomMessage(peer, payload["type"], data))
            case "onion_message":
                if event := await onions.read(self._rpc, payload, self._tracker.peer_named):
                    await self._events.put(event)
            case "invoice_paid":
                paid = InvoicePaid(bytes.fromhex(payload["payment_hash"]), AMOUNT_MSAT(payload["amount_msat"]))
                await self._events.put(paid)

    async def _take_htlc(self, topic: str, payload: Json) -> None:
        if topic == "htlc_intercepted":
            offer = htlcs.held_htlc(payload)
            self._offered.add(offer.key)
            self._tracker.expect_to_leave(offer.key)
            await self._events.put(HtlcOffered(offer))
            return
        key = htlcs.key_of(payload)
        self._offered.discard(key)
        if topic != "htlc_settled":
            await self._events.put(HtlcFailed(key))
        elif payload["preimage"] is not None:
            await self._events.put(HtlcSettled(key, bytes.fromhex(payload["preimage"])))
        self._tracker.mark_stale()

    async def _refuse(self, topic: str, payload: Json, error: Exception) -> None:
        """Fail an HTLC with numbers that there cannot be, and drop any other event that cannot be read."""
        log.warning("LDK at %s: %s cannot be read and is refused: %r", self._rpc.socket, topic, error)
        if topic == "htlc_intercepted":
            with suppress(LdkRefusedError, *UNREADABLE):
                await self._answer(htlcs.key_of(payload), "fail")


def _absence(error: NodeError) -> NodeUnreachableError:
    """An ldkd that refuses to report is as good as none: the only way on is to attach again."""
    return error if isinstance(error, NodeUnreachableError) else NodeUnreachableError(str(error))
