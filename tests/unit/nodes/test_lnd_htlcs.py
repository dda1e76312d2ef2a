"""LND's HTLC messages as ours."""

from typing import Any

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, ShortChannelId
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcSettled, NodeEvent
from asyncpay.nodes.lnd.htlcs import held_htlc, is_on_chain, outcome
from asyncpay.nodes.lnd.node import LndNode
from asyncpay.nodes.proto import router_pb2 as router

CHAN_ID = ShortChannelId.parse("700000x12x1")
KEY = HtlcKey(ChannelId.from_name(CHAN_ID), 5)
CIRCUIT: dict[str, Any] = {"incoming_channel_id": CHAN_ID, "incoming_htlc_id": KEY.htlc_id}
FORWARD, SEND, RECEIVE = router.HtlcEvent.FORWARD, router.HtlcEvent.SEND, router.HtlcEvent.RECEIVE
PREIMAGE = bytes(32)


def offer(**changes: object) -> router.ForwardHtlcInterceptRequest:
    values: dict[str, object] = {
        "incoming_circuit_key": router.CircuitKey(chan_id=CHAN_ID, htlc_id=KEY.htlc_id),
        "incoming_expiry": 1000,
        "auto_fail_height": 1000 - 19,
        "outgoing_requested_chan_id": 77,
    }
    return router.ForwardHtlcInterceptRequest(**(values | changes))  # type: ignore[arg-type]


def test_an_htlc_addressed_by_channel() -> None:
    held = held_htlc(offer(), b"peer")
    assert (held.key, held.outgoing_channel, held.outgoing_node) == (KEY, ShortChannelId(77), None)


def test_an_htlc_addressed_by_node_id_has_no_channel() -> None:
    held = held_htlc(offer(outgoing_requested_chan_id=2**64 - 1, outgoing_requested_node_id=b"node"), b"peer")
    assert (held.outgoing_channel, held.outgoing_node) == (None, b"node")


def test_an_older_lnd_does_not_tell_the_node() -> None:
    held = held_htlc(offer(outgoing_requested_chan_id=2**64 - 1), b"peer")
    assert (held.outgoing_channel, held.outgoing_node) == (None, None)


def test_an_htlc_on_chain_is_offered_until_its_own_expiry() -> None:
    assert not is_on_chain(offer())
    assert is_on_chain(offer(auto_fail_height=1000))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            router.HtlcEvent(settle_event=router.SettleEvent(preimage=PREIMAGE), event_type=FORWARD, **CIRCUIT),
            HtlcSettled(KEY, PREIMAGE),
        ),
        (
            router.HtlcEvent(forward_fail_event=router.ForwardFailEvent(), event_type=FORWARD, **CIRCUIT),
            HtlcFailed(KEY),
        ),
        (router.HtlcEvent(link_fail_event=router.LinkFailEvent(), event_type=FORWARD, **CIRCUIT), HtlcFailed(KEY)),
        (router.HtlcEvent(final_htlc_event=router.FinalHtlcEvent(), **CIRCUIT), HtlcGone(KEY)),
        (router.HtlcEvent(forward_event=router.ForwardEvent(), event_type=FORWARD, **CIRCUIT), None),
        (router.HtlcEvent(subscribed_event=router.SubscribedEvent()), None),
        # An own payment, on behalf of somebody or not, has no incoming HTLC; one that ends here is nobody's part.
        (router.HtlcEvent(settle_event=router.SettleEvent(preimage=PREIMAGE), event_type=SEND), None),
        (router.HtlcEvent(forward_fail_event=router.ForwardFailEvent(), event_type=SEND), None),
        (router.HtlcEvent(settle_event=router.SettleEvent(preimage=PREIMAGE), event_type=RECEIVE, **CIRCUIT), None),
    ],
)
def test_outcomes(event: router.HtlcEvent, expected: NodeEvent | None) -> None:
    assert outcome(event) == expected


def test_lnd_takes_no_answer_on_what_comes_back_shortly_before_its_expiry() -> None:
    """lncfg: DefaultIncomingBroadcastDelta is 16, DefaultFinalCltvRejectDelta, DefaultCltvInterceptDelta add 3."""
    assert LndNode.capabilities.cutoff_blocks == 16 + 3 + 3
