"""The Core Lightning plugin by itself: while its process is down, near an expiry, and when it is killed."""

from collections.abc import Iterator

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.nodes.cln.plugin import ATTACH_SECONDS, MARGIN_BLOCKS
from asyncpay.wire.messages import BlockState
from harness.checks import balances
from harness.checks.balances import Balances
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.balance_checks import assert_paid_once
from tests.support.component_crashes import restart
from tests.support.implementations import topology_on
from tests.support.scripted_peer import Hold, ScriptedPeer

AMOUNT_MSAT = 1_600_000
KILL_PLUGIN = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"/nodes/cln/plugin.py" in (process / "cmdline").read_bytes() and process.name != str(os.getpid()):
        if b"lightningd" not in (process / "comm").read_bytes():
            os.kill(int(process.name), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(topology_on("cln", "phones.yaml", "LSP"), request.config) as running:
        yield running


def held(a: ScriptedPeer, b: ScriptedPeer, **options: int) -> Hold:
    """A payment from A to B that the LSP holds."""
    return Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay(**options).update(BlockState.HELD)


def test_what_the_process_knows_of_waits_for_it_longer_than_what_it_does_not(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b)
    lsp.kill()
    unknown = a.run(a.pay(b.invoice(AMOUNT_MSAT), timeout_seconds=1))
    assert unknown.status is PaymentStatus.FAILED  # after the plugin's ten seconds without a process
    assert not hold.payment.done()

    restart(lsp)
    wait_for(htlcs_held(lsp, 1))
    hold.release(b)
    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


def test_a_process_that_comes_in_time_gets_what_came_before_it(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    lsp.kill()
    payment = a.start(a.pay(b.invoice(AMOUNT_MSAT)))

    def missing() -> str | None:
        return None if any(channel.htlcs for channel in testbed["LSP"].channels()) else "no HTLC yet"

    wait_for(Predicate("htlc_at_the_lsp", missing), ATTACH_SECONDS)
    restart(lsp)
    assert_paid_once(testbed, before, payment.result(60), AMOUNT_MSAT)


def test_near_its_expiry_an_htlc_is_failed_though_the_process_is_dead(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b, slack_blocks=0)
    expiry = next(iter(lsp.status()["blocks"][-1]["parts"]))["incoming_expiry"]
    lsp.kill()
    testbed.mine(expiry - MARGIN_BLOCKS - 1 - testbed.chain.height_blocks)
    assert not hold.payment.done()

    testbed.mine()
    assert hold.result().status is PaymentStatus.FAILED
    assert balances.count(testbed) == before
    restart(lsp)
    hold.update(BlockState.FAILED_BACK)


def test_a_plugin_that_is_killed_lets_go_of_what_it_holds_and_lightningd_stops(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    """This cannot be prevented from outside lightningd: it continues the held HTLCs, as if they had been released, and
    stops, because the plugin is important. Mostly it exits before the HTLC is forwarded, and after its restart the HTLC
    is returned to A; otherwise B is paid without a release. The hold is lost in both cases, and no money is.
    """
    hold = held(a, b)
    testbed.engine.output("LSP", ["python3", "-c", KILL_PLUGIN])

    def missing() -> str | None:
        state = testbed.engine.states()["LSP"]
        return None if state == "exited" else f"lightningd is {state}"

    wait_for(Predicate("lightningd_stopped", missing))
    testbed.start_and_wait("LSP")
    wait_for(interceptor_attached(lsp), 60)
    if hold.result().status is PaymentStatus.FAILED:
        assert balances.count(testbed) == before
    else:
        assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)
    a.forget_failures()
    assert testbed.pay("A", "B", AMOUNT_MSAT).amount_msat == AMOUNT_MSAT
