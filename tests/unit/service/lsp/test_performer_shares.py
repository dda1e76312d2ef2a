"""What one party has done for it does not delay another's: replies along strangers' paths, messages to clients."""

import asyncio
import io
from typing import Any

import pytest
from coincurve import PrivateKey

from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp.interface import LspEvent
from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit
from asyncpay.nodes.base import PeerNotConnectedError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import performer as performer_module
from asyncpay.service.lsp.performer import Performer
from asyncpay.wire import blinding
from asyncpay.wire.blinding import HopData
from asyncpay.wire.messages import BlockReply, BlockStatus, ReleaseReply, ReleaseStatus
from asyncpay.wire.onion import OnionMessage

pytestmark = pytest.mark.anyio

A, B, US, FAR_AWAY, GREEDY = (PrivateKey(bytes([number]) * 32).public_key.format() for number in range(1, 6))
UNKNOWN = ReleaseReply(unblock_hash=bytes(32), status=ReleaseStatus.UNKNOWN)
RELEASED = ReleaseReply(unblock_hash=bytes(32), status=ReleaseStatus.RELEASED)
PID_HASH = bytes(range(32))
ACCEPTED = BlockReply(unblock_hash=bytes(32), status=BlockStatus.ACCEPTED)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SlowNode:
    """A node whose search for a far-away node, and whose messages to a greedy peer, take until they are let go."""

    def __init__(self) -> None:
        self.searches: list[int] = []
        self.sent: list[NodeId] = []
        self.away: set[NodeId] = set()
        self.stuck = 0
        self.proceed = asyncio.Event()

    async def onion_route(self, destination: NodeId, max_lookups: int = 0) -> tuple[NodeId, ...]:
        if destination == FAR_AWAY:
            self.searches.append(max_lookups)
            await self.proceed.wait()
        return (destination,)

    async def send_onion(self, first_hop: NodeId, _: OnionMessage) -> None:
        if first_hop in self.away:
            raise PeerNotConnectedError(first_hop)
        if first_hop == GREEDY:
            self.stuck += 1
            await self.proceed.wait()
            self.stuck -= 1
        self.sent.append(first_hop)

    async def forward_onion(self, message: OnionMessage) -> NodeId:
        await self.send_onion(message.path_key, message)
        return message.path_key


class Played:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.node = SlowNode()
        self.log = io.StringIO()
        self.reports: list[LspEvent] = []
        silent: Any = None
        node: Any = self.node
        self.performer = Performer(node, EventLog(self.log), silent, lambda _: [], self.reports.append, tasks)
        self.performer.node_id = US

    async def perform(self, effect: lsp_io.Effect, times: int = 1) -> None:
        for _ in range(times):
            await self.performer.perform(effect)
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def dropped(self) -> int:
        return self.log.getvalue().count("dropped")


def reply(to: NodeId, client: NodeId | None) -> lsp_io.SendAlong:
    path = blinding.build(blinding.hops_through([to], HopData()), bytes([1]) * 32)
    return lsp_io.SendAlong(path, UNKNOWN if client is None else RELEASED, client)


@pytest.mark.usefixtures("whole_log")
async def test_strangers_searches_of_the_graph_are_one_at_a_time_short_and_delay_no_reply_about_a_block() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        await played.perform(reply(FAR_AWAY, None), times=500)
        assert played.node.searches == [performer_module.MAX_STRANGERS_LOOKUPS]
        assert played.dropped == 500 - 1 - performer_module.MAX_WAITING_REPLIES
        await played.perform(reply(B, A))
        assert played.node.sent == [B]
        played.node.proceed.set()


async def test_one_clients_payees_do_not_delay_anothers() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        await played.perform(reply(FAR_AWAY, GREEDY), times=500)
        assert len(played.node.searches) == 1
        await played.perform(reply(B, A))
        assert played.node.sent == [B]
        played.node.proceed.set()


@pytest.mark.parametrize(
    "flood",
    [
        lsp_io.SendToClient(GREEDY, ACCEPTED),
        lsp_io.Relay(GREEDY, OnionMessage(GREEDY, bytes(1366)), bytes(32)),
        lsp_io.Relay(GREEDY, OnionMessage(GREEDY, bytes(1366)), bytes(32), next_hop=GREEDY),
    ],
)
@pytest.mark.usefixtures("whole_log")
async def test_a_client_that_does_not_read_delays_nobody_elses_messages(flood: lsp_io.Effect) -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        await played.perform(flood, times=500)
        assert played.node.stuck == 1
        assert played.dropped == 500 - 1 - performer_module.MAX_WAITING_MESSAGES
        await played.perform(lsp_io.SendToClient(A, ACCEPTED))
        assert played.node.sent == [A]
        played.node.proceed.set()


async def test_a_slow_next_hop_delays_no_courier_of_the_same_client_to_another() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        await played.perform(lsp_io.Relay(A, OnionMessage(GREEDY, bytes(1366)), bytes(32), next_hop=GREEDY), times=3)
        assert played.node.stuck == 1
        await played.perform(lsp_io.Relay(A, OnionMessage(B, bytes(1366)), bytes(32), next_hop=B))
        assert played.node.sent == [B]
        played.node.proceed.set()


async def test_couriers_to_many_next_hops_that_take_nothing_delay_no_other_message() -> None:
    """A payer names the next hops of its couriers: peers of its own, who need no channel and do not read."""
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        for number in range(performer_module.MAX_MESSAGES_AT_ONCE):
            hop = bytes([3]) + number.to_bytes(32, "big")
            await played.perform(lsp_io.Relay(GREEDY, OnionMessage(GREEDY, bytes(1366)), bytes(32), next_hop=hop))
        assert played.node.stuck == performer_module.MAX_COURIERS_AT_ONCE
        await played.perform(lsp_io.SendToClient(A, ACCEPTED))
        assert played.node.sent == [A]
        played.node.proceed.set()


async def test_the_next_hop_of_a_courier_is_reported() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        await played.perform(lsp_io.Relay(A, OnionMessage(B, bytes(1366)), PID_HASH))
        assert played.reports == [lsp_io.CourierSent(PID_HASH, B)]


async def test_the_next_hop_of_a_courier_is_reported_if_it_is_away() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        played.node.away.add(B)
        message = OnionMessage(B, bytes(1366))
        await played.perform(lsp_io.Relay(A, message, PID_HASH))
        stored = OnionInTransit(source=A, message=message, next_node_id=B, undelivered=True)
        assert played.reports == [lsp_io.CourierSent(PID_HASH, B), stored]


async def test_a_delivery_too_many_is_reported_as_not_made() -> None:
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        deliver = lsp_io.Deliver(GREEDY, bytes(32), OnionMessage(GREEDY, bytes(1366)))
        await played.perform(deliver, times=performer_module.MAX_WAITING_MESSAGES + 2)
        assert played.reports == [lsp_io.DeliveryReported(GREEDY, bytes(32), lsp_io.Delivery.NOT_CONNECTED)]
        played.node.proceed.set()


async def test_after_an_outage_the_node_is_given_a_bounded_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performer_module, "MAX_MESSAGES_AT_ONCE", 3)
    async with asyncio.TaskGroup() as tasks:
        played = Played(tasks)
        clients = [bytes([2]) + number.to_bytes(32, "big") for number in range(10)]
        for client in clients:
            await played.perform(lsp_io.Deliver(client, bytes(32), OnionMessage(GREEDY, bytes(1366))))
        assert played.node.stuck == 3
        played.node.proceed.set()
    assert len(played.node.sent) == 10
    assert [each.delivery for each in played.reports if isinstance(each, lsp_io.DeliveryReported)] == [
        lsp_io.Delivery.DONE
    ] * 10
