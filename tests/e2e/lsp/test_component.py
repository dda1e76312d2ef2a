"""The LSP's component on a real node: it forwards payments without a block, and it stops and starts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.checks import balances, status
from harness.errors import PaymentError
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.component_log import resumed
from tests.support.implementations import IMPLEMENTATIONS, topology_on

AMOUNT_MSAT = 1_234_567


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(topology_on(request.param, "two-lsps.yaml", "LSP_a", "LSP_b"), request.config) as running:
        yield running


def pay_and_count(testbed: Testbed) -> None:
    """A pays B through both components, and all balances are those after an ordinary payment."""
    before = balances.count(testbed)
    resumed_before = {node: resumed(lsp) for node, lsp in testbed.lsps.items()}

    payment = testbed.pay("A", "B", AMOUNT_MSAT)

    moved = balances.count(testbed).moved_since(before)
    assert moved["A"] == -AMOUNT_MSAT - payment.fee_msat
    assert moved["B"] == AMOUNT_MSAT
    assert moved["LSP_a"] + moved["LSP_b"] == payment.fee_msat > 0

    def missing() -> str | None:
        seen = {node: resumed(lsp) - resumed_before[node] for node, lsp in testbed.lsps.items()}
        return None if seen == {"LSP_a": 1, "LSP_b": 1} else f"resumed: {seen}"

    wait_for(Predicate("resumed_once_by_each", missing))


def test_an_unblocked_payment_crosses_both_components_untouched(testbed: Testbed) -> None:
    pay_and_count(testbed)
    assert [lsp.status()["blocks"] for lsp in testbed.lsps.values()] == [[], []]


def test_prometheus_reads_what_a_payment_did(testbed: Testbed) -> None:
    def resumed_of(lsp: Lsp) -> float:
        samples = (each for family in text_string_to_metric_families(lsp.metrics()) for each in family.samples)
        found = {sample.name: sample.value for sample in samples if sample.labels in ({}, {"resolution": "resume"})}
        assert found["asyncpay_lsp_node_attached"] == 1
        assert found["asyncpay_lsp_held_parts"] == 0
        assert found["asyncpay_lsp_node_height_blocks"] == testbed.chain.height_blocks
        return found["asyncpay_lsp_resolutions_total"]

    before = {name: resumed_of(lsp) for name, lsp in testbed.lsps.items()}
    pay_and_count(testbed)
    assert {name: resumed_of(lsp) for name, lsp in testbed.lsps.items()} == {
        name: number + 1 for name, number in before.items()
    }


@pytest.mark.parametrize("end", [Lsp.kill, Lsp.stop], ids=["killed", "stopped"])
def test_without_its_component_an_lsp_forwards_nothing_and_with_it_everything_again(
    testbed: Testbed, end: Callable[[Lsp], None]
) -> None:
    lsp = testbed.lsp("LSP_b")
    before = balances.count(testbed)
    end(lsp)
    try:
        assert (lsp.events()[-1]["what"] == "stopped") == (end is Lsp.stop)
        absent = [component for component in status.look(testbed).components if not component.attached]
        assert [(component.name, component.problem) for component in absent] == [
            ("LSP_b-lsp", "its container is exited")
        ]
        with pytest.raises(PaymentError):
            testbed.pay("A", "B", AMOUNT_MSAT)
        assert set(balances.count(testbed).moved_since(before).values()) == {0}
    finally:
        lsp.start()
        wait_for(interceptor_attached(lsp))
    testbed["A"].forget_failures()  # for an hour A avoids the node that failed its payment
    pay_and_count(testbed)


@pytest.mark.parametrize("testbed", ["lnd"], indirect=True)
def test_a_certificate_that_its_node_made_anew_is_read_again(testbed: Testbed) -> None:
    """Core Lightning is reached without one."""
    files = ["/root/.lnd/tls.cert", "/root/.lnd/tls.key"]
    before = testbed.engine.read("LSP_b", files[0])
    assert testbed.engine.run("LSP_b", ["rm", *files]) == 0
    testbed.stop("LSP_b")
    testbed.start_and_wait("LSP_b")
    assert testbed.engine.read("LSP_b", files[0]) != before
    wait_for(interceptor_attached(testbed.lsp("LSP_b")))
    testbed["A"].forget_failures()
    pay_and_count(testbed)


def test_the_command_line_shows_components(testbed: Testbed) -> None:
    def run(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("testbed")), arguments[0], "-t", testbed.name, *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    components = json.loads(run("status", "--json"))["components"]
    assert [(c["name"], c["node"], c["attached"]) for c in components] == [
        ("LSP_a-lsp", "LSP_a", True),
        ("LSP_b-lsp", "LSP_b", True),
    ]
    assert "LSP_b-lsp" in run("status")
    assert json.loads(run("exec", "LSP_a-lsp", "--", "status", "--json"))["healthy"]
    assert testbed["LSP_a"].node_id in run("logs", "LSP_a-lsp")
