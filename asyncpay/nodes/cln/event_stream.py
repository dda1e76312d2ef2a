"""The plugin's reports as one stream of events. It ends when lightningd stops, or when another process attaches."""

import logging
from contextlib import suppress
from hashlib import sha256
from typing import Any

from asyncpay.lightning import ChannelId, HtlcKey, Resolution, ShortChannelId
from asyncpay.node_events import (
    BlockConnected,
    CustomMessage,
    HtlcFailed,
    HtlcOffered,
    InvoicePaid,
    NodeEvent,
)
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.cln import channels, onions
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, HTLC_ID, UNREADABLE
from asyncpay.nodes.polled_stream import PolledStream
from asyncpay.nodes.unix_rpc import LostError
from asyncpay.wire.errors import WireError

UNKNOWN_METHOD = -32601
"""JSON-RPC's error code; lightningd returns it if no plugin has registered the method."""

log = logging.getLogger(__name__)


class EventStream(PolledStream):
    """One session of the event stream. It must be closed."""

    implementation = "CLN"
    attach_method, events_method, height_field = "asyncpay-attach", "asyncpay-events", "blockheight"

    def __init__(self, rpc: Rpc) -> None:
        super().__init__(rpc.call, rpc.socket, lambda: channels.snapshot(rpc))
        self._rpc = rpc
        self.offered: dict[HtlcKey, ShortChannelId] = {}
        """The name of an HTLC's channel at the time of the hook's call: the plugin identifies the HTLC by that name."""

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> None:
        """See Node.resolve_htlc."""
        name = self.offered.pop(key, None)
        if name is None:
            raise self._not_held(key, resolution)
        try:
            answer = await self._rpc.call(
                "asyncpay-answer",
                short_channel_id=str(name),
                htlc_id=key.htlc_id,
                result=channels.RESULTS[resolution],
                payment_key=None if preimage is None else preimage.hex(),
            )
        except LostError:
            return  # it may have been received, so it must not be reported as undelivered
        if not answer["answered"]:
            raise self._not_held(key, resolution)
        self._tracker.mark_stale()

    async def _take(self, topic: str, payload: dict[str, Any]) -> None:
        """Translate one event of the plugin."""
        match topic:
            case "htlc_accepted":
                name = channels.incoming_channel(payload)
                offer = channels.held_htlc(payload, await self._channel_of(payload))
                self.offered[offer.key] = name
                self._tracker.expect_to_leave(offer.key)
                await self._events.put(HtlcOffered(offer))
            case "htlc_given_up":
                given_up = HtlcKey(await self._channel_of(payload), HTLC_ID(payload["htlc"]["id"]))
                self.offered.pop(given_up, None)
                await self._events.put(HtlcFailed(given_up))
                self._tracker.mark_stale()
            case "forward_event":
                channel_id = await self._channel_named(ShortChannelId.parse(payload["in_channel"]))
                if event := channels.outcome(payload, channel_id):
                    await self._events.put(event)
                    self._tracker.mark_stale()
            case "connect" | "disconnect":
                await self._tracker.peer_event(bytes.fromhex(payload["id"]), online=topic == "connect")
            case "channel_opened" | "channel_state_changed":
                self._tracker.mark_stale()
            case "block_added":
                await self._events.put(BlockConnected(HEIGHT(payload["height"])))
                self._tracker.mark_stale()
            case "custommsg":
                message = bytes.fromhex(payload["payload"])
                peer = bytes.fromhex(payload["peer_id"])
                await self._events.put(CustomMessage(peer, int.from_bytes(message[:2], "big"), message[2:]))
            case "invoice_payment":
                payment_hash = sha256(bytes.fromhex(payload["preimage"])).digest()
                await self._events.put(InvoicePaid(payment_hash, AMOUNT_MSAT(payload["msat"])))
            case _:
                await self._take_onion(topic, payload)

    async def _refuse(self, topic: str, payload: dict[str, Any]) -> None:
        if topic == "htlc_accepted":
            with suppress(ClnRefusedError, *UNREADABLE):
                name, number = payload["htlc"]["short_channel_id"], payload["htlc"]["id"]
                await self._rpc.call("asyncpay-answer", short_channel_id=name, htlc_id=number, result="fail")

    async def _channel_of(self, payload: dict[str, Any]) -> ChannelId:
        """Return the channel of an `htlc_accepted`. Shortly after the hook's call the plugin knows the channel's id."""
        if known := payload.get("channel_id"):
            return ChannelId.fromhex(known)
        return await self._channel_named(channels.incoming_channel(payload))

    async def _channel_named(self, name: ShortChannelId) -> ChannelId:
        """Return the channel that has this name, or had it at the time of the hook's call. If the name is unknown now,
        it serves as channel id: the offered HTLC can be resolved, and the next list of HTLCs shows that it is gone.
        """
        return await self._tracker.channel_named(name) or ChannelId.from_name(name)

    async def _take_onion(self, topic: str, payload: dict[str, Any]) -> None:
        try:
            if topic == "onionmessage_forward_fail":
                event: NodeEvent | None = onions.undelivered(payload, self._tracker.peer_named)
            else:
                event = onions.received(payload)
        except WireError as error:
            log.info("dropped an onion message: %s", error)
            return
        if event is not None:
            await self._events.put(event)

    def _absence(self, error: NodeError) -> NodeUnreachableError:
        """Return the error; without the plugin the node counts as unreachable."""
        if isinstance(error, ClnRefusedError) and error.code == UNKNOWN_METHOD:
            return NodeUnreachableError(
                f"{error}. Start lightningd with important-plugin=.../asyncpay/nodes/cln/plugin.py"
            )
        return super()._absence(error)
