"""End-to-end tests: real nodes in containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import money
from harness.testbed import Testbed
from harness.topology import Topology, load


@pytest.fixture(scope="session")
def pair_file() -> Path:
    """The smallest topology that can pay: two LNDs and a channel."""
    return Path(__file__).parent / "topologies" / "pair.yaml"


@pytest.fixture(scope="session")
def pair(pair_file: Path) -> Topology:
    """The same, loaded."""
    return load(pair_file)


@pytest.fixture(autouse=True)
def money_counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with no HTLC in flight and the whole of every channel at its two ends."""
    yield
    testbed = request.node.funcargs.get("testbed")
    if isinstance(testbed, Testbed):
        money.count(testbed)
