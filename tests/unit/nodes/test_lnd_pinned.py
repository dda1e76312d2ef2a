"""Payments through LND along routes that were checked: what is sent is what was checked, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from asyncpay.lightning import ForwardingPolicy, Invoice, PaymentResult, PaymentStatus
from asyncpay.nodes.base import NodeUnreachableError, Payment
from asyncpay.nodes.lnd import channels, pinned
from asyncpay.nodes.lnd.connection import LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln

pytestmark = pytest.mark.anyio
PAYEE, PREIMAGE = b"\2" * 33, b"\3" * 32
HEIGHT, LATEST = 500, 700
NO_ROUTE = LndRefusedError("no", grpc.StatusCode.UNKNOWN, "unable to find a path to destination")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def order(**changes: Any) -> Payment:
    invoice = Invoice(
        text="lnbcrt1",
        payment_hash=bytes(32),
        payee=PAYEE,
        amount_msat=1_001,
        network="regtest",
        expires_at=0,
        min_final_cltv_expiry=80,
    )
    values: dict[str, Any] = {"invoice": invoice, "amount_msat": 1_001, "fee_limit_msat": 10, "latest_expiry": LATEST}
    return Payment(**(values | changes))


def route(amount_msat: int, fee_msat: int = 1, lock: int = HEIGHT + 163, first_channel: int = 7) -> ln.Route:
    return ln.Route(
        total_time_lock=lock,
        total_amt_msat=amount_msat + fee_msat,
        hops=[
            ln.Hop(chan_id=first_channel, pub_key="01" * 33, amt_to_forward_msat=amount_msat),
            ln.Hop(chan_id=8, pub_key=PAYEE.hex(), amt_to_forward_msat=amount_msat),
        ],
    )


class Following:
    """LND's stream about a payment. It does not end before the payment does."""

    def __init__(self, payment: ln.Payment | None) -> None:
        self.payment = payment

    async def __aiter__(self) -> AsyncIterator[ln.Payment]:
        if self.payment is None:
            raise LndRefusedError("no", grpc.StatusCode.NOT_FOUND, "payment isn't initiated")
        yield self.payment
        await asyncio.Event().wait()

    def cancel(self) -> None:
        pass


class Lnd:
    """LND's router: names routes by `find`, ends each part by `end`, and remembers the payment."""

    def __init__(
        self,
        find: Callable[[Any], ln.Route] = lambda request: route(request.amt_msat),
        end: Callable[[Any], ln.HTLCAttempt] = lambda request: ln.HTLCAttempt(status=ln.HTLCAttempt.SUCCEEDED),
        **decoded: Any,
    ) -> None:
        self.find, self.end = find, end
        values: dict[str, Any] = {"payment_addr": b"\1" * 32, "features": {17: ln.Feature()}}
        self.decoded = ln.PayReq(**(values | decoded))
        self.asked: list[Any] = []
        self.sent: list[Any] = []
        self.followed: list[Any] = []
        self.payment: ln.Payment | None = None
        self.channels = [
            ln.Channel(active=True, initiator=True, chan_id=7, local_balance=1),
            ln.Channel(active=True, initiator=True, chan_id=9, local_balance=1),
            ln.Channel(active=False, initiator=True, chan_id=11, local_balance=100),
            ln.Channel(active=True, chan_id=13, local_balance=100),
        ]
        self.policy: ln.RoutingPolicy | None = ln.RoutingPolicy()
        self.address = "lnd:10009"
        self.lightning = self.router = self

    @contextmanager
    def calling(self, _: str) -> Any:
        yield

    async def GetInfo(self, *_: Any, **__: Any) -> Any:  # noqa: N802
        return SimpleNamespace(block_height=HEIGHT)

    async def DecodePayReq(self, *_: Any, **__: Any) -> Any:  # noqa: N802
        return self.decoded

    async def ListChannels(self, *_: Any, **__: Any) -> Any:  # noqa: N802
        return SimpleNamespace(channels=self.channels)

    async def GetChanInfo(self, *_: Any, **__: Any) -> ln.ChannelEdge:  # noqa: N802
        return ln.ChannelEdge(node1_pub="me", node1_policy=self.policy, node2_pub="01" * 33)

    async def QueryRoutes(self, request: Any, **_: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        return ln.QueryRoutesResponse(routes=[self.find(request)])

    async def SendToRouteV2(self, request: Any) -> Any:  # noqa: N802
        self.sent.append(request)
        attempt = self.end(request)
        succeeded = attempt.status == ln.HTLCAttempt.SUCCEEDED
        status = ln.Payment.SUCCEEDED if succeeded else ln.Payment.FAILED
        self.payment = ln.Payment(status=status, payment_preimage=PREIMAGE.hex() if succeeded else "")
        return attempt

    def TrackPaymentV2(self, request: Any) -> Any:  # noqa: N802
        self.followed.append(request)
        return Following(self.payment)


async def pay(lnd: Any, **changes: Any) -> PaymentResult:
    return await pinned.pay(lnd, order(**changes), LATEST)


def failed_by(hop: int) -> ln.HTLCAttempt:
    return ln.HTLCAttempt(status=ln.HTLCAttempt.FAILED, failure=ln.Failure(code=1, failure_source_index=hop))


async def test_exactly_what_was_checked_is_sent() -> None:
    lnd = Lnd()
    result = await pay(lnd)
    assert (result.status, result.preimage) == (PaymentStatus.SUCCEEDED, PREIMAGE)
    (asked,), (sent,) = lnd.asked, lnd.sent
    assert (asked.amt_msat, asked.fee_limit.fixed_msat) == (1_001, 10)
    assert (asked.cltv_limit, asked.final_cltv_delta, asked.use_mission_control) == (LATEST - HEIGHT, 83, True)
    record = sent.route.hops[-1].mpp_record
    assert (record.total_amt_msat, record.payment_addr) == (1_001, b"\1" * 32)
    sent.route.hops[-1].ClearField("mpp_record")
    assert sent.route == route(1_001)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (route(1_001, fee_msat=11), "costs 11 msat, more than 10"),
        (route(1_001, lock=LATEST + 1), "locks until height 701, which is after 700"),
        (route(1_000), "delivers 1000 msat and not 1001"),
        (ln.Route(total_time_lock=600, total_amt_msat=1_001), "does not end at the payee"),
        (ln.Route(hops=[ln.Hop(pub_key="05" * 33, amt_to_forward_msat=1_001)]), "does not end at the payee"),
        (ln.Route(hops=[ln.Hop(pub_key=PAYEE.hex(), encrypted_data=b"x")]), "has a blinded path"),
    ],
)
async def test_a_route_that_breaks_a_limit_is_not_used_although_lnd_names_it(bad: ln.Route, why: str) -> None:
    lnd = Lnd(find=lambda _: bad)
    result = await pay(lnd, max_parts=1)
    assert result.status is PaymentStatus.FAILED
    assert why in result.failure
    assert lnd.sent == []


@pytest.mark.parametrize(
    ("incoming_msat", "incoming_expiry", "why"),
    [
        (1_001 + 1 + 10 + 100, LATEST + 80, None),  # 1 msat is the route's fee; base fee, 10 %, and delta are kept
        (1_001 + 1 + 10 + 99, LATEST + 80, "leaves 109 msat, forwarding over its first channel would earn 110"),
        (1_001 + 1 + 10 + 100, LATEST + 79, "leaves 79 blocks, forwarding over its first channel 80"),
    ],
)
async def test_the_node_keeps_what_forwarding_over_the_first_channel_would_bring(
    incoming_msat: int, incoming_expiry: int, why: str | None
) -> None:
    """Whatever channel the payer's onion named, whose fees the fee limit leaves out already."""
    lnd = Lnd(find=lambda _: route(1_001, 1, LATEST))
    lnd.policy = ln.RoutingPolicy(fee_base_msat=10, fee_rate_milli_msat=100_000, time_lock_delta=80)
    result = await pay(lnd, max_parts=1, incoming_msat=incoming_msat, incoming_expiry=incoming_expiry)
    assert (result.status is PaymentStatus.SUCCEEDED, len(lnd.sent)) == ((True, 1) if why is None else (False, 0))
    assert why is None or why in result.failure


async def test_a_first_channel_of_unknown_policy_is_not_used() -> None:
    lnd = Lnd()
    lnd.policy = None
    result = await pay(lnd, max_parts=1, incoming_msat=9_999, incoming_expiry=9_999)
    assert (result.status, lnd.sent) == (PaymentStatus.FAILED, [])
    assert "knows no forwarding policy" in result.failure


async def test_no_route_begins_with_a_channel_whose_feerate_the_peer_sets() -> None:
    """It could keep LND's close from confirming until the held parts have gone back, and take the payment then."""
    lnd = Lnd(find=lambda _: route(1_001, first_channel=13))
    result = await pay(lnd, max_parts=1)
    assert (result.status, lnd.sent) == (PaymentStatus.FAILED, [])
    assert "begins with a channel that this node did not open" in result.failure
    assert [list(asked.outgoing_chan_ids) for asked in lnd.asked] == [[7, 9]]
    del lnd.channels[:3]
    assert "no usable channel that this node opened" in (await pay(lnd)).failure
    assert len(lnd.asked) == 1


async def test_a_route_at_its_limits_is_used() -> None:
    assert (await pay(Lnd(find=lambda _: route(1_001, 10, LATEST)))).status is PaymentStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("decoded", "changes", "why"),
    [
        ({"payment_addr": bytes(32)}, {}, "no payment_secret"),
        ({}, {"invoice": replace(order().invoice, needs_metadata=True)}, "payment metadata"),
        ({"blinded_paths": [ln.BlindedPaymentPath()]}, {}, "blinded paths"),
        ({}, {"amount_msat": 1_002}, "only the invoice's own amount"),
        ({}, {"slack_blocks": 1}, "only the invoice's own amount"),
        ({}, {"fee_limit_msat": -1}, "nothing is left for fees"),
    ],
)
async def test_what_cannot_be_paid_along_a_checked_route(
    decoded: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    lnd = Lnd(**decoded)
    result = await pay(lnd, **changes)
    assert (result.status, lnd.asked, lnd.sent) == (PaymentStatus.FAILED, [], [])
    assert why in result.failure


async def test_parts_share_the_amount_and_the_fees_over_channels_with_room() -> None:
    def find(request: Any) -> ln.Route:
        if request.amt_msat > 600:
            raise NO_ROUTE
        return route(request.amt_msat, first_channel=request.outgoing_chan_ids[0])

    lnd = Lnd(find=find)
    assert (await pay(lnd)).status is PaymentStatus.SUCCEEDED
    parts = [sent.route for sent in lnd.sent]
    assert [part.hops[-1].amt_to_forward_msat for part in parts] == [500, 501]
    assert [part.hops[0].chan_id for part in parts] == [7, 9]
    assert {part.hops[-1].mpp_record.total_amt_msat for part in parts} == {1_001}
    assert [asked.fee_limit.fixed_msat for asked in lnd.asked[-2:]] == [4, 5]


async def test_a_part_that_hangs_does_not_hide_that_another_has_settled() -> None:
    hanging = ln.HTLCAttempt(status=ln.HTLCAttempt.IN_FLIGHT)
    settled = ln.HTLCAttempt(status=ln.HTLCAttempt.SUCCEEDED, preimage=PREIMAGE)

    class OneHangs(Lnd):
        async def SendToRouteV2(self, request: Any) -> Any:  # noqa: N802
            self.sent.append(request)
            if len(self.sent) == 1:
                await asyncio.Event().wait()
            self.payment = ln.Payment(status=ln.Payment.IN_FLIGHT, htlcs=[hanging, settled])
            return settled

    def find(request: Any) -> ln.Route:
        if request.amt_msat > 600:
            raise NO_ROUTE
        return route(request.amt_msat, first_channel=request.outgoing_chan_ids[0])

    lnd = OneHangs(find=find)
    async with asyncio.timeout(10):
        result = await pay(lnd)
    assert (result.status, result.preimage, len(lnd.sent)) == (PaymentStatus.SUCCEEDED, PREIMAGE, 2)
    assert not any(asked.no_inflight_updates for asked in lnd.followed)


async def test_a_payee_that_takes_no_parts_gets_none() -> None:
    def find(_: Any) -> ln.Route:
        raise NO_ROUTE

    lnd = Lnd(find=find, features={9: ln.Feature()})
    assert (await pay(lnd)).failure == NO_ROUTE.details
    assert len(lnd.asked) == 1


async def test_failed_on_the_way_another_route_is_tried_and_failed_by_the_payee_none() -> None:
    ends = [failed_by(1), failed_by(2)]
    lnd = Lnd(end=lambda _: ends.pop(0))
    result = await pay(lnd)
    assert (result.status, len(lnd.sent)) == (PaymentStatus.FAILED, 2)
    assert "hop 2" in result.failure


async def test_a_route_that_always_fails_is_given_up() -> None:
    lnd = Lnd(end=lambda _: failed_by(1))
    assert (await pay(lnd)).status is PaymentStatus.FAILED
    assert len(lnd.sent) == pinned.MOST_ATTEMPTS


async def test_nothing_is_sent_once_the_time_is_over() -> None:
    lnd = Lnd()
    result = await pay(lnd, timeout_seconds=0)
    assert (result.status, result.failure, lnd.sent) == (PaymentStatus.FAILED, "no route was found within 0 s", [])


async def test_a_call_that_broke_has_not_failed() -> None:
    def end(_: Any) -> ln.HTLCAttempt:
        raise NodeUnreachableError("LND is away")

    with pytest.raises(NodeUnreachableError):
        await pay(Lnd(end=end))


@pytest.mark.parametrize(
    ("said", "known", "decided"),
    [
        ("payment has failure reason", True, True),
        ("attempted value exceeds payment amount: attempted=2 mSAT, payment amount=1 mSAT", True, True),
        ("payment has failure reason", False, False),  # LND had forgotten it, or never stored it
        ("Received RST_STREAM with error code 2", True, False),
        ("database is locked", True, False),
    ],
)
async def test_only_lnds_word_that_a_part_was_not_added_means_that_it_was_not_sent(
    said: str, known: bool, decided: bool
) -> None:
    lnd = Lnd()

    def end(_: Any) -> ln.HTLCAttempt:
        lnd.payment = ln.Payment(status=ln.Payment.FAILED) if known else None
        raise LndRefusedError("LND did not send", grpc.StatusCode.UNKNOWN, said)

    lnd.end = end
    if decided:
        assert (await pay(lnd)).status is PaymentStatus.FAILED
    else:
        with pytest.raises(NodeUnreachableError):
            await pay(lnd)


async def test_what_lnd_knows_is_not_sent_again() -> None:
    for status, said in ((ln.Payment.SUCCEEDED, PaymentStatus.SUCCEEDED), (ln.Payment.FAILED, PaymentStatus.FAILED)):
        lnd = Lnd()
        lnd.payment = ln.Payment(status=status, payment_preimage=PREIMAGE.hex())
        assert (await pay(lnd)).status is said
        assert lnd.sent == []


@pytest.mark.parametrize(
    ("type_", "dust_sat"), [(ln.ANCHORS, 573), (ln.SIMPLE_TAPROOT, 573), (ln.STATIC_REMOTE_KEY, 573 + 706)]
)
def test_below_which_amount_an_htlc_has_no_output(type_: ln.CommitmentType.ValueType, dust_sat: int) -> None:
    channel = ln.Channel(
        fee_per_kw=1_000,
        commitment_type=type_,
        local_constraints=ln.ChannelConstraints(dust_limit_sat=354),
        remote_constraints=ln.ChannelConstraints(dust_limit_sat=573),
    )
    assert channels.dust_msat(channel) == 1_000 * dust_sat


def test_the_own_policy_is_that_of_the_end_that_is_not_the_peer() -> None:
    peer = b"\2" * 33
    ours = ln.RoutingPolicy(fee_base_msat=1, fee_rate_milli_msat=2, time_lock_delta=3)
    theirs = ln.RoutingPolicy(fee_base_msat=9)
    known = ForwardingPolicy(fee_base_msat=1, fee_ppm=2, cltv_delta_blocks=3)
    first = ln.ChannelEdge(node1_pub=peer.hex(), node2_pub="03", node1_policy=theirs, node2_policy=ours)
    second = ln.ChannelEdge(node1_pub="01", node2_pub=peer.hex(), node1_policy=ours, node2_policy=theirs)
    assert [channels.own_policy(edge, peer) for edge in (first, second)] == [known, known]
    assert channels.own_policy(ln.ChannelEdge(node1_pub=peer.hex(), node1_policy=theirs), peer) is None
