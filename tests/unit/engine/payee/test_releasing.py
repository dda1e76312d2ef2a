"""Released again and again, but only so often, only while it is of use, and only when the money could come."""

import pytest

from asyncpay.engine.core import ClockRead
from asyncpay.engine.payee.effects import LookUpInvoices
from asyncpay.engine.payee.events import ReleaseHeldBack
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.stages import Stage
from asyncpay.lightning import ChannelId
from asyncpay.node_events import InvoicePaid, LinkClosed
from asyncpay.wire.messages import ReleaseStatus

from .world import CHANNEL, HASH, HASH2, PID, START, NodeInvoice, World


def test_at_doubling_intervals_and_not_for_ever() -> None:
    world = World(PayeePolicy(release_seconds=10, release_most_seconds=60, max_releases=6))
    world.announce()
    times = [0]
    for second in range(1, 400):
        world.sleep(1)
        if world.releases > len(times):
            times.append(second)
    assert times == [0, 10, 30, 70, 130, 190]
    assert world.stage is Stage.RELEASING


def test_not_beyond_the_height() -> None:
    world = World(PayeePolicy(max_releases=10**6, release_most_seconds=10))
    world.announce()
    world.mine(432)
    assert world.stage is Stage.RELEASING
    world.mine()
    assert world.stage is Stage.EXPIRED
    sent = world.releases
    world.sleep(1000)
    assert world.releases == sent
    assert world.payee.next_deadline == float("inf")


def test_past_hold_until_it_ends_only_when_every_release_went_unanswered() -> None:
    world = World()
    world.announce(hold_until=int(START) + 50)
    world.sleep(3600)
    assert world.stage is Stage.RELEASING
    world.sleep(20 * 600)
    assert world.releases == PayeePolicy().max_releases
    assert world.stage is Stage.EXPIRED
    assert world.payee.next_deadline == float("inf")


def test_a_release_that_has_had_all_its_tries_rests_until_hold_until() -> None:
    world = World(PayeePolicy(max_releases=2))
    world.announce()
    world.sleep(86_400)
    assert world.stage is Stage.RELEASING
    world.sleep(1)
    assert world.stage is Stage.EXPIRED


def test_not_beyond_the_invoice_whatever_was_announced() -> None:
    world = World(PayeePolicy(max_releases=1, release_most_seconds=10))
    world.invoices[HASH].expires_at = int(START) + 50
    world.announce(hold_until=2**62, release_by_height=2**32 - 1)
    world.sleep(50)
    assert world.stage is Stage.RELEASING
    world.sleep(1)
    assert world.stage is Stage.EXPIRED


def test_the_payers_lsp_says_that_it_is_too_late_and_not_the_clock() -> None:
    world = World()
    world.announce(hold_until=int(START) + 50)
    world.sleep(100)
    world.answer(ReleaseStatus.TOO_LATE)
    assert world.stage is Stage.TOO_LATE


@pytest.mark.parametrize("when", ["before", "after"], ids=lambda when: f"announced-{when}")
def test_a_clock_that_leaps_ends_no_claim_and_refuses_none(when: str) -> None:
    """Even where the wrong time is believed: what the node and the payer's LSP say counts."""
    world = World()
    if when == "before":
        world.announce()
    world.feed(ClockRead(30 * 86_400, 30 * 86_400))
    if when == "after":
        world.announce()
    world.sleep(60)
    world.feed(ClockRead(0, 0))
    assert world.stage is Stage.RELEASING
    assert world.refusals == []
    world.paid()
    assert world.stage is Stage.PAID


def test_what_is_long_over_takes_no_place_of_what_is_held() -> None:
    world = World()
    for number in range(PayeePolicy().max_claims):
        world.announce(bytes([number + 1]) * 32, hold_until=int(START) - 1)
    world.announce(bytes([99]) * 32)
    assert world.refusals == []


def test_without_a_channel_it_waits_for_one() -> None:
    world = World(online=False)
    world.announce()
    world.sleep(1000)
    assert world.releases == 0
    world.connect()
    assert world.releases == 1
    world.disconnect()
    world.sleep(1000)
    assert world.releases == 1
    world.connect()
    assert world.releases == 2


def test_a_closed_channel_is_none() -> None:
    world = World()
    world.feed(LinkClosed(ChannelId.from_name(CHANNEL)))
    world.announce()
    assert world.releases == 0


def test_after_a_break_it_is_due_at_once_and_the_node_is_asked_what_came() -> None:
    world = World()
    world.announce()
    world.sleep(200)
    sent = world.releases
    world.detach()
    world.sleep(1000)
    assert world.releases == sent
    assert world.did(LookUpInvoices) == []
    world.attach()
    assert world.releases == sent + 1
    assert world.did(LookUpInvoices) == [LookUpInvoices(PID, (HASH,))]


def test_paid_while_the_wallet_was_away() -> None:
    world = World()
    world.announce()
    world.detach()
    world.paid()
    world.sleep(90_000)
    world.height += 1000
    world.restart()
    assert world.stage is Stage.PAID
    assert world.claim.paid == (HASH,)


def test_paid() -> None:
    world = World()
    world.announce()
    world.paid()
    assert world.stage is Stage.PAID
    assert world.claim.next_at is None
    sent = world.releases
    world.sleep(10_000)
    world.restart()
    assert world.releases == sent


def test_several_invoices_are_paid_when_the_last_one_is() -> None:
    world = World()
    world.invoices[HASH2] = NodeInvoice()
    world.announce(payment_hashes=(HASH, HASH2), amount_msat=2000)
    world.paid(HASH2)
    assert world.stage is Stage.RELEASING
    assert world.claim.paid == (HASH2,)
    world.paid(HASH2)
    assert world.stage is Stage.RELEASING
    world.restart()
    world.paid(HASH)
    assert world.stage is Stage.PAID
    assert world.claim.paid == (HASH, HASH2)


def test_what_was_paid_before_is_not_stored_again() -> None:
    world = World()
    world.invoices[HASH2] = NodeInvoice()
    world.announce(payment_hashes=(HASH, HASH2), amount_msat=2000)
    world.paid(HASH2)
    assert world.payee.handle(world.now, InvoicePaid(HASH2, 1000)).changes == ()


def test_somebody_else_s_invoice_says_nothing() -> None:
    world = World()
    world.invoices[HASH2] = NodeInvoice()
    world.announce()
    world.paid(HASH2)
    assert world.stage is Stage.RELEASING
    assert world.claim.paid == ()


@pytest.mark.parametrize("end", ["too late", "expired"])
def test_the_money_may_still_come_after_the_end(end: str) -> None:
    world = World()
    world.announce()
    if end == "expired":
        world.sleep(86_401)
    else:
        world.answer(ReleaseStatus.TOO_LATE)
    assert world.stage.value == end
    sent = world.releases
    world.sleep(1000)
    assert world.releases == sent
    world.paid()
    assert world.stage is Stage.PAID


@pytest.mark.parametrize("status", [ReleaseStatus.RELEASED, ReleaseStatus.UNKNOWN])
def test_other_answers_are_no_reason_to_stop(status: ReleaseStatus) -> None:
    world = World()
    world.announce()
    world.answer(status)
    assert world.stage is Stage.RELEASING
    world.sleep(10)
    assert world.releases == 2


def test_an_answer_about_another_claim_is_ignored() -> None:
    world = World()
    world.announce()
    assert world.answer(ReleaseStatus.TOO_LATE, b"x" * 32) == []
    assert world.stage is Stage.RELEASING


def test_a_refused_claim_stays_refused_whoever_pays_the_invoice() -> None:
    world = World()
    world.announce(amount_msat=1)
    before = world.claim
    assert before.stage is Stage.REFUSED
    world.paid()
    assert world.claim == before


def test_a_release_that_the_node_is_not_ready_for_is_no_try_and_goes_on_until_it_is() -> None:
    world = World(PayeePolicy(max_releases=2))
    world.announce()
    for _ in range(50):
        world.feed(ReleaseHeldBack(PID))
        world.sleep(60)
    assert world.releases == 51
    assert world.stage is Stage.RELEASING
    assert world.claim.tries == 1, "it had as good as no try left, as soon as the node was ready"


def test_a_block_may_be_what_the_node_waited_for() -> None:
    world = World()
    world.announce()
    world.feed(ReleaseHeldBack(PID))
    assert world.releases == 1
    world.mine()
    assert world.releases == 2
    world.mine()
    assert world.releases == 2


def test_what_is_held_back_still_ends_at_its_height() -> None:
    world = World()
    world.announce()
    world.feed(ReleaseHeldBack(PID))
    world.mine(433)
    assert world.stage is Stage.EXPIRED
    assert world.releases == 1
