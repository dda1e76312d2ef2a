"""The LSP pays in the place of a payer that is away: what may happen until that is decided, and after a crash."""

from collections.abc import Callable

import pytest

from asyncpay.engine.lsp.interface import Log, PaymentReported, PayOnBehalf, TrackPayment
from asyncpay.engine.lsp.records import Attempt
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import ChannelId, PaymentResult, PaymentStatus, Resolution

from .factories import CHANNEL_A, CHANNEL_A2, CUTOFF_BLOCKS, FINAL_EXPIRY, HASH, HEIGHT, PREIMAGE, A, B
from .harness import LspHarness, payer_away, paying_on_behalf, second_payment


@pytest.mark.parametrize("what", ["cancel", "refusal", "hold_until", "height", "margin", "payer back", "lost"])
def test_nothing_touches_the_parts_while_it_pays(what: str) -> None:
    harness = paying_on_behalf()
    (key,) = harness.htlcs
    match what:
        case "cancel":
            harness.cancel()
        case "refusal":
            harness.refuse()
        case "hold_until":
            harness.sleep(86_401)
        case "height":
            harness.mine_to(HEIGHT + 433)
        case "margin":
            harness._own_expiry[HASH] += 200  # it went on chain, and takes its time there
            harness.mine_to(FINAL_EXPIRY + 80 - 25)
        case "payer back":
            harness.connect(A)
        case "lost":
            harness.close_channel(CHANNEL_A)
    assert (harness.state(), harness.answered(key)) == (State.PAYING, [[]])
    harness.finish_own_payment(preimage=PREIMAGE)
    assert (harness.state(), harness.answered(key)) == (State.CLAIMED, [[Resolution.SETTLE]])
    assert harness.losses == []


@pytest.mark.parametrize("after_success", [False, True])
def test_one_part_more_goes_back_to_the_payer(after_success: bool) -> None:
    harness = paying_on_behalf()
    harness.connect(A)
    if after_success:
        harness.finish_own_payment(preimage=PREIMAGE)
    late = harness.pay(1100)
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.answered(late) == [[Resolution.FAIL]]
    assert harness.state() is State.CLAIMED


def test_failed_for_good_it_waits_for_the_payer() -> None:
    harness = paying_on_behalf()
    harness.finish_own_payment(preimage=None)
    assert harness.state() is State.DUE
    assert harness.pushes(A) == ["async_payments.settlement_pending"]
    harness.sleep(3600)
    assert len(harness.pay_orders) == 1
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


def test_an_own_payment_that_is_stuck_fails_before_the_parts_are_in_danger() -> None:
    harness = paying_on_behalf()
    harness.mine_to(FINAL_EXPIRY + 80 - CUTOFF_BLOCKS - 144)  # the node's cutoff, and the margin
    assert harness.state() is State.PAYING
    harness.mine()
    assert harness.fates() == ["failed"]
    assert harness.losses == []


def test_failed_after_the_deadline_the_parts_go_back() -> None:
    harness = paying_on_behalf()
    harness.sleep(86_401)
    harness.finish_own_payment(preimage=None)
    assert harness.fates() == ["failed"]


def test_failed_after_the_deadline_nothing_is_released_though_the_payer_is_back() -> None:
    harness = paying_on_behalf()
    harness.connect(A)
    harness.sleep(86_401)
    harness.finish_own_payment(preimage=None)
    assert harness.fates() == ["failed"]
    assert Resolution.RESUME not in next(iter(harness.htlcs.values())).answers


def test_failed_with_a_part_lost_meanwhile_the_others_go_back() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    lost, other = harness.pay(600, channel=CHANNEL_A2), harness.pay(600)
    harness.disconnect(A)
    harness.release()
    harness.close_channel(CHANNEL_A2)
    harness.finish_own_payment(preimage=None)
    assert harness.answered(lost, other) == [[], [Resolution.FAIL]]
    assert harness.state() is State.FAILED_BACK


def test_a_success_without_the_right_preimage_is_not_believed() -> None:
    harness = paying_on_behalf()
    harness.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=b"x" * 32)))
    assert (harness.state(), harness.fates()) == (State.PAYING, ["held"])


def test_the_attempt_is_stored_before_it_is_made() -> None:
    harness = payer_away()
    harness.crash_before = PayOnBehalf
    harness.release()
    assert len(harness.did(PayOnBehalf)) == 1  # after the restart: the node knew of no payment
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED


def test_after_a_crash_it_is_tracked_and_not_made_twice() -> None:
    harness = paying_on_behalf()
    harness.restart()
    assert harness.did(TrackPayment) == [TrackPayment(HASH)]
    assert len(harness.pay_orders) == 1
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED


def test_lost_sight_of_it_is_asked_for_again() -> None:
    harness = paying_on_behalf()
    harness.lose_sight()
    harness.sleep(4.9)
    assert harness.did(TrackPayment) == []
    harness.sleep(0.1)
    assert harness.did(TrackPayment) == [TrackPayment(HASH)]
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED


def test_decided_while_the_lsp_was_down() -> None:
    harness = paying_on_behalf()
    harness.detach()
    harness._awaited.clear()
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.PAYING
    harness.restart()
    assert (harness.state(), harness.fates()) == (State.CLAIMED, ["settled"])


def _killed_before_it_pays(meanwhile: Callable[[LspHarness], object]) -> LspHarness:
    """Killed after the attempt was stored. Its order may have left, or not."""
    harness = payer_away()
    harness.crash_before = PayOnBehalf
    harness.on_crash = lambda: meanwhile(harness)
    harness.release()
    assert (harness.state(), harness.pay_orders) == (State.PAYING, [])
    return harness


@pytest.mark.parametrize("what", ["too late", "channel closed", "part gone"])
def test_never_started_and_now_impossible_it_is_given_up_once_no_order_can_arrive_any_more(what: str) -> None:
    def meanwhile(harness: LspHarness) -> None:
        match what:
            case "too late":
                harness.now += 86_401
            case "channel closed":
                harness.close_channel(CHANNEL_A)
            case "part gone":
                next(iter(harness.htlcs.values())).fate = "failed and gone"

    harness = _killed_before_it_pays(meanwhile)
    harness.sleep(599)
    assert harness.state() is State.PAYING
    harness.sleep(5)
    assert (harness.state(), harness.pay_orders) == (State.FAILED_BACK, [])


def test_an_order_that_arrives_after_the_node_knew_of_none_is_not_lost_sight_of() -> None:
    """A broken connection may hold an order back. The parts stay, or the payee would be paid for nothing."""
    harness = _killed_before_it_pays(lambda harness: setattr(harness, "now", harness.now + 86_401))
    (key,) = harness.htlcs
    harness.sleep(30)
    harness.paid[HASH] = PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=PREIMAGE)  # it came after all
    harness.sleep(5)
    assert (harness.state(), harness.answered(key)) == (State.CLAIMED, [[Resolution.SETTLE]])


def test_failed_after_a_break_it_is_given_up_once_no_order_can_arrive_any_more() -> None:
    """LND carries out an order also after a payment of the same hash has failed (InitPayment)."""
    harness = paying_on_behalf()
    harness.lose_sight()
    harness.finish_own_payment(preimage=None)
    harness.connect(A)
    harness.sleep(599)
    assert (harness.state(), harness.fates()) == (State.PAYING, ["held"])
    harness.sleep(6)
    assert harness.fates() == ["forwarded"]


def test_failed_after_a_break_the_height_at_which_any_order_has_expired_is_enough() -> None:
    harness = paying_on_behalf()
    harness.lose_sight()
    harness.finish_own_payment(preimage=None)
    harness.mine_to(harness.pay_orders[0].latest_expiry)
    harness.sleep(5)
    assert harness.fates() == ["failed"]


def test_ordered_again_once_after_each_break() -> None:
    harness = paying_on_behalf()
    for orders in (2, 3):
        harness.paid.clear()  # the node never heard of it
        harness._awaited.clear()
        harness.lose_sight()
        harness.sleep(5)
        assert len(harness.pay_orders) == orders
        harness.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.UNKNOWN)))
        assert len(harness.pay_orders) == orders
    assert harness.state() is State.PAYING


def test_an_older_answer_does_not_hide_that_the_order_is_still_carried_out() -> None:
    """Asked twice after a crash, the node answers twice that it knows of none: with the first one the order begins."""
    harness = payer_away()
    harness.crash_before = PayOnBehalf
    harness.on_crash = lambda: setattr(harness, "tells_payments", False)
    harness.release()
    harness.detach()
    harness.attach()
    for status, seconds in ((PaymentStatus.UNKNOWN, 0), (PaymentStatus.UNKNOWN, 601), (PaymentStatus.FAILED, 0)):
        harness.feed(PaymentReported(HASH, PaymentResult(status=status)))
        harness.sleep(seconds)
    harness.connect(A)
    assert (len(harness.pay_orders), harness.state(), harness.fates()) == (1, State.PAYING, ["held"])
    failed = PaymentResult(status=PaymentStatus.FAILED)
    harness.feed(PaymentReported(HASH, failed, of_order=True))
    assert harness.fates() == ["forwarded"]


def test_not_for_htlcs_that_are_going_on_chain() -> None:
    harness = payer_away()
    del harness.links[ChannelId.from_name(CHANNEL_A)]
    harness.engine.state.node.channels.remove(
        ChannelId.from_name(CHANNEL_A)
    )  # the snapshot that will tell of the HTLC is still under way
    harness.release()
    assert harness.pay_orders == []


def test_what_is_decided_is_not_asked_about_any_more() -> None:
    for preimage in (PREIMAGE, None):
        harness = paying_on_behalf()
        harness.finish_own_payment(preimage=preimage)
        harness.effects.clear()
        harness.restart()
        assert harness.did(TrackPayment) == []


def test_the_claim_is_repeated_when_the_htlc_is_offered_again() -> None:
    harness = paying_on_behalf()
    harness.finish_own_payment(preimage=PREIMAGE)
    (key,) = harness.htlcs
    harness.htlcs[key].fate, harness.htlcs[key].in_memory = "held", False  # LND died before it noted the answer
    harness.restart_node()
    harness.sleep(15 * 86_400)
    harness.mine_to(HEIGHT + 450)  # the block's deadlines are long past, its HTLC is still there
    harness.connect(A)
    assert harness.htlcs[key].fate.startswith("settled")
    assert harness.losses == []


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_claimed_counts_until_the_payer_has_let_go_of_it(restarted: bool) -> None:
    harness = payer_away(LspHarness(policy=LspPolicy(on_behalf_min_part_msat=0, max_on_behalf_msat=2099)))
    harness.release()
    harness.finish_own_payment(preimage=PREIMAGE)
    if restarted:
        harness.restart()
    other = second_payment(harness, B)
    harness.sleep(120)
    assert (harness.state(), harness.state(other)) == (State.CLAIMED, State.DUE)
    harness.connect(A)
    harness.mine()
    harness.sleep(60)
    assert harness.state(other) is State.PAYING


def test_it_is_not_forgotten_while_it_is_undecided() -> None:
    harness = paying_on_behalf()
    harness._own_expiry[HASH] += 10_000
    harness.close_channel(CHANNEL_A)
    harness.sleep(30 * 86_400)
    harness.mine_to(HEIGHT + 2000)
    assert harness.state() is State.PAYING
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.did(Log)[-1].what == "claimed"
    assert harness.state() is None  # its time was over, and now it is decided


def test_the_attempt_is_forgotten_with_its_block() -> None:
    harness = paying_on_behalf()
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.connect(A)
    harness.sleep(86_401)
    harness.mine_to(HEIGHT + 434)
    assert not [kind for kind, _ in harness.stored if kind is Attempt]
