"""Scenarios with injected faults. Each belongs to the family that its file is named after."""

from collections.abc import Iterator

import pytest

from harness.checks import balances, scenario_table
from harness.checks.scenario_table import Recorder
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import Topology, load
from tests.support.implementations import CLN_IN_FULL, TOPOLOGIES, all_on, with_arguments
from tests.support.payment_harness import PaymentHarness, restore

from .steps import restore_all

LINE = ("A", "LSP_a", "router", "LSP_b", "B")
PARTS = 16
FEW_SLOTS = {
    "lnd": ("LSP", f"--default-remote-max-htlcs={PARTS}"),
    "cln": ("A", f"--max-concurrent-htlcs={PARTS}"),
}
"""Arguments that limit the HTLCs of each of the payer's two channels. LND announces its limit to its peer; CLN also
respects its own limit."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Record the family at collection, so that a scenario that cannot be run is counted too."""
    item.user_properties.append((scenario_table.FAMILY, item.path.stem.removeprefix("test_")))


@pytest.fixture(scope="package", params=CLN_IN_FULL)
def pocket(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """Two phones of one LSP, all of them with short timeouts and few HTLC slots."""
    few_slots = FEW_SLOTS[request.param]
    with running_testbed(with_arguments(all_on(request.param, "pocket.yaml"), *few_slots), request.config) as running:
        yield running


@pytest.fixture(scope="package", params=CLN_IN_FULL)
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
