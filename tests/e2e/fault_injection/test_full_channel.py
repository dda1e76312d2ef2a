"""A channel that is full of held HTLCs, and an LSP that is killed: each payment is paid once, or returned."""

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.wire.messages import BlockState
from harness.faults.failpoints import store_of
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.topology import Topology
from harness.waits import Predicate, wait_for
from tests.support.implementations import IMPLEMENTATIONS, all_on
from tests.support.payment_harness import PaymentHarness
from tests.support.scripted_peer import Hold

from .scripted_payer import ScriptedPayer, scripted_payer

SLOTS = 483
"""The maximum number of HTLCs from one end of a channel (BOLT 2)."""
PARTS, PART_MSAT = 16, 10_000_000
SIZES = (*[PARTS] * (SLOTS // PARTS), SLOTS % PARTS)
"""The number of parts of each payment: together they use every slot."""
RETURNED = 5
"""The number of payments that are cancelled; the others are released."""
ANSWERS_BEFORE_DEATH = 100
PAY_SECONDS = 100
HELD_SECONDS, DONE_SECONDS = 150, 300

pytestmark = pytest.mark.full


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def topology(request: pytest.FixtureRequest) -> Topology:
    return all_on(request.param, "full-channel.yaml")


def test_as_many_held_as_a_channel_takes(payments: PaymentHarness) -> None:
    """LSP component and node are killed while all are held, and the component again while it answers."""
    testbed, lsp = payments.testbed, payments.testbed.lsp("LSP")
    with scripted_payer(payments) as scripted:
        holds = [scripted.hold(scripted.invoice(parts * PART_MSAT)).ask() for parts in SIZES]
        for hold, parts in zip(holds, SIZES, strict=True):
            hold.pay(parts, timeout_seconds=PAY_SECONDS)
        for hold, parts in zip(holds, SIZES, strict=True):
            hold.update(BlockState.HELD, parts, timeout_seconds=HELD_SECONDS)
        payments.wait_for_htlcs(A=SLOTS, LSP=SLOTS, B=0)
        assert_no_room_for_more(payments, scripted)

        payments.record_fault("SIGKILL LSP node")
        testbed.kill("LSP")
        testbed.start_and_wait("LSP")
        wait_for(htlcs_held(lsp, SLOTS), HELD_SECONDS)
        payments.record_fault("SIGKILL LSP component")
        store_of(testbed, lsp).ask("ResolveHtlc", ANSWERS_BEFORE_DEATH)
        lsp.kill()
        lsp.start()
        wait_for(htlcs_held(lsp, SLOTS), HELD_SECONDS)

        for hold in holds[RETURNED:]:
            hold.announce(scripted.payee)
        wait_until_dead(payments, lsp)
        payments.record_fault("SIGKILL LSP component")
        lsp.start()
        wait_for(interceptor_attached(lsp), HELD_SECONDS)
        for hold in holds[:RETURNED]:
            hold.cancel()
        assert [each.result(DONE_SECONDS).status for each in holds[:RETURNED]] == [PaymentStatus.FAILED] * RETURNED
        scripted.assert_paid(*holds[RETURNED:])


def assert_no_room_for_more(payments: PaymentHarness, scripted: ScriptedPayer) -> None:
    """Assert that one more payment fails at the payer's node."""
    more: Hold = scripted.hold(scripted.invoice(PART_MSAT)).ask().pay()
    assert more.result(60).status is PaymentStatus.FAILED
    payments.wait_for_htlcs(A=SLOTS, LSP=SLOTS, B=0)
    more.cancel()


def wait_until_dead(payments: PaymentHarness, lsp: Lsp) -> None:
    """Wait until the component has exited by itself."""

    def missing() -> str | None:
        state = payments.testbed.engine.states()[lsp.name]
        return None if state == "exited" else f"{lsp.name} is {state}"

    wait_for(Predicate("dead", missing), HELD_SECONDS)
