"""The protocol's whole line on real nodes: two phones, each behind its LSP, and a router between the LSPs.

All are of one implementation; the interop matrix tests combinations.
"""

from collections.abc import Iterator

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load
from tests.support.implementations import IMPLEMENTATIONS
from tests.support.payment_harness import PaymentHarness, restore

NODES = ("A", "LSP_a", "router", "LSP_b", "B")


@pytest.fixture(scope="package", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(load("line", dict.fromkeys(NODES, request.param)), request.config) as running:
        restore(running.phones.values())
        yield running


@pytest.fixture
def payments(testbed: Testbed) -> Iterator[PaymentHarness]:
    yield PaymentHarness(testbed, balances.count(testbed))
    restore(testbed.phones.values())
