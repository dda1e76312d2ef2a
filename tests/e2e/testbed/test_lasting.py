"""A testbed survives a laptop's restarts: after it is stopped, or killed and started in any order, it works as before.

A payment is held meanwhile, and the payee's link is cut. Docker alone starts the containers again; the harness
only observes.
"""

import random
import subprocess
from collections.abc import Callable, Iterator

import pytest

from harness.checks import balances
from harness.engines.base import ServiceState
from harness.engines.docker_client import PROJECT_LABEL
from harness.pytest_plugin import running_testbed
from harness.services.bitcoind import MINER
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import IMPLEMENTATIONS, all_on
from tests.support.payment_harness import PaymentHarness

BACK_SECONDS = 60


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(all_on(request.param, "lasting.yaml"), request.config, supervised=True) as running:
        yield running


def docker(*arguments: str) -> list[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


def stopped_and_started(testbed: Testbed) -> None:
    docker("compose", "--project-name", testbed.engine.project, "stop")
    docker("compose", "--project-name", testbed.engine.project, "start")


def killed_and_started_in_any_order(testbed: Testbed) -> None:
    mine = f"label={PROJECT_LABEL}={testbed.engine.project}"
    docker("kill", *docker("ps", "--quiet", "--filter", mine))
    found = docker("ps", "--all", "--quiet", "--filter", mine)
    random.shuffle(found)
    for container in found:
        docker("start", container)


def by_the_verbs(testbed: Testbed) -> None:
    testbed.stop_all()
    assert set(testbed.engine.states().values()) == {ServiceState.EXITED}
    testbed.start_all()


def back(testbed: Testbed) -> Predicate:
    """All services run, every node is synced, A's channel with its LSP is usable, and the component is attached."""

    def missing() -> str | None:
        states = testbed.engine.states()
        if down := [name for name in testbed.services if name != MINER and states[name] is not ServiceState.RUNNING]:
            return f"{', '.join(down)} down"
        testbed.forget_connections()
        for node in testbed.nodes.values():
            if lack := node.missing_to_be_ready():
                return lack
        for name in ("A", "LSP"):
            if not any(channel.active for channel in testbed[name].channels()):
                return f"{name} has no usable channel"
        return testbed.lsp("LSP").missing_to_be_attached()

    return Predicate("everything_back", missing)


@pytest.mark.parametrize("disturb", [stopped_and_started, killed_and_started_in_any_order, by_the_verbs])
def test_all_is_as_it_was(testbed: Testbed, disturb: Callable[[Testbed], None]) -> None:
    payments = PaymentHarness(testbed, balances.count(testbed))
    ids = {name: node.info().node_id for name, node in testbed.nodes.items()}
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    payments.wait_for_htlcs(A=1, LSP=1)
    height_blocks = testbed.mine()

    disturb(testbed)

    testbed.forget_connections()
    wait_for(back(testbed), BACK_SECONDS)
    assert {name: node.info().node_id for name, node in testbed.nodes.items()} == ids
    assert testbed.chain.height_blocks == height_blocks
    assert (payments.a.link().words, payments.b.link().words) == ("normal", "disconnected")
    payments.wait_for_htlcs(A=1, LSP=1)
    payments.b.reconnect()
    case.wait_until_paid()
    payments.assert_paid(case)
