"""HTLCs on their way through CLN: what its hook offers, and what became of them."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import HeldHtlc, HtlcKey, PendingHtlc, ShortChannelId, Verdict
from asyncpay.node_events import HtlcFailed, HtlcSettled

Json = Mapping[str, Any]

RESULTS = {Verdict.RESUME: "continue", Verdict.FAIL: "fail", Verdict.SETTLE: "resolve"}
"""The hook's words for our verdicts."""


def key_of(htlc: Json) -> HtlcKey:
    """The name of the HTLC in a payload of `htlc_accepted`."""
    return HtlcKey(ShortChannelId.parse(htlc["short_channel_id"]), htlc["id"])


def held_htlc(payload: Json) -> HeldHtlc:
    """What CLN offers (`htlc_accepted`). All its forwards name a channel, or on blinded paths perhaps a node."""
    onion, htlc = payload["onion"], payload["htlc"]
    channel, node = onion.get("short_channel_id"), onion.get("next_node_id")
    return HeldHtlc(
        key=key_of(htlc),
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        peer=bytes.fromhex(payload["peer_id"]),
        incoming_amount_msat=htlc["amount_msat"],
        outgoing_amount_msat=onion["forward_msat"],
        incoming_expiry=htlc["cltv_expiry"],
        outgoing_expiry=onion["outgoing_cltv_value"],
        outgoing_channel=None if channel is None else ShortChannelId.parse(channel),
        outgoing_node=None if node is None else bytes.fromhex(node),
    )


def outcome(event: Json) -> HtlcSettled | HtlcFailed | None:
    """What a `forward_event` says about an incoming HTLC; None for mere progress."""
    key = HtlcKey(ShortChannelId.parse(event["in_channel"]), event["in_htlc_id"])
    match event["status"]:
        case "settled" if "preimage" in event:
            return HtlcSettled(key, bytes.fromhex(event["preimage"]))
        case "failed" | "local_failed":
            return HtlcFailed(key)
    return None


def pending_htlc(channel: Json, name: ShortChannelId, htlc: Json) -> PendingHtlc:
    """An HTLC of an entry of `listpeerchannels`."""
    return PendingHtlc(
        key=HtlcKey(name, htlc["id"]),
        peer=bytes.fromhex(channel["peer_id"]),
        incoming=htlc["direction"] == "in",
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        amount_msat=htlc["amount_msat"],
        expiry=htlc["expiry"],
    )
