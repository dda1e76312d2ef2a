"""What CLN's hooks and notifications say, in our words."""

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, Link, PendingHtlc, ShortChannelId
from asyncpay.node_events import HtlcFailed, HtlcSettled, OnionInTransit, OnionReceived
from asyncpay.nodes.cln import channels, onions
from asyncpay.wire.blinding import BlindedHop, BlindedPath, ChannelEnd
from asyncpay.wire.onion import OnionMessage

PEER = "02" * 33
SCID = ShortChannelId.parse("103x1x0")
CHANNEL_ID = ChannelId(b"\xcc" * 32)


def channel(**changes: object) -> dict[str, object]:
    return {
        "channel_id": "cc" * 32,
        "peer_id": PEER,
        "state": "CHANNELD_NORMAL",
        "peer_connected": True,
        "reestablished": True,
        "short_channel_id": "103x1x0",
        "alias": {"local": "9x8x7", "remote": "6x5x4"},
        "htlcs": [],
    } | changes


def htlc(state: str = "RCVD_ADD_ACK_REVOCATION", direction: str = "in") -> dict[str, object]:
    return {
        "direction": direction,
        "id": 7,
        "amount_msat": 1_001,
        "expiry": 500,
        "payment_hash": "ab" * 32,
        "state": state,
    }


def test_an_offer() -> None:
    payload = {
        "peer_id": PEER,
        "onion": {"short_channel_id": "104x1x1", "forward_msat": 1_000, "outgoing_cltv_value": 400},
        "htlc": {
            "short_channel_id": "103x1x0",
            "id": 7,
            "amount_msat": 1_001,
            "cltv_expiry": 440,
            "payment_hash": "ab" * 32,
        },
    }
    held = channels.held_htlc(payload, CHANNEL_ID)
    assert (held.key, held.peer, held.payment_hash) == (HtlcKey(CHANNEL_ID, 7), bytes.fromhex(PEER), b"\xab" * 32)
    assert (held.incoming_amount_msat, held.incoming_expiry) == (1_001, 440)
    assert (held.outgoing_amount_msat, held.outgoing_expiry) == (1_000, 400)
    assert (held.outgoing_channel, held.outgoing_node) == (ShortChannelId.parse("104x1x1"), None)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"status": "offered"}, None),
        ({"status": "settled", "preimage": "cd" * 32}, HtlcSettled(HtlcKey(CHANNEL_ID, 7), b"\xcd" * 32)),
        ({"status": "failed"}, HtlcFailed(HtlcKey(CHANNEL_ID, 7))),
        ({"status": "local_failed"}, HtlcFailed(HtlcKey(CHANNEL_ID, 7))),
    ],
)
def test_outcomes(event: dict[str, str], said: object) -> None:
    assert channels.outcome({"in_channel": "103x1x0", "in_htlc_id": 7} | event, CHANNEL_ID) == said


def test_a_channel_and_what_is_on_it() -> None:
    link = channels.link_of(channel())
    assert link == Link(
        channel_id=CHANNEL_ID,
        short_channel_id=SCID,
        aliases=frozenset({ShortChannelId.parse("9x8x7")}),
        peer=bytes.fromhex(PEER),
        usable=True,
    )
    assert channels.pending_htlcs(channel(htlcs=[htlc()])) == [
        PendingHtlc(
            key=HtlcKey(CHANNEL_ID, 7),
            peer=bytes.fromhex(PEER),
            incoming=True,
            payment_hash=b"\xab" * 32,
            amount_msat=1_001,
            expiry=500,
        )
    ]


def test_an_unconfirmed_channel_goes_by_its_alias() -> None:
    fresh = channel()
    del fresh["short_channel_id"]
    assert channels.link_of(fresh).short_channel_id == ShortChannelId.parse("9x8x7")
    assert channels.link_of(fresh).channel_id == channels.link_of(channel()).channel_id


def test_a_channel_that_is_to_be_closed_takes_no_more_htlcs() -> None:
    closing = channels.link_of(channel(state="CHANNELD_SHUTTING_DOWN"))
    assert (closing.usable, closing.closing) == (False, True)


def test_a_channel_is_usable_once_it_is_reestablished() -> None:
    connecting, away = channel(reestablished=False), channel(peer_connected=False)
    del away["reestablished"]
    assert not channels.link_of(connecting).usable
    assert not channels.link_of(away).usable
    assert channels.is_moving(connecting)
    assert not channels.is_moving(away)


@pytest.mark.parametrize(
    ("state", "direction", "moving"),
    [
        ("RCVD_ADD_ACK_REVOCATION", "in", False),
        ("SENT_REMOVE_HTLC", "in", True),
        ("RCVD_REMOVE_HTLC", "out", False),
    ],
)
def test_an_htlc_on_its_way_out_is_watched(state: str, direction: str, moving: bool) -> None:
    assert channels.is_moving(channel(htlcs=[htlc(state, direction)])) == moving


def test_an_onion_message_that_ends_here() -> None:
    path = {
        "first_node_id": PEER,
        "first_path_key": "03" * 33,
        "hops": [{"blinded_node_id": "02" + "11" * 32, "encrypted_recipient_data": "ff"}],
    }
    fields = [{"number": 180_003, "value": "05"}, {"number": 999, "value": "00"}]
    payload = {"pathsecret": "aa" * 32, "reply_blindedpath": path, "unknown_fields": fields}
    hops = (BlindedHop(b"\x02" + b"\x11" * 32, b"\xff"),)
    assert onions.received(payload) == OnionReceived(
        path_id=b"\xaa" * 32,
        async_payment=b"\x05",
        reply_path=BlindedPath(bytes.fromhex(PEER), b"\x03" * 33, hops),
    )
    assert onions.received({"unknown_fields": []}) == OnionReceived()


def test_a_reply_path_may_begin_at_a_channel() -> None:
    hops = [{"blinded_node_id": PEER, "encrypted_recipient_data": ""}]
    path = {"first_scid": "103x1x0", "first_scid_dir": 1, "first_path_key": PEER, "hops": hops}
    received = onions.received({"unknown_fields": [], "reply_blindedpath": path})
    assert received.reply_path is not None
    assert received.reply_path.first_node_id == ChannelEnd(1, SCID)


@pytest.mark.parametrize(
    "next_hop", [{"next_node_id": PEER}, {"next_short_channel_id_dir": "103x1x0/1"}], ids=["node", "channel"]
)
def test_an_onion_message_that_could_not_go_on(next_hop: dict[str, str]) -> None:
    payload = {"source": "03" * 33, "incoming": "0011", "path_key": "02" * 33} | next_hop
    assert onions.undelivered(payload, {SCID: bytes.fromhex(PEER)}.get) == OnionInTransit(
        source=b"\x03" * 33,
        message=OnionMessage(b"\x02" * 33, b"\x00\x11"),
        next_node_id=bytes.fromhex(PEER),
        undelivered=True,
    )


@pytest.mark.parametrize("next_hop", [{}, {"next_short_channel_id_dir": "1x1x1/0"}], ids=["unreadable", "stranger"])
def test_one_for_nobody_known_is_nothing(next_hop: dict[str, str]) -> None:
    payload = {"source": "03" * 33, "incoming": "0011", "path_key": "02" * 33} | next_hop
    assert onions.undelivered(payload, {SCID: bytes.fromhex(PEER)}.get) is None
