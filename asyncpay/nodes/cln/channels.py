"""CLN's peers, channels and the HTLCs on them: their state, the offers of CLN's hook, and their outcomes."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Link, NodeId, PendingHtlc, Resolution, ShortChannelId
from asyncpay.node_events import HtlcFailed, HtlcSettled
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.event_stream import NodeSnapshot, by_id
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, HTLC_ID

Json = Mapping[str, Any]

OPEN = ("CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE")
"""The states in which HTLCs can be added to a channel."""
CLOSING = "CHANNELD_SHUTTING_DOWN"
"""The state in which the HTLCs on a channel are failed or settled before its mutual close."""
GOING_ON_CHAIN = ("CLOSINGD_COMPLETE", "AWAITING_UNILATERAL", "FUNDING_SPEND_SEEN", "ONCHAIN", "CLOSED")
"""The states in which a channel's last transaction is broadcast: `close` refuses then."""

ONION_MESSAGES = 0b11 << 38
"""`option_onion_messages` (BOLT 9), required and optional."""


async def snapshot(rpc: Rpc) -> NodeSnapshot:
    """Return the current peers and channels.

    CLN reports that a peer has connected before its channels are re-established, and does not report when an HTLC is
    removed from its incoming channel.
    """
    listed = await listed_channels(rpc)
    channels = [channel for channel in listed if _carries_htlcs(channel)]
    peers = await connected_peers(rpc)
    return NodeSnapshot(
        links=by_id(*map(link_of, channels)),
        online=frozenset(peers),
        relaying=frozenset(peer for peer, told in peers.items() if relays(told.get("features", ""))),
        names={name: channel_id(channel) for channel in listed for name in names_of(channel)},
        htlcs=frozenset(htlc.key for channel in channels for htlc in pending_htlcs(channel) if htlc.incoming),
        moving=any(is_moving(channel) for channel in channels),
    )


async def listed_channels(rpc: Rpc) -> list[Json]:
    """Return the entries of `listpeerchannels`; channels that are still being negotiated have no id yet."""
    channels = (await rpc.call("listpeerchannels"))["channels"]
    return [channel for channel in channels if "channel_id" in channel]


async def open_channels(rpc: Rpc) -> list[Json]:
    """Return the entries of `listpeerchannels` whose HTLCs can be resolved, usable now or not."""
    return list(filter(_carries_htlcs, await listed_channels(rpc)))


async def connected_peers(rpc: Rpc) -> dict[NodeId, Json]:
    """Return the connected peers, by their node ids."""
    peers = (await rpc.call("listpeers"))["peers"]
    return {bytes.fromhex(peer["id"]): peer for peer in peers if peer["connected"]}


async def force_close(rpc: Rpc, channel_id: ChannelId) -> None:
    """See Node.force_close. For one second lightningd tries a mutual close, which waits for the HTLCs on the channel.

    It answers when the commitment transaction is broadcast (json_close in lightningd/closing_control.c).
    """
    if len(channel_id) != 32:
        raise NodeError(f"CLN at {rpc.socket} has no channel {channel_id}: its channels have ids of 32 bytes")
    for channel in await listed_channels(rpc):
        if channel["channel_id"] == channel_id.hex() and channel["state"] not in GOING_ON_CHAIN:
            await rpc.call("close", id=channel_id.hex(), unilateraltimeout=1)


def relays(features: str) -> bool:
    """Return whether a node with these feature bits (BOLT 9, in hex) relays onion messages."""
    return bool(int(features or "0", 16) & ONION_MESSAGES)


def channel_id(channel: Json) -> ChannelId:
    """Return BOLT 2's channel_id, which neither confirmation nor a splice changes."""
    return ChannelId.fromhex(channel["channel_id"])


def names_of(channel: Json) -> tuple[ShortChannelId, ...]:
    """Return this node's names of a channel: its short channel id, if confirmed, and our alias. CLN uses the first one
    in hooks and events. Names from before a splice are not listed.
    """
    names = channel.get("short_channel_id"), channel.get("alias", {}).get("local")
    return tuple(dict.fromkeys(ShortChannelId.parse(name) for name in names if name is not None))


def link_of(channel: Json) -> Link:
    """Return the link for a channel that carries HTLCs."""
    name, *aliases = names_of(channel)
    return Link(
        channel_id=channel_id(channel),
        short_channel_id=name,
        aliases=frozenset(aliases),
        peer=bytes.fromhex(channel["peer_id"]),
        usable=channel["state"] in OPEN and channel["peer_connected"] and channel["reestablished"],
        closing=channel["state"] == CLOSING,
    )


def pending_htlcs(channel: Json) -> list[PendingHtlc]:
    """Return the HTLCs on a channel."""
    return [pending_htlc(channel, channel_id(channel), htlc) for htlc in channel["htlcs"]]


def _carries_htlcs(channel: Json) -> bool:
    return channel["state"] in OPEN or channel["state"] == CLOSING


def is_moving(channel: Json) -> bool:
    """Return whether a change is pending: the connected peer is re-establishing the channel, or an HTLC is leaving."""
    if not channel["peer_connected"]:
        return False
    leaving = (htlc["direction"] == "in" and "REMOVE" in htlc["state"] for htlc in channel["htlcs"])
    return not channel["reestablished"] or any(leaving)


RESULTS = {Resolution.RESUME: "continue", Resolution.FAIL: "fail", Resolution.SETTLE: "resolve"}
"""The hook's results for our resolutions."""


def incoming_channel(payload: Json) -> ShortChannelId:
    """Return the name of the channel of an `htlc_accepted` at the time of the hook's call."""
    return ShortChannelId.parse(payload["htlc"]["short_channel_id"])


def held_htlc(payload: Json, channel_id: ChannelId) -> HeldHtlc:
    """Return the HTLC that CLN offers (`htlc_accepted`). Its onion names a channel or, on a blinded path, maybe a node.

    numbers.UNREADABLE, if it is to be failed: the payer chose the outgoing values.
    """
    onion, htlc = payload["onion"], payload["htlc"]
    channel, node = onion.get("short_channel_id"), onion.get("next_node_id")
    return HeldHtlc(
        key=HtlcKey(channel_id, HTLC_ID(htlc["id"])),
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        peer=bytes.fromhex(payload["peer_id"]),
        incoming_amount_msat=AMOUNT_MSAT(htlc["amount_msat"]),
        outgoing_amount_msat=AMOUNT_MSAT(onion["forward_msat"]),
        incoming_expiry=HEIGHT(htlc["cltv_expiry"]),
        outgoing_expiry=HEIGHT(onion["outgoing_cltv_value"]),
        outgoing_channel=None if channel is None else ShortChannelId.parse(channel),
        outgoing_node=None if node is None else bytes.fromhex(node),
    )


def outcome(event: Json, channel_id: ChannelId) -> HtlcSettled | HtlcFailed | None:
    """Return the outcome of an incoming HTLC in a `forward_event`; None if it only reports progress."""
    key = HtlcKey(channel_id, HTLC_ID(event["in_htlc_id"]))
    match event["status"]:
        case "settled" if "preimage" in event:
            return HtlcSettled(key, bytes.fromhex(event["preimage"]))
        case "failed" | "local_failed":
            return HtlcFailed(key)
    return None


def pending_htlc(channel: Json, channel_id: ChannelId, htlc: Json) -> PendingHtlc:
    """Return an HTLC of an entry of `listpeerchannels`."""
    return PendingHtlc(
        key=HtlcKey(channel_id, htlc["id"]),
        peer=bytes.fromhex(channel["peer_id"]),
        incoming=htlc["direction"] == "in",
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        amount_msat=htlc["amount_msat"],
        expiry=htlc["expiry"],
    )
