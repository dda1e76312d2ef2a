"""Carrying out effects on a node that does not do as it is told: the engine always hears of it, nothing breaks."""

import asyncio
import gc
import io
import warnings
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp.interface import LspEvent
from asyncpay.engine.lsp.records import Method, Webhook
from asyncpay.lightning import ChannelId, HtlcKey, PaymentResult, PaymentStatus, Resolution
from asyncpay.nodes.base import NodeError, NodeUnreachableError, PeerNotConnectedError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import performer as performer_module
from asyncpay.service.lsp.performer import Performer
from asyncpay.wire import blinding
from asyncpay.wire.blinding import BlindedHop, BlindedPath, HopData
from asyncpay.wire.messages import BlockReply, BlockStatus, ReleaseReply, ReleaseStatus
from asyncpay.wire.onion import OnionMessage

HASH = bytes(32)
# The generator of secp256k1 and twice it: points that anybody may use as node ids.
NODE_ID = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
PEER = bytes.fromhex("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5")
KEY = HtlcKey(ChannelId.from_name(1), 2)
MESSAGE = OnionMessage(PEER, bytes(1366))
ORDER = lsp_io.PayOnBehalf(
    payment_hash=HASH,
    invoice="lnbcrt1",
    amount_msat=1,
    fee_limit_msat=1,
    latest_expiry=1,
    incoming_msat=1,
    incoming_expiry=1,
    timeout_seconds=1,
)
RELEASED = ReleaseReply(unblock_hash=HASH, status=ReleaseStatus.RELEASED)
ACCEPTED = BlockReply(unblock_hash=HASH, status=BlockStatus.ACCEPTED)


class FailingNode:
    """Every verb fails, in the way that is asked for; those named in `answers` do not."""

    def __init__(self, error: Exception, **answers: Any) -> None:
        self._error = error
        self._answers = answers

    def __getattr__(self, verb: str) -> Any:
        async def fail(*_: Any, **__: Any) -> Any:
            if verb in self._answers:
                return self._answers[verb]
            raise self._error

        return fail


class SilentNotifier:
    async def notify(self, webhooks: Iterable[Webhook], method: Method, expiry_height: int | None) -> bool:
        return False


def perform(effect: lsp_io.Effect, error: Exception, **answers: Any) -> list[LspEvent]:
    """What is reported when this effect meets a node that fails like this."""
    reports: list[LspEvent] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            node: Any = FailingNode(error, **answers)
            performer = Performer(node, EventLog(io.StringIO()), SilentNotifier(), lambda _: [], reports.append, tasks)
            performer.node_id = NODE_ID
            await performer.perform(effect)

    asyncio.run(run())
    return reports


def in_flight(*, of_order: bool) -> LspEvent:
    return lsp_io.PaymentReported(HASH, PaymentResult(status=PaymentStatus.IN_FLIGHT), of_order)


AWAY = NodeUnreachableError("LND at x is away")
REFUSED = NodeError("LND at x refused")


def test_an_answer_that_never_left_is_told() -> None:
    assert perform(lsp_io.ResolveHtlc(KEY, Resolution.FAIL), AWAY) == [lsp_io.ResolutionUndelivered(KEY)]


@pytest.mark.parametrize("error", [AWAY, REFUSED])
def test_a_payment_whose_fate_is_not_known_counts_as_under_way(error: Exception) -> None:
    assert perform(ORDER, error, decode_invoice=object()) == [in_flight(of_order=True)]
    assert perform(lsp_io.TrackPayment(HASH), error) == [in_flight(of_order=False)]


@pytest.mark.parametrize("error", [AWAY, REFUSED])
def test_terms_that_the_node_does_not_tell(error: Exception) -> None:
    query = lsp_io.QueryTerms(block=HASH, payment_hash=HASH, peers=frozenset({PEER}))
    known = PaymentResult(status=PaymentStatus.SUCCEEDED)
    assert perform(query, error) == [lsp_io.TermsReported(HASH, None)]
    assert perform(query, error, look_up_payment=known) == [lsp_io.TermsReported(HASH, None)]
    answers = {"look_up_payment": known, "channel_terms": []}
    assert perform(query, error, **answers) == [lsp_io.TermsReported(HASH, (), PaymentStatus.SUCCEEDED)]


def test_a_payment_that_cannot_begin_has_failed() -> None:
    (report,) = perform(ORDER, REFUSED)
    assert isinstance(report, lsp_io.PaymentReported)
    assert (report.result.status, report.of_order) == (PaymentStatus.FAILED, True)


def test_an_invoice_that_could_not_be_read_because_the_node_is_away_has_not_failed() -> None:
    assert perform(ORDER, AWAY) == [in_flight(of_order=True)]


@pytest.mark.parametrize("error", [AWAY, REFUSED])
def test_a_force_close_has_ended_whether_the_node_did_it_or_not(error: Exception) -> None:
    effect = lsp_io.ForceClose(KEY.channel_id)
    assert perform(effect, error) == [lsp_io.ForceCloseReported(KEY.channel_id)]
    assert perform(effect, error, force_close=None) == [lsp_io.ForceCloseReported(KEY.channel_id)]


@pytest.mark.parametrize("error", [AWAY, REFUSED, PeerNotConnectedError(PEER)])
def test_a_message_that_did_not_go_is_not_delivered(error: Exception) -> None:
    effect = lsp_io.Deliver(PEER, HASH, MESSAGE)
    assert perform(effect, error) == [lsp_io.DeliveryReported(PEER, HASH, lsp_io.Delivery.NOT_CONNECTED)]


@pytest.mark.parametrize("error", [AWAY, REFUSED, PeerNotConnectedError(PEER)])
def test_messages_that_cannot_be_sent_break_nothing(error: Exception) -> None:
    path = blinding.build(blinding.hops_through([PEER], HopData()), b"\1" * 32)
    perform(lsp_io.SendAlong(path, RELEASED, PEER), error)
    perform(lsp_io.SendToClient(PEER, ACCEPTED), error)


def test_a_reply_path_made_to_be_too_long_breaks_nothing() -> None:
    hops = (BlindedHop(PEER, bytes(60_000)),)
    assert perform(lsp_io.SendAlong(BlindedPath(PEER, PEER, hops), RELEASED, PEER), AWAY, onion_route=(PEER,)) == []


@pytest.mark.parametrize("effect", [ORDER, lsp_io.TrackPayment(HASH), lsp_io.Deliver(PEER, HASH, MESSAGE)])
def test_an_error_that_nobody_foresaw_ends_that_effect_only(effect: lsp_io.Effect) -> None:
    assert len(perform(effect, OverflowError("Python int too large to convert to SQLite INTEGER"))) == 1


def test_an_answer_that_fails_in_an_unknown_way_may_have_got_through() -> None:
    assert perform(lsp_io.ResolveHtlc(KEY, Resolution.RESUME), RuntimeError("no idea")) == []


def test_a_task_that_is_cancelled_before_it_begins_leaves_nothing_that_was_never_awaited() -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            node: Any = FailingNode(NodeError("not asked"))
            performer = Performer(node, EventLog(io.StringIO()), SilentNotifier(), lambda _: [], lambda _: None, tasks)
            await performer.perform(lsp_io.RequestHtlcSnapshot(1))
            raise KeyError("the session ends")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ExceptionGroup):
            asyncio.run(run())
        gc.collect()
    assert [str(each.message) for each in caught] == []


class SlowNode:
    """Takes answers, and keeps those to the HTLCs in `slow` waiting until it is let go."""

    def __init__(self, *slow: HtlcKey) -> None:
        self.slow = slow
        self.begun: list[tuple[HtlcKey, Resolution]] = []
        self.done: list[HtlcKey] = []
        self.proceed = asyncio.Event()

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, _: bytes | None = None) -> None:
        self.begun.append((key, resolution))
        if key in self.slow:
            await self.proceed.wait()
        self.done.append(key)


def answers_to(played: SlowNode, *effects: lsp_io.ResolveHtlc, then: Callable[[Performer], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            node: Any = played
            performer = Performer(node, EventLog(io.StringIO()), SilentNotifier(), lambda _: [], lambda _: None, tasks)
            for effect in effects:
                await performer.perform(effect)
            await asyncio.wait_for(then(performer), 20)

    asyncio.run(run())


async def turns() -> None:
    """As many turns of the event loop as everything takes that waits for nothing."""
    for _ in range(200):
        await asyncio.sleep(0)


def key_of(number: int) -> HtlcKey:
    return HtlcKey(ChannelId.from_name(1), number)


def test_an_answer_that_the_node_is_slow_with_holds_up_no_other() -> None:
    node = SlowNode(key_of(0))
    effects = [lsp_io.ResolveHtlc(key_of(number), Resolution.RESUME) for number in range(5)]

    async def then(performer: Performer) -> None:
        await turns()
        assert node.done == [key_of(number) for number in range(1, 5)], "in their order"
        node.proceed.set()
        await performer.settle()
        assert node.done[-1] == key_of(0)

    answers_to(node, *effects, then=then)


def test_answers_to_one_htlc_are_given_in_their_order() -> None:
    node = SlowNode(key_of(0))
    answers = (Resolution.RESUME, Resolution.FAIL)

    async def then(performer: Performer) -> None:
        await turns()
        assert node.begun == [(key_of(0), Resolution.RESUME)]
        node.proceed.set()
        await performer.settle()
        assert [resolution for _, resolution in node.begun] == list(answers)

    answers_to(node, *(lsp_io.ResolveHtlc(key_of(0), each) for each in answers), then=then)


def test_no_more_answers_are_given_at_a_time_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performer_module, "MAX_ANSWERS_AT_ONCE", 3)
    node = SlowNode(*map(key_of, range(10)))

    async def then(performer: Performer) -> None:
        await turns()
        assert len(node.begun) == 3
        node.proceed.set()
        await performer.settle()
        assert len(node.done) == 10

    answers_to(node, *(lsp_io.ResolveHtlc(key_of(number), Resolution.RESUME) for number in range(10)), then=then)
