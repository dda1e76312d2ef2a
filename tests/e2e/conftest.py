"""End-to-end tests: real nodes in containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import money
from harness.testbed import Testbed
from harness.topology import Topology, load

PAIR = Path(__file__).parent / "topologies" / "pair.yaml"


@pytest.fixture(scope="session")
def pair() -> Topology:
    """Two LNDs and a channel."""
    return load(PAIR)


@pytest.fixture(autouse=True)
def money_counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with no HTLC in flight and the whole of every channel at its two ends."""
    yield
    testbed = request.node.funcargs.get("testbed")
    if isinstance(testbed, Testbed):
        money.count(testbed)
