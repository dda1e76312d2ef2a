"""The search for a way of onion messages."""

import pytest

from asyncpay.nodes import onion_routes
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.onion_routes import GraphNode, RememberedGraph, Surroundings, find

pytestmark = pytest.mark.anyio

US = b"us"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Graph:
    """Channels, by the letters of their ends; capital letters do not relay."""

    def __init__(self, *channels: str) -> None:
        self.lookups = 0
        self._neighbours: dict[bytes, set[bytes]] = {}
        for one, other in (channel.encode().split(b"-") for channel in channels):
            self._neighbours.setdefault(one, set()).add(other)
            self._neighbours.setdefault(other, set()).add(one)

    async def look_up(self, node: bytes) -> GraphNode | None:
        self.lookups += 1
        found = self._neighbours.get(node)
        return None if found is None else GraphNode(node.islower(), frozenset(found))

    async def route(self, destination: bytes, *first_hops: bytes) -> str | None:
        found = await onion_routes.shortest(US, destination, set(first_hops), self.look_up)
        return None if found is None else b"-".join(found).decode()


async def test_the_shortest_way_is_taken() -> None:
    assert await Graph("a-b", "b-c", "c-z", "a-d", "d-z").route(b"z", b"a") == "a-d-z"


async def test_who_does_not_relay_is_avoided() -> None:
    assert await Graph("a-b", "b-c", "c-z", "a-D", "D-z").route(b"z", b"a") == "a-b-c-z"
    assert await Graph("a-D", "D-z").route(b"z", b"a") is None


async def test_a_destination_that_cannot_read_messages_has_no_way() -> None:
    assert await Graph("a-Z").route(b"Z", b"a") is None


async def test_nobody_knows_an_unannounced_node() -> None:
    assert await Graph("a-b").route(b"z", b"a") is None


async def test_no_way_leads_through_ourselves() -> None:
    """Our channel with the destination is announced, but it is not connected."""
    assert await Graph("us-z", "us-a").route(b"z", b"a") is None


async def test_a_vast_graph_is_not_searched_to_its_end() -> None:
    graph = Graph("a-b", "b-c", "c-d", "d-z")
    assert await onion_routes.shortest(US, b"z", {b"a"}, graph.look_up, max_lookups=3) is None
    assert graph.lookups == 3


# --- what is remembered ---


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_same_look_ups_are_not_made_again_for_some_seconds() -> None:
    graph, clock = Graph("a-b", "b-z"), Clock()
    remembered = RememberedGraph(graph.look_up, clock)

    async def search() -> int:
        before = graph.lookups
        await onion_routes.shortest(US, b"z", {b"a"}, remembered.look_up)
        return graph.lookups - before

    assert await search() == 2
    assert await search() == 0
    clock.now += onion_routes.REMEMBERED_SECONDS
    assert await search() == 2


async def test_a_node_that_is_new_to_the_graph_is_found_soon() -> None:
    graph, clock = Graph("a-b"), Clock()
    remembered = RememberedGraph(graph.look_up, clock)
    assert await remembered.look_up(b"z") is None
    clock.now += onion_routes.UNKNOWN_REMEMBERED_SECONDS
    await remembered.look_up(b"z")
    assert graph.lookups == 2


async def test_what_is_remembered_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers choose the nodes that are looked up; some have thousands of channels."""
    monkeypatch.setattr(onion_routes, "MAX_REMEMBERED_NEIGHBOURS", 10)
    graph, clock = Graph("a-b", "a-c", "a-d", "e-f", "e-g", "h-i"), Clock()
    remembered = RememberedGraph(graph.look_up, clock)
    for node in (b"a", b"e", b"h", b"a"):
        await remembered.look_up(node)
    assert graph.lookups == 3, "all three fit"
    for number in range(100):
        await remembered.look_up(b"unknown %d" % number)
    assert len(remembered._remembered) == 10
    await remembered.look_up(b"a")
    assert graph.lookups == 104


# --- where a search begins ---


async def test_a_connected_peer_is_reached_directly_and_without_the_graph() -> None:
    graph = Graph("a-z")
    surroundings = Surroundings(US, {b"a", b"phone"}, {b"a"})
    assert await find(b"phone", surroundings, RememberedGraph(graph.look_up), 10) == (b"phone",)
    assert graph.lookups == 0
    assert await find(b"z", surroundings, RememberedGraph(graph.look_up), 10) == (b"a", b"z")
    with pytest.raises(NodeError, match="no route"):
        await find(b"x", surroundings, RememberedGraph(graph.look_up), 10)
