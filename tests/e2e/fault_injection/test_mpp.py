"""Payments in parts: all parts are released together or returned together, also if one of them fails."""

import time

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.wire.messages import BlockState
from harness.faults.failpoints import frozen_before
from harness.services.lsp import Lsp, htlcs_held
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities
from tests.support.payment_harness import PaymentCase, PaymentHarness

from .conftest import PARTS
from .scripted_payer import scripted_payer

MORE_THAN_ONE_CHANNEL_HAS_MSAT = 4_000_000_000
PART_MSAT = 10_000_000
MPP_SECONDS = {"lnd": 120, "cln": 120, "ldk": 180}
"""After this a payee's node has returned the parts of an incomplete set: LND after 120 s, CLN after 70 s, LDK at the
third tick of a timer of 60 s."""
HELD_BEFORE = {"lnd": (PARTS, 1), "cln": (1,), "ldk": (PARTS, 1)}
"""Payments with this number of parts leave slots for all but one part of another. LND and LDK select a channel with
free slots for each part; askrene, which finds CLN's routes, does not know a channel's number of HTLCs, and uses one
channel."""


@pytest.fixture(scope="module")
def testbed(pocket: Testbed, lsp_disk: str) -> Testbed:
    return pocket


def in_parts(payments: PaymentHarness, number: int) -> tuple[PaymentCase, tuple[str, str]]:
    """Return a payment, and the option that splits it into this number of parts."""
    return payments.new_case(number * PART_MSAT), ("--max-part", f"{PART_MSAT}msat")


def answers(lsp: Lsp, since: float) -> list[float]:
    """Return the times at which the LSP resumed an HTLC."""
    return [event["time"] for event in lsp.events() if event["what"] == "resolve resume" and event["time"] > since]


def mpp_seconds(payments: PaymentHarness) -> int:
    """Return the time after which the payee's node has returned the parts of an incomplete set."""
    return MPP_SECONDS[payments.testbed.topology.nodes["B"].implementation]


def parts(payments: PaymentHarness, case: PaymentCase) -> list[dict[str, int]]:
    """Return the parts of a payment that the payer's LSP has, or has had."""
    block = payments.block(case)
    assert block is not None
    found: list[dict[str, int]] = block["parts"]
    return found


def test_sixteen_parts(payments: PaymentHarness) -> None:
    case, split = in_parts(payments, PARTS)
    with payments.b.disconnected():
        assert case.hand_over(*split)["parts"] == PARTS
        payments.wait_for_htlcs(A=PARTS, LSP=PARTS, B=0)
    case.wait_until_paid()
    payments.assert_paid(case)


def test_parts_that_never_come(payments: PaymentHarness) -> None:
    """The payer's node has no slot for the last part: the LSP returns the others, and complete payments stay held."""
    before = HELD_BEFORE[payments.testbed.topology.nodes["A"].implementation]
    held = [in_parts(payments, number) for number in before]
    torn, split = in_parts(payments, PARTS)
    with payments.b.disconnected():
        for case, of_this_size in held:
            case.hand_over(*of_this_size)
        payments.record_fault("no room for the last part")
        paying = payments.a.wallet.paying(torn.invoice, *split)
        all_but_one = sum(before) + PARTS - 1
        payments.wait_for_htlcs(A=all_but_one, LSP=all_but_one, B=0)
        payments.wait_for_block(torn, "failed back")
        assert len(parts(payments, torn)) == PARTS - 1
        assert paying.result(150)["state"] == "failed"
        payments.wait_for_htlcs(A=sum(before), LSP=sum(before), B=0)
    for case, _ in held:
        case.wait_until_paid()
    payments.assert_paid(*(case for case, _ in held))


@pytest.mark.full
def test_parts_that_wait_for_longer_than_the_payee_would(payments: PaymentHarness) -> None:
    """The payee's own timeout starts with its first part, which does not arrive before the last one."""
    case, split = in_parts(payments, PARTS)
    lsp, seconds = payments.testbed.lsp("LSP"), mpp_seconds(payments)
    with payments.b.disconnected():
        case.hand_over(*split)
        held_since = time.time()
        waited = Predicate("waited", lambda: None if time.time() > held_since + seconds + 10 else "not for long")
        wait_for(waited, seconds + 60)
        payments.wait_for_htlcs(A=PARTS, LSP=PARTS, B=0)
        payments.a.disconnect()
    case.wait_until_paid()
    payments.a.reconnect()
    payments.assert_paid(case)
    forwards = capabilities(payments.testbed, "LSP").forwards_with_payer_offline
    assert len(answers(lsp, held_since)) == (PARTS if forwards else 0), "if not, they were paid for: the payer was away"


def test_each_part_is_let_go_once(payments: PaymentHarness) -> None:
    """Each part is resumed exactly once: a payee that misses one of them would return the others."""
    case, split = in_parts(payments, PARTS)
    lsp = payments.testbed.lsp("LSP")
    with payments.b.disconnected():
        case.hand_over(*split)
        released_after = time.time()
    case.wait_until_paid()
    payments.assert_paid(case)
    assert len(answers(lsp, released_after)) == PARTS


def test_a_part_more_than_announced_is_released_with_the_others(payments: PaymentHarness) -> None:
    """The set is complete without it, but it waits like the others."""
    with scripted_payer(payments) as scripted:
        hold = scripted.hold(scripted.invoice(2 * PART_MSAT), amount_msat=PART_MSAT).ask().pay(parts=2)
        hold.update(BlockState.HELD, 2)
        payments.wait_for_htlcs(A=2, LSP=2, B=0)
        hold.announce(scripted.payee, amount_msat=2 * PART_MSAT)
        scripted.assert_paid(hold)


def test_a_part_after_the_release_passes(payments: PaymentHarness) -> None:
    """The payee releases before any part arrives; the first part completes the set, the second arrives after that."""
    with scripted_payer(payments) as scripted:
        hold = scripted.hold(scripted.invoice(2 * PART_MSAT), amount_msat=PART_MSAT).ask()
        hold.announce(scripted.payee, amount_msat=2 * PART_MSAT)
        hold.wait_for_state(State.UNLOCKED)
        hold.pay(parts=2).update(BlockState.SETTLED, 1)
        scripted.assert_paid(hold)


def test_two_invoices_under_one_pid(payments: PaymentHarness) -> None:
    """Neither is paid before both are held; then one release pays both."""
    with scripted_payer(payments) as scripted:
        first, second = scripted.invoice(PART_MSAT), scripted.invoice(2 * PART_MSAT)
        both = {"payment_hashes": (first.payment_hash, second.payment_hash), "amount_msat": 3 * PART_MSAT}
        hold = scripted.hold(first, **both).ask().announce(scripted.payee, second).pay()
        wait_for(htlcs_held(payments.testbed.lsp("LSP"), 1))
        payments.wait_for_htlcs(A=1, LSP=1, B=0)
        other = scripted.hold(second).pay(parts=2)
        scripted.assert_paid(hold, other)

        def missing() -> str | None:
            states = [each["state"] for each in payments.b.wallet.announced() if len(each["payment_hashes"]) == 2]
            return None if states == ["paid"] else f"B says {states}"

        wait_for(Predicate("both_paid", missing))


@pytest.mark.full
def test_lsp_stands_still_between_two_answers(payments: PaymentHarness) -> None:
    """For longer than the payee waits for the second part: both are returned, and the payee has not kept the first."""
    case, split = in_parts(payments, 2)
    lsp, seconds = payments.testbed.lsp("LSP"), mpp_seconds(payments)
    payments.b.disconnect()
    case.hand_over(*split)
    with frozen_before(payments.testbed, lsp, "ResolveHtlc", 2) as store:
        payments.b.reconnect()
        wait_for(store.frozen, 60)
        payments.record_fault("LSP component frozen")
        payments.wait_for_htlcs(A=2, LSP=3, B=1)
        returned = Predicate("first_part_returned", lambda: "B has it" if payments.htlcs("B") else None)
        wait_for(returned, seconds + 60)
    case.wait_until("failed", timeout_seconds=seconds + 120)
    payments.assert_nobody_paid(case)


def test_parts_over_two_channels_are_released_together(payments: PaymentHarness) -> None:
    """The last of these tests: LDK spends all that one of the two channels has before it uses the other."""
    case = payments.new_case(MORE_THAN_ONE_CHANNEL_HAS_MSAT)
    with payments.b.disconnected():
        number = case.hand_over()["parts"]
        payments.wait_for_htlcs(A=number, LSP=number, B=0)
        assert all(channel.htlcs for channel in payments.testbed["A"].channels()), "only one channel was needed"
    case.wait_until_paid()
    payments.assert_paid(case)
