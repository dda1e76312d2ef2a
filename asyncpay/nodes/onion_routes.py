"""The search for the route of an onion message: along nodes that relay them, over announced channels."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

from asyncpay.lightning import NodeId
from asyncpay.nodes.base import MAX_LOOKUPS, NodeError

MAX_REMEMBERED_NEIGHBOURS = 100_000
"""The size of the cache of graph nodes; a node counts as one, and each of its neighbours as another."""
REMEMBERED_SECONDS = 10
"""The lifetime of cache entries. It is short, because the policies of channels may change."""
UNKNOWN_REMEMBERED_SECONDS = 1


@dataclass(frozen=True, slots=True)
class GraphNode:
    """An announced node: whether it relays onion messages, and to whom it has an announced channel."""

    relays: bool
    neighbours: frozenset[NodeId]


LookUp = Callable[[NodeId], Awaitable[GraphNode | None]]


class RememberedGraph:
    """A cache of graph look-ups for some seconds: successive routes often pass the same nodes."""

    def __init__(self, look_up: LookUp, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._remembered: OrderedDict[NodeId, tuple[float, GraphNode | None]] = OrderedDict()  # oldest first
        self._size = 0

    async def look_up(self, node: NodeId) -> GraphNode | None:
        """Return the graph's entry of a node; None if there is none. Raises the exceptions of the look-up."""
        until, found = self._remembered.get(node, (-1.0, None))
        if self._clock() >= until:
            found = await self._look_up(node)
            self._remember(node, found)
        return found

    def _remember(self, node: NodeId, found: GraphNode | None) -> None:
        self._forget(node)
        seconds = UNKNOWN_REMEMBERED_SECONDS if found is None else REMEMBERED_SECONDS
        self._remembered[node] = self._clock() + seconds, found
        self._size += _size(found)
        while self._size > MAX_REMEMBERED_NEIGHBOURS:
            self._forget(next(iter(self._remembered)))

    def _forget(self, node: NodeId) -> None:
        if node in self._remembered:
            _, found = self._remembered.pop(node)
            self._size -= _size(found)


def _size(found: GraphNode | None) -> int:
    return 1 if found is None else 1 + len(found.neighbours)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The start of a search: this node, its connected peers, and the peers that can relay a message."""

    own_id: NodeId
    online: Set[NodeId]
    first_hops: Set[NodeId]


async def find(
    destination: NodeId, surroundings: Surroundings, graph: RememberedGraph, max_lookups: int
) -> tuple[NodeId, ...]:
    """Return the route of an onion message, from one of the peers. NodeError if none is found within `max_lookups`.

    A connected peer is reached directly, announced or not. Any other node must be announced: the graph does not
    contain nodes behind unannounced channels; those are reached through blinded paths of their own.
    """
    if destination in surroundings.online:
        return (destination,)
    route = await shortest(
        surroundings.own_id, destination, surroundings.first_hops, graph.look_up, max_lookups=max_lookups
    )
    if route is None:
        raise NodeError(
            f"{surroundings.own_id.hex()} knows no route for an onion message to {destination.hex()}: it is not a "
            f"connected peer, and at most {max_lookups} look-ups found no route from a peer that relays them"
        )
    return route


async def shortest(
    own_id: NodeId, destination: NodeId, first_hops: Set[NodeId], look_up: LookUp, max_lookups: int = MAX_LOOKUPS
) -> tuple[NodeId, ...] | None:
    """Return the shortest route from one of `first_hops`, searched from its end; None if `max_lookups` find none."""
    onwards: dict[NodeId, tuple[NodeId, ...]] = {destination: (), own_id: ()}
    frontier = [destination]
    lookups = 0
    while frontier:
        reached: list[NodeId] = []
        for node in frontier:
            if lookups == max_lookups:
                return None
            lookups += 1
            found = await look_up(node)
            if found is None or not found.relays:
                continue
            route = (node, *onwards[node])
            if entries := first_hops & found.neighbours:
                return (min(entries), *route)
            for neighbour in found.neighbours - onwards.keys():
                onwards[neighbour] = route
                reached.append(neighbour)
        frontier = reached
    return None
