"""The event stream of a node that keeps its events until they are requested: CLN's plugin, and ldkd.

Attaching begins a session. Each request asks for the events after a number, and confirms that those up to the number
have arrived. The session ends when the node stops, or when another process attaches.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from asyncpay.lightning import HtlcKey, NodeId, Resolution
from asyncpay.node_events import Attached, NodeEvent
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.event_stream import MergedStream, NodeSnapshot, PeerTracker
from asyncpay.nodes.numbers import HEIGHT, UNREADABLE
from asyncpay.nodes.onion_routes import Surroundings

ANSWER_SECONDS = 12
"""A request for events is answered within two seconds; a node that takes this much longer is frozen."""

log = logging.getLogger(__name__)


class PolledStream(ABC):
    """One session of the event stream. It must be closed.

    implementation: for users. attach_method, events_method: of the node's RPC. height_field: of its `getinfo`.
    """

    implementation: str
    attach_method: str
    events_method: str
    height_field: str

    def __init__(
        self, call: Callable[..., Awaitable[Any]], socket: Path, take_snapshot: Callable[[], Awaitable[NodeSnapshot]]
    ) -> None:
        self._call = call
        self._socket = socket
        self._events = MergedStream()
        self._tracker = PeerTracker(take_snapshot, self._events.put)
        self._session = 0
        self._node_id: NodeId | None = None

    @abstractmethod
    async def _take(self, topic: str, payload: dict[str, Any]) -> None:
        """Translate one event; raise one of UNREADABLE if it cannot be read."""

    @abstractmethod
    async def _refuse(self, topic: str, payload: dict[str, Any]) -> None:
        """Fail an HTLC whose event cannot be read. Any other event is dropped."""

    def _absence(self, error: NodeError) -> NodeUnreachableError:
        """Return the error for a node that refuses to report: the only remedy is to attach again."""
        return error if isinstance(error, NodeUnreachableError) else NodeUnreachableError(str(error))

    async def events(self) -> AsyncIterator[NodeEvent]:
        """See Node.events."""
        try:
            attached = await self._attach()
        except NodeError as error:
            raise self._absence(error) from None
        yield attached
        for follow in (self._follow_events, self._tracker.watch):
            self._events.follow(partial(self._until_it_ends, follow))
        async for event in self._events.events():
            yield event

    async def close(self) -> None:
        """End the stream; held HTLCs stay held."""
        self._node_id = None
        await self._events.close()

    @property
    def surroundings(self) -> Surroundings | None:
        """The start of a search for onion routes, from the stream; None if the stream has not begun, or has ended."""
        if self._node_id is None:
            return None
        return Surroundings(self._node_id, self._tracker.online, self._tracker.first_hops)

    def _not_held(self, key: HtlcKey, resolution: Resolution) -> NodeUnreachableError:
        where = f"{self.implementation} at {self._socket}"
        return NodeUnreachableError(
            f"{where} was not asked to {resolution.value} HTLC {key}: it does not hold it (any more)"
        )

    async def _attach(self) -> Attached:
        """Attach, then take a snapshot: events are reported from the first call on, so none after it is missed."""
        self._session = (await self._call(self.attach_method))["session"]
        info = await self._call("getinfo")
        await self._tracker.begin()
        self._node_id = bytes.fromhex(info["id"])
        return Attached(
            node_id=self._node_id,
            network=info["network"],
            height=HEIGHT(info[self.height_field]),
            links=tuple(self._tracker.links.values()),
            online=frozenset(self._tracker.online),
        )

    async def _until_it_ends(self, follow: Callable[[], Awaitable[None]]) -> None:
        try:
            await follow()
        except NodeError as error:
            raise self._absence(error) from None

    async def _follow_events(self) -> None:
        """Request events; each request confirms that the events before it have arrived."""
        after = 0
        while True:
            told = await self._call(self.events_method, ANSWER_SECONDS, session=self._session, after=after)
            for event in told["events"]:
                try:
                    await self._take(event["topic"], event["payload"])
                except UNREADABLE as error:
                    where = f"{self.implementation} at {self._socket}"
                    log.warning("%s: %s cannot be read and is refused: %r", where, event["topic"], error)
                    await self._refuse(event["topic"], event["payload"])
                after = event["number"]
