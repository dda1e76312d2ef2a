"""Scenarios with injected faults. Each belongs to the family that its file is named after."""

from collections.abc import Iterator

import pytest

from harness.checks import balances, scenario_table
from harness.checks.scenario_table import Recorder
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import ComponentSpec, Topology, load
from tests.support.implementations import IMPLEMENTATIONS, TOPOLOGIES, all_on, with_arguments
from tests.support.payment_harness import PaymentHarness, restore

from .steps import restore_all

LINE = ("A", "LSP_a", "router", "LSP_b", "B")
PARTS = 16
DISK_MB = 8
FEW_SLOTS = {
    "lnd": ("LSP", f"--default-remote-max-htlcs={PARTS}"),
    "cln": ("A", f"--max-concurrent-htlcs={PARTS}"),
    "ldk": ("LSP", "--max-accepted-htlcs", str(PARTS)),
}
"""Arguments that limit the HTLCs of each of the payer's two channels. LND and LDK announce their limit to their peer;
CLN also respects its own limit."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Record the family at collection, so that a scenario that cannot be run is counted too."""
    item.user_properties.append((scenario_table.FAMILY, item.path.stem.removeprefix("test_")))


@pytest.fixture(scope="package", params=IMPLEMENTATIONS)
def pocket(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """Two phones of one LSP, with short timeouts, few HTLC slots and a disk that a test can fill; see `lsp_disk`."""
    topology = with_arguments(all_on(request.param, "pocket.yaml"), *FEW_SLOTS[request.param])
    lsp = topology.nodes["LSP"]
    assert isinstance(lsp.component, ComponentSpec)
    small = lsp.model_copy(update={"component": lsp.component.model_copy(update={"disk_mb": DISK_MB})})
    with running_testbed(
        topology.model_copy(update={"nodes": topology.nodes | {"LSP": small}}), request.config
    ) as running:
        yield running


@pytest.fixture(scope="package")
def lsp_disk(pocket: Testbed) -> Iterator[str]:
    """A service that also uses the LSP's disk, which is in memory: without it, a restart of the LSP would empty it."""
    with pocket.engine.sidecar(pocket.lsp("LSP").name) as service:
        yield service


@pytest.fixture(scope="package", params=IMPLEMENTATIONS)
def line_of_phones(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """The whole line, all of its nodes of one implementation."""
    topology = load(TOPOLOGIES / "line-of-phones.yaml", dict.fromkeys(LINE, request.param))
    with running_testbed(topology, request.config) as running:
        yield running


@pytest.fixture(scope="module")
def testbed(topology: Topology, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    """For a file with a fixture `topology`; the others use one of the two testbeds above."""
    with running_testbed(topology, pytestconfig) as running:
        yield running


@pytest.fixture
def payments(testbed: Testbed, record_property: Recorder) -> Iterator[PaymentHarness]:
    yield PaymentHarness(testbed, balances.count(testbed), record=record_property)
    restore(testbed.phones.values())


@pytest.fixture
def line_payments(
    request: pytest.FixtureRequest, testbed: Testbed, record_property: Recorder
) -> Iterator[PaymentHarness]:
    """Payments of tests that restore every target before they count the balances: only a failed test leaves faults."""
    payments = PaymentHarness(testbed, balances.count(testbed), record=record_property)
    failed_before = request.session.testsfailed
    yield payments
    if request.session.testsfailed > failed_before:
        restore_all(payments)
