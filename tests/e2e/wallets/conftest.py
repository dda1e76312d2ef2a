"""The protocol's whole line on real nodes: two phones, each behind its LSP, and a router between the LSPs."""

from collections.abc import Iterator

import pytest

from harness import money
from harness.pytest_plugin import running_testbed
from harness.scene import Scene, restore
from harness.testbed import Testbed
from harness.topology import load


@pytest.fixture(scope="package")
def testbed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    with running_testbed(load("line"), pytestconfig) as running:
        yield running


@pytest.fixture
def scene(testbed: Testbed) -> Iterator[Scene]:
    phones = [testbed.phone(name) for name in testbed.topology.phones]
    restore(testbed, phones)
    yield Scene(testbed, money.count(testbed))
    restore(testbed, phones)
