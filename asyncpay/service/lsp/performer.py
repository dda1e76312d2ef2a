"""Performing the effects of the LSP's engine. Each effect is one short method, and none makes decisions."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp.interface import LspEvent
from asyncpay.engine.lsp.records import Webhook
from asyncpay.fair_shares import FairSemaphore, Slot, TooManyError
from asyncpay.lightning import NodeId, PaymentResult, PaymentStatus, Resolution
from asyncpay.log_events import LogEvent
from asyncpay.node_events import OnionInTransit
from asyncpay.nodes.base import (
    MAX_LOOKUPS,
    Node,
    NodeError,
    NodeUnreachableError,
    OnionUnreadableError,
    Payment,
    PeerNotConnectedError,
)
from asyncpay.service.common import onions
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.lsp.pushes import ClientNotifier, Pushes
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockUpdate

MAX_WAITING_MESSAGES = 100
"""The most waiting messages of one client and one kind: answers to its requests, messages stored for it, its couriers;
for couriers with a known next hop: for each next hop. One is sent at a time.
"""
MAX_MESSAGES_AT_ONCE = 256
"""The most concurrent messages to clients, one for each client: after an outage all clients connect."""
MAX_COURIERS_AT_ONCE = 64
"""The most concurrent couriers, one for each next hop. They are separate from all other messages: a payer chooses the
next hops of its couriers, and may choose many that accept nothing.
"""
MAX_QUERIES_AT_ONCE = 8
"""The most concurrent requests to the node for the terms of a block's channels."""
MAX_REPLIES_AT_ONCE = 16
"""The most concurrent replies along a sender's path, each of which may need a search of the graph; one for each client.
"""
MAX_WAITING_REPLIES = 10
"""The most waiting replies to the payees of one client; the same for all senders that ask about an unknown block."""
MAX_STRANGERS_LOOKUPS = 50
"""The most graph look-ups for a sender that asked about an unknown block: enough for a neighbour's neighbour."""
MAX_ANSWERS_AT_ONCE = 32
"""The most concurrent resolutions of HTLCs; for Core Lightning each is a separate call."""


class Performer:
    """Perform effects on a node, and report their results with `report` if the effects require it."""

    def __init__(
        self,
        node: Node,
        event_log: EventLog,
        notifier: ClientNotifier,
        webhooks_of: Callable[[NodeId], list[Webhook]],
        report: Callable[[LspEvent], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.node_id: NodeId = b""  # set when the node is attached
        self._node = node
        self._event_log = event_log
        self._report = report
        self._tasks = tasks
        self._pushes = Pushes(notifier, webhooks_of, report, event_log, tasks)
        self._messages = FairSemaphore(each=1, waiting=MAX_WAITING_MESSAGES, at_once=MAX_MESSAGES_AT_ONCE)
        self._couriers = FairSemaphore(each=1, waiting=MAX_WAITING_MESSAGES, at_once=MAX_COURIERS_AT_ONCE)
        self._queries = FairSemaphore(each=1, waiting=math.inf, at_once=MAX_QUERIES_AT_ONCE)
        self._answers = FairSemaphore(each=1, waiting=math.inf, at_once=MAX_ANSWERS_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._replies = FairSemaphore(each=1, waiting=MAX_WAITING_REPLIES, at_once=MAX_REPLIES_AT_ONCE)

    async def perform(self, effect: lsp_io.Effect) -> None:
        """Begin an effect. Resolutions begin in order, and none waits for another HTLC's, up to MAX_ANSWERS_AT_ONCE:
        the parts of a payment follow each other closely, and a node that is slow with one is not slow with all.
        """
        match effect:
            case lsp_io.ResolveHtlc():
                work = partial(self._answer_in_turn, effect, self._answers.slot(effect.key))
                task = self._tasks.create_task(guarded(self._event_log, f"answer to {effect.key}", work))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case lsp_io.Log():
                write = self._event_log.write_often if effect.block is None else self._event_log.write
                write(
                    effect.what,
                    block=effect.block,
                    payment_hashes=effect.payment_hashes or None,
                    because=effect.because,
                )
            case lsp_io.Notify():
                self._pushes.add(effect)
            case _:
                self._begin(effect)

    async def settle(self) -> None:
        """Return when all resolutions that were begun are sent."""
        while self._answering:
            await asyncio.wait(self._answering)

    def _begin(self, effect: lsp_io.Effect) -> None:
        try:
            slot = self._slot(effect)
        except TooManyError as error:
            self._too_many(effect, error)
            return
        work, failed = partial(self._on_the_side, effect, slot), partial(self._report_failure, effect)
        self._tasks.create_task(guarded(self._event_log, type(effect).__name__, work, failed))

    def _slot(self, effect: lsp_io.Effect) -> AbstractAsyncContextManager[object]:
        """Return the slot of an effect. A client's messages, and its replies, wait only for each other; a courier waits
        for those with the same next hop, if it is known. Strangers are one party.
        """
        match effect:
            case lsp_io.SendAlong():
                return self._replies.slot(effect.client)
            case lsp_io.Relay():
                return self._couriers.slot(effect.client if effect.next_hop is None else (effect.next_hop,))
            case lsp_io.SendToClient() | lsp_io.Deliver():
                return self._messages.slot((type(effect), effect.client))
            case lsp_io.QueryTerms():
                return self._queries.slot(effect.block)
        return nullcontext()

    def _too_many(self, effect: lsp_io.Effect, error: TooManyError) -> None:
        self._event_log.write_often(LogEvent.EFFECT_DROPPED, effect=type(effect).__name__, because=error)
        self._report_failure(effect)

    async def _on_the_side(self, effect: lsp_io.Effect, slot: AbstractAsyncContextManager[object]) -> None:
        try:
            async with slot:
                await self._work(effect)
        except TooManyError as error:
            self._too_many(effect, error)
        except (NodeError, WireError) as error:  # WireError: for example, a reply path that is too long for an onion
            self._event_log.error(LogEvent.EFFECT_FAILED, error, effect=type(effect).__name__)
            self._report_failure(effect)

    def _report_failure(self, effect: lsp_io.Effect) -> None:
        """Report an effect that the node did not carry out as having no known result, so that the engine asks again."""
        match effect:
            case lsp_io.QueryTerms():
                self._report(lsp_io.TermsReported(effect.block, None))
            case lsp_io.PayOnBehalf() | lsp_io.TrackPayment():
                lost = PaymentResult(status=PaymentStatus.IN_FLIGHT)
                of_order = isinstance(effect, lsp_io.PayOnBehalf)
                self._report(lsp_io.PaymentReported(effect.payment_hash, lost, of_order))
            case lsp_io.ForceClose():
                self._report(lsp_io.ForceCloseReported(effect.channel_id))
            case lsp_io.Deliver():
                self._report(lsp_io.DeliveryReported(effect.client, effect.message_id, lsp_io.Delivery.NOT_CONNECTED))

    def _work(self, effect: lsp_io.Effect) -> Coroutine[Any, Any, None]:
        match effect:
            case lsp_io.SendToClient():
                return self._send_to_client(effect)
            case lsp_io.SendAlong():
                return self._send_along(effect)
            case lsp_io.Deliver():
                return self._deliver(effect)
            case lsp_io.Relay():
                return self._relay(effect)
            case lsp_io.QueryTerms():
                return self._query_terms(effect)
            case lsp_io.PayOnBehalf():
                return self._pay_on_behalf(effect)
            case lsp_io.TrackPayment():
                return self._track(effect)
            case lsp_io.ForceClose():
                return self._force_close(effect)
            case lsp_io.RequestHtlcSnapshot():
                return self._request_htlc_snapshot(effect)
        raise TypeError(f"no way to perform {effect}")

    async def _answer_in_turn(self, effect: lsp_io.ResolveHtlc, slot: Slot) -> None:
        async with slot:
            await self._answer(effect)

    async def _answer(self, effect: lsp_io.ResolveHtlc) -> None:
        self._event_log.write(LogEvent(f"resolve {effect.resolution.value}"), htlc=effect.key)
        preimage = effect.preimage if effect.resolution is Resolution.SETTLE else None
        try:
            await self._node.resolve_htlc(effect.key, effect.resolution, preimage)
        except NodeError as error:
            self._event_log.error(LogEvent.RESOLUTION_NOT_DELIVERED, error, htlc=effect.key)
            self._report(lsp_io.ResolutionUndelivered(effect.key))

    async def _send_to_client(self, effect: lsp_io.SendToClient) -> None:
        event = LogEvent(f"send {type(effect.message).__name__}")
        self._event_log.write(event, to=effect.client, block=effect.message.unblock_hash)
        try:
            await onions.send_to_peer(self._node, effect.client, effect.message)
        except NodeUnreachableError:
            raise
        except NodeError as error:
            self._event_log.write_often(LogEvent.NOT_SENT, because=error)
            return
        if isinstance(effect.message, BlockUpdate):
            self._report(lsp_io.UpdateSent(effect.message.unblock_hash, effect.message.state))

    async def _send_along(self, effect: lsp_io.SendAlong) -> None:
        self._event_log.write_often(LogEvent.SEND_RELEASE_REPLY, status=effect.message.status.name)
        max_lookups = MAX_STRANGERS_LOOKUPS if effect.client is None else MAX_LOOKUPS
        await onions.send_along(self._node, self.node_id, effect.path, effect.message, max_lookups=max_lookups)

    async def _deliver(self, effect: lsp_io.Deliver) -> None:
        try:
            await self._node.forward_onion(effect.message)
            delivery = lsp_io.Delivery.DONE
        except PeerNotConnectedError:
            delivery = lsp_io.Delivery.NOT_CONNECTED
        except OnionUnreadableError as error:
            self._event_log.error(LogEvent.MESSAGE_IMPOSSIBLE, error)
            delivery = lsp_io.Delivery.IMPOSSIBLE
        self._event_log.write(
            LogEvent(f"stored message: {delivery.value}"), to=effect.client, message=effect.message_id
        )
        self._report(lsp_io.DeliveryReported(effect.client, effect.message_id, delivery))

    async def _relay(self, effect: lsp_io.Relay) -> None:
        try:
            next_hop = await self._node.forward_onion(effect.message)
            self._event_log.write(LogEvent.COURIER_SENT, client=effect.client)
            if next_hop is not None:
                self._report(lsp_io.CourierSent(effect.block, next_hop))
        except PeerNotConnectedError as error:
            self._report(lsp_io.CourierSent(effect.block, error.peer))
            self._report(
                OnionInTransit(source=effect.client, message=effect.message, next_node_id=error.peer, undelivered=True)
            )
        except OnionUnreadableError as error:
            self._event_log.error(LogEvent.COURIER_UNREADABLE, error)

    async def _query_terms(self, effect: lsp_io.QueryTerms) -> None:
        known = await self._node.look_up_payment(effect.payment_hash)
        channels = await self._node.channel_terms(effect.peers)
        self._report(lsp_io.TermsReported(effect.block, tuple(channels), known.status))

    async def _pay_on_behalf(self, effect: lsp_io.PayOnBehalf) -> None:
        hashes = [effect.payment_hash]
        self._event_log.write(LogEvent.PAY_ON_BEHALF, payment_hashes=hashes, fee_limit_msat=effect.fee_limit_msat)
        try:
            invoice = await self._node.decode_invoice(effect.invoice)
        except NodeUnreachableError:
            raise
        except NodeError as error:
            failed = PaymentResult(status=PaymentStatus.FAILED, failure=str(error))  # no payment was begun
            self._report(lsp_io.PaymentReported(effect.payment_hash, failed, of_order=True))
            return
        payment = Payment(
            invoice=invoice,
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            latest_expiry=effect.latest_expiry,
            incoming_msat=effect.incoming_msat,
            incoming_expiry=effect.incoming_expiry,
            timeout_seconds=effect.timeout_seconds,
        )
        result = await self._node.pay(payment)
        self._event_log.write(LogEvent(f"payment on behalf {result.status.value}"), payment_hashes=hashes)
        self._report(lsp_io.PaymentReported(effect.payment_hash, result, of_order=True))

    async def _track(self, effect: lsp_io.TrackPayment) -> None:
        result = await self._node.track_payment(effect.payment_hash)
        self._event_log.write(LogEvent(f"tracked payment {result.status.value}"), payment_hashes=[effect.payment_hash])
        self._report(lsp_io.PaymentReported(effect.payment_hash, result))

    async def _force_close(self, effect: lsp_io.ForceClose) -> None:
        self._event_log.write(LogEvent.FORCE_CLOSE_BEGINS, channel=effect.channel_id)
        await self._node.force_close(effect.channel_id)
        self._event_log.write(LogEvent.FORCE_CLOSE_BROADCAST, channel=effect.channel_id)
        self._report(lsp_io.ForceCloseReported(effect.channel_id))

    async def _request_htlc_snapshot(self, effect: lsp_io.RequestHtlcSnapshot) -> None:
        self._report(lsp_io.HtlcSnapshot(effect.number, tuple(await self._node.pending_htlcs())))
