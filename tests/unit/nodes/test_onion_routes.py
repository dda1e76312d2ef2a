"""The search for a way of onion messages."""

import pytest

from asyncpay.nodes import onion_routes
from asyncpay.nodes.onion_routes import GraphNode

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


async def test_a_vast_graph_is_not_searched_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onion_routes, "MAX_LOOKUPS", 3)
    graph = Graph("a-b", "b-c", "c-d", "d-z")
    assert await graph.route(b"z", b"a") is None
    assert graph.lookups == 3
