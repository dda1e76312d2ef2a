"""End-to-end tests: real nodes in containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import money
from harness.testbed import Testbed
from harness.topology import Topology, load

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a testbed stay with one worker: those of a file, if the file does not say otherwise."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(HERE))))


@pytest.fixture(scope="session")
def pair_file() -> Path:
    """The smallest topology that can pay: two LNDs and a channel."""
    return HERE / "topologies" / "pair.yaml"


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
