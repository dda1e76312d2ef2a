"""HTLCs that LDK forwards: its offers, and the HTLCs on its channels."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, PendingHtlc, Resolution, ShortChannelId
from asyncpay.nodes.numbers import AMOUNT_MSAT, HEIGHT, HTLC_ID

Json = Mapping[str, Any]

FORWARDING_DELTA_BLOCKS = 72
"""ldkd's CLTV delta between an incoming HTLC and the outgoing one (docker/ldk/src/setup.rs, CLTV_EXPIRY_DELTA)."""
FAIL_BACK_BLOCKS = 39
"""LDK fails held HTLCs this long before the *outgoing* expiry (its HTLC_FAIL_BACK_BUFFER)."""
CUTOFF_BLOCKS = FORWARDING_DELTA_BLOCKS + FAIL_BACK_BLOCKS
"""The same before the incoming expiry, if the payer uses exactly the required delta between the two."""

RESULTS = {Resolution.RESUME: "continue", Resolution.FAIL: "fail"}
"""ldkd's results for our resolutions."""


def key_of(payload: Json) -> HtlcKey:
    """Return the HTLC of an event. Raises numbers.UNREADABLE."""
    return HtlcKey(ChannelId.fromhex(payload["channel_id"]), HTLC_ID(payload["htlc_id"]))


def held_htlc(payload: Json) -> HeldHtlc:
    """Return an offered HTLC. numbers.UNREADABLE, if it is to be failed: the payer chose the outgoing values."""
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
    """Return an HTLC of an entry of `listchannels`."""
    return PendingHtlc(
        key=HtlcKey(ChannelId.fromhex(channel["channel_id"]), HTLC_ID(htlc["id"])),
        peer=bytes.fromhex(channel["peer"]),
        incoming=htlc["direction"] == "in",
        payment_hash=bytes.fromhex(htlc["payment_hash"]),
        amount_msat=AMOUNT_MSAT(htlc["amount_msat"]),
        expiry=HEIGHT(htlc["expiry"]),
    )
