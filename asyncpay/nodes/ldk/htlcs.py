"""HTLCs on their way through LDK: what it offers, and what is on its channels."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, PendingHtlc, Resolution, ShortChannelId
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, HTLC_ID

Json = Mapping[str, Any]

FORWARDING_DELTA_BLOCKS = 72
"""What ldkd asks for between an incoming HTLC and the outgoing one (docker/ldk/src/setup.rs, CLTV_EXPIRY_DELTA)."""
FAIL_BACK_BLOCKS = 39
"""LDK fails what it holds this long before the *outgoing* expiry (its HTLC_FAIL_BACK_BUFFER)."""
CUTOFF_BLOCKS = FORWARDING_DELTA_BLOCKS + FAIL_BACK_BLOCKS
"""The same before the incoming expiry, of a payer who asks for as many blocks between the two as is wanted."""

RESULTS = {Resolution.RESUME: "continue", Resolution.FAIL: "fail"}
"""ldkd's words for our resolutions."""


def key_of(payload: Json) -> HtlcKey:
    """The HTLC that an event is about. numbers.UNREADABLE."""
    return HtlcKey(ChannelId.fromhex(payload["channel_id"]), HTLC_ID(payload["htlc_id"]))


def held_htlc(payload: Json) -> HeldHtlc:
    """What ldkd offers. numbers.UNREADABLE, if it is to be failed: the payer has put the outgoing values there."""
    return HeldHtlc(
        key=key_of(payload),
        payment_hash=bytes.fromhex(payload["payment_hash"]),
        peer=bytes.fromhex(payload["peer"]),
        incoming_amount_msat=AMOUNT_MSAT(payload["incoming_amount_msat"]),
        outgoing_amount_msat=AMOUNT_MSAT(payload["outgoing_amount_msat"]),
        incoming_expiry=HEIGHT(payload["incoming_expiry"]),
        outgoing_expiry=HEIGHT(payload["outgoing_expiry"]),
        outgoing_channel=ShortChannelId(payload["outgoing_channel"]),
    )


def pending_htlc(channel: Json, htlc: Json) -> PendingHtlc:
    """An HTLC of an entry of `listchannels`."""
    return PendingHtlc(
        key=HtlcKey(ChannelId.fromhex(channel["channel_id"]), HTLC_ID(htlc["id"])),
        peer=bytes.fromhex(channel["peer"]),
        incoming=htlc["direction"] == "in",
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        amount_msat=AMOUNT_MSAT(htlc["amount_msat"]),
        expiry=HEIGHT(htlc["expiry"]),
    )
