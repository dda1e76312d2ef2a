"""No block is found for over two hours: LND regards its chain as stale, and a held payment is released nevertheless.

bitcoind's clock is set 1 h 55 min back, so that its last block reaches that age during the test.
"""

import time
from collections.abc import Iterator

import pytest

from harness.checks import balances
from harness.nodes.base import Node
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load
from harness.waits import Predicate, wait_for
from tests.support.implementations import TOPOLOGIES
from tests.support.payment_harness import PaymentHarness, restore

LND_STALE_SECONDS = 7_200
OLD_SECONDS = LND_STALE_SECONDS - 300
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def testbed(pytestconfig: pytest.Config) -> Iterator[Testbed]:
    topology = load(TOPOLOGIES / "long-idle.yaml")
    chain = topology.chain.model_copy(update={"args": (f"-mocktime={int(time.time()) - OLD_SECONDS}",)})
    with running_testbed(topology.model_copy(update={"chain": chain}), pytestconfig) as running:
        restore(running.phones.values())
        yield running


def test_a_payment_is_released_although_the_payee_s_node_takes_its_chain_for_stale(testbed: Testbed) -> None:
    payments = PaymentHarness(testbed, balances.count(testbed))
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    wait_for(takes_chain_for_stale(payments.b.node), 420, interval_seconds=1)
    payments.b.reconnect()
    case.wait_until_paid()
    assert any(event["what"] == "release not sent" for event in payments.b.events()), "released without a check"
    payments.assert_paid(case)


def takes_chain_for_stale(node: Node) -> Predicate:
    return Predicate("takes_chain_for_stale", lambda: f"{node.name} says it is synced" if node.info().synced else None)
