"""Released again and again, but only so often, only while it is of use, and only when the money could come."""

import pytest

from asyncpay.engine.core import ClockRead
from asyncpay.engine.payee.interface import LookUpInvoices, ReleaseHeldBack
from asyncpay.engine.payee.states import State
from asyncpay.engine.policy import PayeePolicy
from asyncpay.lightning import ChannelId
from asyncpay.node_events import InvoicePaid, LinkClosed
from asyncpay.wire.messages import ReleaseStatus

from .harness import CHANNEL, HASH, HASH2, PID, START, NodeInvoice, PayeeHarness


def test_at_doubling_intervals_and_not_for_ever() -> None:
    harness = PayeeHarness(PayeePolicy(release_seconds=10, release_most_seconds=60, max_releases=6))
    harness.announce()
    times = [0]
    for second in range(1, 400):
        harness.sleep(1)
        if harness.releases > len(times):
            times.append(second)
    assert times == [0, 10, 30, 70, 130, 190]
    assert harness.state is State.RELEASING


def test_not_beyond_the_height() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=10**6, release_most_seconds=10))
    harness.announce()
    harness.mine(432)
    assert harness.state is State.RELEASING
    harness.mine()
    assert harness.state is State.EXPIRED
    sent = harness.releases
    harness.sleep(1000)
    assert harness.releases == sent
    assert harness.engine.next_deadline == float("inf")


def test_past_hold_until_it_ends_only_when_every_release_went_unanswered() -> None:
    harness = PayeeHarness()
    harness.announce(hold_until=int(START) + 50)
    harness.sleep(3600)
    assert harness.state is State.RELEASING
    harness.sleep(20 * 600)
    assert harness.releases == PayeePolicy().max_releases
    assert harness.state is State.EXPIRED
    assert harness.engine.next_deadline == float("inf")


def test_a_release_that_has_had_all_its_tries_rests_until_hold_until() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=2))
    harness.announce()
    harness.sleep(86_400)
    assert harness.state is State.RELEASING
    harness.sleep(1)
    assert harness.state is State.EXPIRED


def test_not_beyond_the_invoice_whatever_was_announced() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=1, release_most_seconds=10))
    harness.invoices[HASH].expires_at = int(START) + 50
    harness.announce(hold_until=2**62, release_by_height=2**32 - 1)
    harness.sleep(50)
    assert harness.state is State.RELEASING
    harness.sleep(1)
    assert harness.state is State.EXPIRED


def test_the_payers_lsp_says_that_it_is_too_late_and_not_the_clock() -> None:
    harness = PayeeHarness()
    harness.announce(hold_until=int(START) + 50)
    harness.sleep(100)
    harness.answer(ReleaseStatus.TOO_LATE)
    assert harness.state is State.TOO_LATE


@pytest.mark.parametrize("when", ["before", "after"], ids=lambda when: f"announced-{when}")
def test_a_clock_that_leaps_ends_no_claim_and_refuses_none(when: str) -> None:
    """Even where the wrong time is believed: what the node and the payer's LSP say counts."""
    harness = PayeeHarness()
    if when == "before":
        harness.announce()
    harness.feed(ClockRead(30 * 86_400, 30 * 86_400))
    if when == "after":
        harness.announce()
    harness.sleep(60)
    harness.feed(ClockRead(0, 0))
    assert harness.state is State.RELEASING
    assert harness.refusals == []
    harness.paid()
    assert harness.state is State.PAID


def test_a_claim_that_rests_ends_by_the_clock_as_it_was_read_last() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=1, release_most_seconds=600))
    harness.announce(hold_until=int(START) + 10_000)
    harness.sleep(1_000)
    assert harness.engine.next_deadline == START + 10_001
    harness.feed(ClockRead(5_000, 5_000))
    assert harness.engine.next_deadline == START + 5_001
    harness.feed(ClockRead(0, 0))
    harness.sleep(8_999)
    assert harness.state is State.RELEASING
    harness.feed(ClockRead(2, 2))
    assert harness.state is State.EXPIRED


def test_what_is_long_over_takes_no_place_of_what_is_held() -> None:
    harness = PayeeHarness()
    for number in range(PayeePolicy().max_claims):
        harness.announce(bytes([number + 1]) * 32, hold_until=int(START) - 1)
    harness.announce(bytes([99]) * 32)
    assert harness.refusals == []


def test_without_a_channel_it_waits_for_one() -> None:
    harness = PayeeHarness(online=False)
    harness.announce()
    harness.sleep(1000)
    assert harness.releases == 0
    harness.connect()
    assert harness.releases == 1
    harness.disconnect()
    harness.sleep(1000)
    assert harness.releases == 1
    harness.connect()
    assert harness.releases == 2


def test_a_closed_channel_is_none() -> None:
    harness = PayeeHarness()
    harness.feed(LinkClosed(ChannelId.from_name(CHANNEL)))
    harness.announce()
    assert harness.releases == 0


def test_after_a_break_it_is_due_at_once_and_the_node_is_asked_what_came() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.sleep(200)
    sent = harness.releases
    harness.detach()
    harness.sleep(1000)
    assert harness.releases == sent
    assert harness.did(LookUpInvoices) == []
    harness.attach()
    assert harness.releases == sent + 1
    assert harness.did(LookUpInvoices) == [LookUpInvoices(PID, (HASH,))]


def test_paid_while_the_wallet_was_away() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.detach()
    harness.paid()
    harness.sleep(90_000)
    harness.height += 1000
    harness.restart()
    assert harness.state is State.PAID
    assert harness.claim.paid == (HASH,)


def test_paid() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.paid()
    assert harness.state is State.PAID
    assert harness.claim.next_at is None
    sent = harness.releases
    harness.sleep(10_000)
    harness.restart()
    assert harness.releases == sent


def test_several_invoices_are_paid_when_the_last_one_is() -> None:
    harness = PayeeHarness()
    harness.invoices[HASH2] = NodeInvoice()
    harness.announce(payment_hashes=(HASH, HASH2), amount_msat=2000)
    harness.paid(HASH2)
    assert harness.state is State.RELEASING
    assert harness.claim.paid == (HASH2,)
    harness.paid(HASH2)
    assert harness.state is State.RELEASING
    harness.restart()
    harness.paid(HASH)
    assert harness.state is State.PAID
    assert harness.claim.paid == (HASH, HASH2)


def test_what_was_paid_before_is_not_stored_again() -> None:
    harness = PayeeHarness()
    harness.invoices[HASH2] = NodeInvoice()
    harness.announce(payment_hashes=(HASH, HASH2), amount_msat=2000)
    harness.paid(HASH2)
    assert harness.engine.handle(harness.now, InvoicePaid(HASH2, 1000)).changes == ()


def test_somebody_else_s_invoice_says_nothing() -> None:
    harness = PayeeHarness()
    harness.invoices[HASH2] = NodeInvoice()
    harness.announce()
    harness.paid(HASH2)
    assert harness.state is State.RELEASING
    assert harness.claim.paid == ()


@pytest.mark.parametrize("end", ["too late", "expired"])
def test_the_money_may_still_come_after_the_end(end: str) -> None:
    harness = PayeeHarness()
    harness.announce()
    if end == "expired":
        harness.sleep(86_401)
    else:
        harness.answer(ReleaseStatus.TOO_LATE)
    assert harness.state.value == end
    sent = harness.releases
    harness.sleep(1000)
    assert harness.releases == sent
    harness.paid()
    assert harness.state is State.PAID


@pytest.mark.parametrize("status", [ReleaseStatus.RELEASED, ReleaseStatus.UNKNOWN])
def test_other_answers_are_no_reason_to_stop(status: ReleaseStatus) -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.answer(status)
    assert harness.state is State.RELEASING
    harness.sleep(10)
    assert harness.releases == 2


def test_an_answer_about_another_claim_is_ignored() -> None:
    harness = PayeeHarness()
    harness.announce()
    assert harness.answer(ReleaseStatus.TOO_LATE, b"x" * 32) == []
    assert harness.state is State.RELEASING


def test_a_refused_claim_stays_refused_whoever_pays_the_invoice() -> None:
    harness = PayeeHarness()
    harness.announce(amount_msat=1)
    before = harness.claim
    assert before.state is State.REFUSED
    harness.paid()
    assert harness.claim == before


def test_a_release_that_the_node_is_not_ready_for_is_no_try_and_goes_on_until_it_is() -> None:
    harness = PayeeHarness(PayeePolicy(max_releases=2))
    harness.announce()
    for _ in range(50):
        harness.feed(ReleaseHeldBack(PID))
        harness.sleep(60)
    assert harness.releases == 51
    assert harness.state is State.RELEASING
    assert harness.claim.tries == 1, "it had as good as no try left, as soon as the node was ready"


def test_a_block_may_be_what_the_node_waited_for() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.feed(ReleaseHeldBack(PID))
    assert harness.releases == 1
    harness.mine()
    assert harness.releases == 2
    harness.mine()
    assert harness.releases == 2


def test_what_is_held_back_still_ends_at_its_height() -> None:
    harness = PayeeHarness()
    harness.announce()
    harness.feed(ReleaseHeldBack(PID))
    harness.mine(433)
    assert harness.state is State.EXPIRED
    assert harness.releases == 1
