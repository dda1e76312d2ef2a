"""HTLCs on their way through CLN: what its hook offers, and what became of them."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, PendingHtlc, ShortChannelId, Verdict
from asyncpay.node_events import HtlcFailed, HtlcSettled
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, HTLC_ID

Json = Mapping[str, Any]

RESULTS = {Verdict.RESUME: "continue", Verdict.FAIL: "fail", Verdict.SETTLE: "resolve"}
"""The hook's words for our verdicts."""


def incoming_channel(payload: Json) -> ShortChannelId:
    """What the channel of an `htlc_accepted` was called when CLN called the hook."""
    return ShortChannelId.parse(payload["htlc"]["short_channel_id"])


def held_htlc(payload: Json, channel_id: ChannelId) -> HeldHtlc:
    """What CLN offers (`htlc_accepted`). All its forwards name a channel, or on blinded paths perhaps a node.

    numbers.UNREADABLE, if it is to be failed: the payer has put the outgoing values there.
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
    """What a `forward_event` says about an incoming HTLC; None for mere progress."""
    key = HtlcKey(channel_id, HTLC_ID(event["in_htlc_id"]))
    match event["status"]:
        case "settled" if "preimage" in event:
            return HtlcSettled(key, bytes.fromhex(event["preimage"]))
        case "failed" | "local_failed":
            return HtlcFailed(key)
    return None


def pending_htlc(channel: Json, channel_id: ChannelId, htlc: Json) -> PendingHtlc:
    """An HTLC of an entry of `listpeerchannels`."""
    return PendingHtlc(
        key=HtlcKey(channel_id, htlc["id"]),
        peer=bytes.fromhex(channel["peer_id"]),
        incoming=htlc["direction"] == "in",
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        amount_msat=htlc["amount_msat"],
        expiry=htlc["expiry"],
    )
