"""A ==== LSP ---- B, where the LSP forwards nothing while no test is attached to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import faults
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import Topology, load


@pytest.fixture(scope="session")
def hop() -> Topology:
    return load(Path(__file__).parent.parent / "topologies" / "hop.yaml")


@pytest.fixture(scope="package")
def testbed(hop: Topology, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    with running_testbed(hop, pytestconfig) as running:
        yield running


@pytest.fixture(autouse=True)
def everybody_there(testbed: Testbed) -> None:
    """Whatever the test before has left behind: all nodes run, and no failed payment is held against a channel."""
    running = [node.name for node in testbed.running()]
    for name in testbed.nodes.keys() - running:
        faults.come_back(testbed, name)
    for payer in ("A", "LSP"):
        testbed.containers.run(payer, [*testbed.cli(payer), "resetmc"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
