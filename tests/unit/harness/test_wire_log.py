"""Lines of ldkd's log; those of LND and Core Lightning are in tests/unit/harness/timeline/recordings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nodes.wire_log import LdkLog, PeerGone, WireMessage

PEER = "0219b79cc194dbf77fefaf57b923a5364445850e38c3a36ee8d21f4cd535b0ddf7"
CHANNEL, HASH = "90" * 32, "a7" * 32
HTLC = f"channel_id={CHANNEL} id=7"
ADD = f"1795830571.654 MESSAGE sent {PEER} update_add_htlc {HTLC} amount_msat=25003075 expiry=1007 payment_hash={HASH}"


def test_an_offered_htlc_has_all_its_fields() -> None:
    assert LdkLog.read(ADD) == WireMessage(
        True, PEER, "update_add_htlc", 1795830571.654, CHANNEL, 7, 25_003_075, 1_007, HASH
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            f"update_fulfill_htlc {HTLC} payment_hash={HASH}",
            WireMessage(False, PEER, "update_fulfill_htlc", 5.001, CHANNEL, 7, payment_hash=HASH),
        ),
        (f"update_fail_htlc {HTLC}", WireMessage(False, PEER, "update_fail_htlc", 5.001, CHANNEL, 7)),
        (f"onion_message path_key={PEER}", WireMessage(False, PEER, "onion_message", 5.001, key=PEER)),
        ("custom_37913", WireMessage(False, PEER, "custom_37913", 5.001)),
        ("error", WireMessage(False, PEER, "error", 5.001)),
    ],
)
def test_other_messages_have_the_fields_that_identify_them(said: str, message: WireMessage) -> None:
    assert LdkLog.read(f"5.001 MESSAGE received {PEER} {said}") == message


def test_the_end_of_a_connection() -> None:
    assert LdkLog.read(f"5.001 DISCONNECTED {PEER}") == PeerGone(PEER, 5.001)


@pytest.mark.parametrize(
    "line",
    [
        "INFO lightning::ln::channel:8383 Received channel_ready from peer for channel 900420e8",
        ADD + "0",
        ADD + " more",
        ADD.replace("id=7", "id=-7"),
        ADD.replace(PEER, PEER[:-1]),
        ADD.replace("update_add_htlc", "update_fee"),
        f"5.001 MESSAGE received {PEER} update_fail_htlc",
        f"5.001 MESSAGE received {PEER} custom_37913 data=00",
        f"5.001 MESSAGE received {PEER}",
        "",
    ],
)
def test_lines_of_another_form_are_ignored(line: str) -> None:
    assert LdkLog.read(line) is None


@given(st.text(max_size=40), st.integers(0, len(ADD)), st.integers(0, len(ADD)))
def test_no_line_is_an_error(text: str, begin: int, end: int) -> None:
    LdkLog.read(ADD[:begin] + text + ADD[end:])
