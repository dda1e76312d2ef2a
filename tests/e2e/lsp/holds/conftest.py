"""A pays B through their common LSP, on each implementation."""

from collections.abc import Iterator

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from tests.support.implementations import topology_on
from tests.support.scripted_peer import ScriptedPeer

from .hold_harness import HoldHarness


@pytest.fixture(scope="package", params=("lnd", "cln", pytest.param("ldk", marks=pytest.mark.full)))
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(topology_on(request.param, "impatient-lsp.yaml", "LSP"), request.config) as running:
        yield running


@pytest.fixture(scope="package")
def phones(testbed: Testbed) -> Iterator[tuple[ScriptedPeer, ScriptedPeer]]:
    with ScriptedPeer(testbed, "A") as a, ScriptedPeer(testbed, "B") as b:
        yield a, b


@pytest.fixture
def payments(testbed: Testbed, phones: tuple[ScriptedPeer, ScriptedPeer]) -> Iterator[HoldHarness]:
    a, b = phones
    a.forget_failures()
    payments = HoldHarness(testbed, testbed.lsp("LSP"), a, b, balances.count(testbed))
    yield payments
    payments.clear()
