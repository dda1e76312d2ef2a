"""The LSP's component and its node, killed at the worst moments: no hold, no decision and no money is lost."""

from concurrent.futures import Future

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.wire.messages import BlockState
from harness.checks.balances import Balances
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.testbed import Testbed
from harness.waits import wait_for
from tests.support.balance_checks import assert_paid_once, assert_returned
from tests.support.component_crashes import ATTACH_SECONDS, crash_before, restart, wait_for_death
from tests.support.component_log import resumed, resumed_since
from tests.support.implementations import capabilities
from tests.support.scripted_peer import Hold, ScriptedPeer

pytestmark = pytest.mark.seconds(8)

AMOUNT_MSAT = 1_600_000


def held(a: ScriptedPeer, b: ScriptedPeer, parts: int = 1) -> Hold:
    """A payment from A to B, all parts of which the LSP holds."""
    return Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay(parts).update(BlockState.HELD, parts)


def test_killed_while_it_holds(testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances) -> None:
    hold = held(a, b, parts=2)
    lsp.kill()

    restart(lsp)
    wait_for(htlcs_held(lsp, 2))
    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)
    hold.update(BlockState.SETTLED, 2)


@pytest.mark.parametrize("answered", [0, 1])
def test_killed_after_the_release_was_stored_and_some_parts_were_answered(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances, answered: int
) -> None:
    hold = held(a, b, parts=2)
    crash_before(testbed, lsp, "ResolveHtlc", answered + 1)
    wait_for(htlcs_held(lsp, 2))
    hold.show_pid(b)
    wait_for_death(testbed, lsp)

    restart(lsp)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)
    hold.update(BlockState.SETTLED, 2)


def test_killed_after_the_fail_back_was_stored(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b)
    crash_before(testbed, lsp, "ResolveHtlc")
    wait_for(htlcs_held(lsp, 1))
    hold.cancel()
    wait_for_death(testbed, lsp)
    assert not hold.payment.done()

    restart(lsp)

    assert_returned(testbed, before, hold.result())
    hold.update(BlockState.FAILED_BACK)


def test_killed_after_a_request_was_accepted_and_before_it_said_so(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    crash_before(testbed, lsp, "SendToClient")
    hold = Hold(a, "LSP", b.invoice(AMOUNT_MSAT))
    a.send(hold.lsp_id, hold.request)
    wait_for_death(testbed, lsp)
    restart(lsp)
    hold.wait_for_state(State.ACCEPTED)

    hold.ask().pay().update(BlockState.HELD)
    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


def test_killed_while_its_node_is_down(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b, parts=2)
    testbed.kill("LSP")
    lsp.kill()

    lsp.start()
    testbed.start_and_wait("LSP")
    wait_for(htlcs_held(lsp, 2), ATTACH_SECONDS)
    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


@pytest.mark.full
def test_killed_with_its_node_and_back_long_after_it(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    """New HTLCs do not wait: on Core Lightning they fail after ten seconds. HTLCs that were held are not new."""
    hold = held(a, b)
    testbed.kill("LSP")
    lsp.kill()

    testbed.start_and_wait("LSP")
    new = a.run(a.pay(b.invoice(AMOUNT_MSAT), timeout_seconds=1))
    assert new.status is PaymentStatus.FAILED
    assert not hold.payment.done()
    restart(lsp)
    wait_for(htlcs_held(lsp, 1), ATTACH_SECONDS)
    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


def test_its_node_is_killed_while_it_holds(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b, parts=2)
    testbed.kill("LSP")

    testbed.start_and_wait("LSP")
    wait_for(htlcs_held(lsp, 2), ATTACH_SECONDS)
    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


def test_its_node_is_killed_and_the_release_comes_before_the_payer_is_back(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b)
    with a.away():
        testbed.kill("LSP")
        testbed.start_and_wait("LSP")
        wait_for(interceptor_attached(lsp), ATTACH_SECONDS)
        offered_again = bool(capabilities(testbed, "LSP").reoffers_without_payer)
        wait_for(htlcs_held(lsp, int(offered_again)))
        hold.release(b)
        hold.wait_for_state(State.SETTLED if offered_again else State.DUE)

    assert_paid_once(testbed, before, hold.outcome(), AMOUNT_MSAT)
    hold.ask().update(BlockState.SETTLED)


def test_a_release_that_it_was_not_there_to_hear_is_repeated(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    hold = held(a, b)
    lsp.kill()
    hold.show_pid(b)
    restart(lsp)
    wait_for(htlcs_held(lsp, 1))
    hold.wait_for_state(State.HELD)

    hold.release(b)

    assert_paid_once(testbed, before, hold.result(), AMOUNT_MSAT)


def test_killed_before_it_lets_an_ordinary_payment_pass(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    crash_before(testbed, lsp, "ResolveHtlc")
    payment = a.start(a.pay(b.invoice(AMOUNT_MSAT)))
    wait_for_death(testbed, lsp)
    assert not payment.done()

    restart(lsp)

    assert_paid_once(testbed, before, payment.result(60), AMOUNT_MSAT)


def test_killed_while_an_ordinary_payment_is_on_its_way(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    invoice = b.invoice(AMOUNT_MSAT)
    before_it = resumed(lsp)
    testbed.freeze("B")
    try:
        payment: Future[PaymentResult] = a.start(a.pay(invoice))
        wait_for(resumed_since(lsp, before_it))
        lsp.kill()
        restart(lsp)
    finally:
        testbed.unfreeze("B")

    assert_paid_once(testbed, before, payment.result(60), AMOUNT_MSAT)
