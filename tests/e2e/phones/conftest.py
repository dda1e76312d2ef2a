"""One phone, its LSP, and a node behind the LSP that pays the phone."""

from collections.abc import Iterator

import pytest

from harness.pytest_plugin import running_testbed
from harness.services.phone import Phone
from harness.testbed import Testbed
from harness.topology import load
from harness.waits import wait_for
from tests.support.implementations import TOPOLOGIES


@pytest.fixture(scope="package")
def testbed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    topology = load(TOPOLOGIES / "one-phone.yaml")
    with running_testbed(topology, pytestconfig) as running:
        restore_phone(running, running.phone("A"))
        yield running


@pytest.fixture
def phone(testbed: Testbed) -> Iterator[Phone]:
    """The phone, awake and with a working link before and after the test."""
    yield testbed.phone("A")
    restore_phone(testbed, testbed.phone("A"))


def restore_phone(testbed: Testbed, phone: Phone) -> None:
    phone.restore()
    wait_for(testbed.channels_usable(phone.name), 60)
    wait_for(phone.wallet.ready(), 60)
