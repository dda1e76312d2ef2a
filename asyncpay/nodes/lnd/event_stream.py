"""All of LND's streams as one: opened together, merged in the order of arrival, ended together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from asyncpay.fair_shares import FairSemaphore, Slot, TooManyError
from asyncpay.lightning import HtlcKey, NodeId, Resolution, ShortChannelId
from asyncpay.node_events import Attached, BlockConnected, CustomMessage, HtlcGone, HtlcOffered, NodeEvent
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.event_stream import MergedStream, PeerTracker
from asyncpay.nodes.lnd import channels, htlcs, invoices, onions
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection
from asyncpay.nodes.lnd.htlcs import Interceptor
from asyncpay.nodes.numbers import OutOfRangeError
from asyncpay.nodes.onion_routes import Surroundings
from asyncpay.nodes.proto import chainnotifier_pb2 as chain
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto import router_pb2 as router

log = logging.getLogger(__name__)

MAX_ONIONS_AT_ONCE = 16
"""The most onion messages that are read at the same time, each with two calls to LND; one of each peer."""
MAX_WAITING_ONIONS = 100
"""The most messages of one peer that wait to be read; the same for all peers without a channel together."""
MAX_WAITING_ONIONS_IN_ALL = 2_000

_NETWORKS = {"mainnet": "bitcoin"}  # all others have the same name


class EventStream:
    """One session of the event stream. It must be closed."""

    def __init__(self, lnd: Connection) -> None:
        self._lnd = lnd
        self._events = MergedStream()
        self._tracker = PeerTracker(lambda: channels.snapshot(lnd), self._events.put)
        self._peers = lnd.lightning.SubscribePeerEvents(ln.PeerEventSubscription())
        self._channels = lnd.lightning.SubscribeChannelEvents(ln.ChannelEventSubscription())
        self._onions = lnd.lightning.SubscribeOnionMessages(ln.SubscribeOnionMessagesRequest())
        self._custom = lnd.lightning.SubscribeCustomMessages(ln.SubscribeCustomMessagesRequest())
        self._invoices = lnd.lightning.SubscribeInvoices(ln.InvoiceSubscription())
        self._outcomes = lnd.router.SubscribeHtlcEvents(router.SubscribeHtlcEventsRequest())
        self._blocks = lnd.chain.RegisterBlockEpochNtfn(chain.BlockEpoch())
        self._interceptor = Interceptor(lnd)
        self._node_id: NodeId | None = None
        self._readers = FairSemaphore(
            each=1,
            waiting=MAX_WAITING_ONIONS,
            at_once=MAX_ONIONS_AT_ONCE,
            waiting_in_all=MAX_WAITING_ONIONS_IN_ALL,
        )

    @property
    def surroundings(self) -> Surroundings | None:
        """The start of a search for onion routes, from the stream; None if the stream has not begun, or has ended."""
        if self._node_id is None:
            return None
        return Surroundings(self._node_id, self._tracker.online, self._tracker.first_hops)

    def peer_named(self, name: ShortChannelId) -> NodeId | None:
        """Return the other end of a channel, by any of its names."""
        return self._tracker.peer_named(name)

    async def events(self) -> AsyncIterator[NodeEvent]:
        """See Node.events."""
        with self._all_else_is_absence():
            attached = await self._attach()
        yield attached
        for what, follow in {
            "report peers": self._follow_peers,
            "report channels": self._follow_channels,
            "list peers and channels": self._tracker.watch,
            "report blocks": self._follow_blocks,
            "report onion messages": self._follow_onions,
            "report custom messages": self._follow_custom,
            "report invoices": self._follow_invoices,
            "report the outcomes of HTLCs": self._follow_outcomes,
            "offer HTLCs": self._follow_offers,
        }.items():
            self._events.follow(partial(self._until_it_ends, what, follow))
        async for event in self._events.events():
            yield event

    async def resolve_htlc(self, key: HtlcKey, resolution: Resolution, preimage: bytes | None) -> None:
        """See Node.resolve_htlc."""
        await self._interceptor.resolve_htlc(key, resolution, preimage)

    def expect_change(self) -> None:
        """Expect a channel change that LND does not report, such as a force-close while the peer is offline."""
        self._tracker.mark_stale()

    async def close(self) -> None:
        """End all streams."""
        self._node_id = None
        await self._events.close()
        streams = (
            self._peers,
            self._channels,
            self._onions,
            self._custom,
            self._invoices,
            self._outcomes,
            self._blocks,
        )
        for call in streams:
            call.cancel()
        self._interceptor.close()

    async def _attach(self) -> Attached:
        """Open the streams, then take a snapshot. Two of the streams send an initial message. LND accepts calls in
        order, so after these two messages all streams are open, and all later changes are reported.
        """
        with self._lnd.calling("report HTLCs and blocks"):
            async with asyncio.timeout(CALL_SECONDS):
                await anext(aiter(self._outcomes), None)
                first_block = await anext(aiter(self._blocks), None)
        with self._lnd.calling("report its identity"):
            info = await self._lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)
        await self._tracker.begin()
        self._interceptor.check()
        network = info.chains[0].network
        self._node_id = bytes.fromhex(info.identity_pubkey)
        return Attached(
            node_id=self._node_id,
            network=_NETWORKS.get(network, network),
            height=first_block.height if first_block else info.block_height,
            links=tuple(self._tracker.links.values()),
            online=frozenset(self._tracker.online),
        )

    async def _until_it_ends(self, what: str, follow: Callable[[], Awaitable[None]]) -> None:
        """Follow a stream. Its end is always an error, which names what LND no longer reports."""
        with self._all_else_is_absence(), self._lnd.calling(what):
            await follow()
        raise NodeUnreachableError(f"LND at {self._lnd.address} did not continue to {what}")

    @contextmanager
    def _all_else_is_absence(self) -> Iterator[None]:
        """Turn all errors of a stream into NodeUnreachableError: the only remedy is to attach again."""
        try:
            yield
        except NodeUnreachableError:
            raise
        except NodeError as error:
            raise NodeUnreachableError(str(error)) from None
        except TimeoutError:
            raise NodeUnreachableError(f"LND at {self._lnd.address} did not begin to report in time") from None

    async def _follow_peers(self) -> None:
        async for event in self._peers:
            peer = bytes.fromhex(event.pub_key)
            await self._tracker.peer_event(peer, online=event.type == ln.PeerEvent.PEER_ONLINE)

    async def _follow_channels(self) -> None:
        async for event in self._channels:
            if event.type != ln.ChannelEventUpdate.CHANNEL_UPDATE:  # sent for each added or removed HTLC
                self._tracker.mark_stale()

    async def _follow_blocks(self) -> None:
        async for block in self._blocks:
            await self._events.put(BlockConnected(block.height))
            self._tracker.mark_stale()

    async def _follow_onions(self) -> None:
        """Read messages of different peers concurrently, of one peer in order. Peers without a channel count as one.

        A message is lost if LND fails to help reading it; other streams report when LND is unreachable.
        """
        reading: set[asyncio.Task[None]] = set()
        try:
            async for update in self._onions:
                try:
                    slot = self._readers.slot(update.peer if update.peer in self._tracker.with_channel else None)
                except TooManyError as error:
                    log.info("dropped an onion message from %s: %s", update.peer.hex(), error)
                    continue
                task = asyncio.create_task(self._read_onion(update, slot))
                reading.add(task)
                task.add_done_callback(reading.discard)
        finally:
            for task in reading:
                task.cancel()

    async def _read_onion(self, update: ln.OnionMessageUpdate, slot: Slot) -> None:
        try:
            async with slot:
                if event := await onions.read(self._lnd, update, self._tracker.peer_named):
                    await self._events.put(event)
        except (NodeError, TooManyError) as error:
            log.info("dropped an onion message from %s: %s", update.peer.hex(), error)
        except Exception:  # last resort: one message never ends the stream
            log.exception("dropped an onion message from %s", update.peer.hex())

    async def _follow_custom(self) -> None:
        async for message in self._custom:
            await self._events.put(CustomMessage(message.peer, message.type, message.data))

    async def _follow_invoices(self) -> None:
        async for paid in invoices.payments(self._invoices):
            await self._events.put(paid)

    async def _follow_outcomes(self) -> None:
        async for update in self._outcomes:
            event = htlcs.outcome(update)
            if isinstance(event, HtlcGone):
                self._interceptor.forget(event.key)
            if event is not None:
                await self._events.put(event)

    async def _follow_offers(self) -> None:
        async for offer in self._interceptor.offers():
            key = htlcs.key_of(offer.incoming_circuit_key)
            peer = await self._tracker.peer_of(key.channel_id)
            try:
                offered = HtlcOffered(htlcs.held_htlc(offer, peer))
            except OutOfRangeError as error:
                log.warning("LND at %s: failing HTLC %s: %s", self._lnd.address, key, error)
                await self._interceptor.resolve_htlc(key, Resolution.FAIL, None)
            else:
                await self._events.put(offered)
