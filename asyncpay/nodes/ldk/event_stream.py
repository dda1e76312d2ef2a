"""ldkd's reports as one stream of events. It ends when ldkd stops, or when another process attaches."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from asyncpay.lightning import HtlcKey, NodeId, Resolution, ShortChannelId
from asyncpay.node_events import (
    BlockConnected,
    CustomMessage,
    HtlcFailed,
    HtlcOffered,
    HtlcSettled,
    InvoicePaid,
)
from asyncpay.nodes.ldk import channels, htlcs, onions
from asyncpay.nodes.ldk.rpc import LdkRefusedError, Rpc
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, UNREADABLE
from asyncpay.nodes.polled_stream import PolledStream
from asyncpay.nodes.unix_rpc import LostError

Json = Mapping[str, Any]

log = logging.getLogger(__name__)


class EventStream(PolledStream):
    """One session of the event stream. It must be closed."""

    implementation = "LDK"
    attach_method, events_method, height_field = "attach", "events", "height"

    def __init__(self, rpc: Rpc) -> None:
        super().__init__(rpc.call, rpc.socket, lambda: channels.snapshot(rpc))
        self._rpc = rpc
        self._offered: set[HtlcKey] = set()

    def peer_named(self, name: ShortChannelId) -> NodeId | None:
        """Return the other end of a channel, by any of its names."""
        return self._tracker.peer_named(name)

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution) -> None:
        """See Node.resolve_htlc. Only the resolutions in htlcs.RESULTS are supported."""
        if key not in self._offered:
            raise self._not_held(key, resolution)
        self._offered.discard(key)
        try:
            answered = await self._answer(key, htlcs.RESULTS[resolution])
        except LostError:
            return  # it may have been received, so it must not be reported as undelivered
        if not answered:
            raise self._not_held(key, resolution)
        self._tracker.mark_stale()

    async def _answer(self, key: HtlcKey, result: str) -> bool:
        answer = await self._rpc.call("answer", channel_id=key.channel_id.hex(), htlc_id=key.htlc_id, result=result)
        return bool(answer["answered"])

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

    async def _refuse(self, topic: str, payload: Json) -> None:
        if topic == "htlc_intercepted":
            with suppress(LdkRefusedError, *UNREADABLE):
                await self._answer(htlcs.key_of(payload), "fail")
