"""The search for the way of an onion message: along nodes that relay them, over channels that are announced."""

from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

from asyncpay.lightning import NodeId

MAX_LOOKUPS = 500
"""How many nodes of the graph are looked at for one route: enough for three hops almost anywhere."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """An announced node: whether it relays onion messages, and to whom it has an announced channel."""

    relays: bool
    neighbours: frozenset[NodeId]


LookUp = Callable[[NodeId], Awaitable[GraphNode | None]]


async def shortest(
    own_id: NodeId, destination: NodeId, first_hops: Set[NodeId], look_up: LookUp
) -> tuple[NodeId, ...] | None:
    """The shortest route from one of `first_hops`, searched from its end; None if there is none within MAX_LOOKUPS."""
    onwards: dict[NodeId, tuple[NodeId, ...]] = {destination: (), own_id: ()}
    frontier = [destination]
    lookups = 0
    while frontier:
        reached: list[NodeId] = []
        for node in frontier:
            if lookups == MAX_LOOKUPS:
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
