"""Scenarios under fire. Each is one of the family that its file is named after, and is counted as such."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import money, scenarios
from harness.pytest_plugin import running_testbed
from harness.scenarios import Recorder
from harness.scene import Scene, restore
from harness.testbed import Testbed
from harness.topology import Topology, load

TOPOLOGIES = Path(__file__).parents[1] / "topologies"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Known from the start, so that a scenario that cannot be run is counted too."""
    item.user_properties.append((scenarios.FAMILY, item.path.stem.removeprefix("test_")))


@pytest.fixture(scope="module")
def topology() -> Topology:
    """Two phones of one LSP, all of them quick to lose patience; a file may have another one."""
    return load(TOPOLOGIES / "pocket.yaml")


@pytest.fixture(scope="module")
def testbed(topology: Topology, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    with running_testbed(topology, pytestconfig) as running:
        yield running


@pytest.fixture
def scene(testbed: Testbed, record_property: Recorder) -> Iterator[Scene]:
    yield Scene(testbed, money.count(testbed), record=record_property)
    restore(testbed, testbed.phones.values())
