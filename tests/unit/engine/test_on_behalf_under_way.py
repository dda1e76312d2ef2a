"""The LSP pays in the place of a payer that is away: what may happen until that is decided, and after a crash."""

from collections.abc import Callable

import pytest

from asyncpay.engine.lsp.effects import Log, PayOnBehalf, TrackPayment
from asyncpay.engine.lsp.events import PaymentReported
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Attempt
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import ChannelId, PaymentResult, PaymentStatus, Resolution

from .given import CHANNEL_A, CHANNEL_A2, CUTOFF_BLOCKS, FINAL_EXPIRY, HASH, HEIGHT, PREIMAGE, A, B
from .world import World, payer_away, paying_on_behalf, second_payment


@pytest.mark.parametrize("what", ["cancel", "refusal", "hold_until", "height", "margin", "payer back", "lost"])
def test_nothing_touches_the_parts_while_it_pays(what: str) -> None:
    world = paying_on_behalf()
    (key,) = world.htlcs
    match what:
        case "cancel":
            world.cancel()
        case "refusal":
            world.refuse()
        case "hold_until":
            world.sleep(86_401)
        case "height":
            world.mine_to(HEIGHT + 433)
        case "margin":
            world._own_expiry[HASH] += 200  # it went on chain, and takes its time there
            world.mine_to(FINAL_EXPIRY + 80 - 25)
        case "payer back":
            world.connect(A)
        case "lost":
            world.close_channel(CHANNEL_A)
    assert (world.state(), world.answered(key)) == (State.PAYING, [[]])
    world.finish_own_payment(preimage=PREIMAGE)
    assert (world.state(), world.answered(key)) == (State.CLAIMED, [[Resolution.SETTLE]])
    assert world.losses == []


@pytest.mark.parametrize("after_success", [False, True])
def test_one_part_more_goes_back_to_the_payer(after_success: bool) -> None:
    world = paying_on_behalf()
    world.connect(A)
    if after_success:
        world.finish_own_payment(preimage=PREIMAGE)
    late = world.pay(1100)
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.answered(late) == [[Resolution.FAIL]]
    assert world.state() is State.CLAIMED


def test_failed_for_good_it_waits_for_the_payer() -> None:
    world = paying_on_behalf()
    world.finish_own_payment(preimage=None)
    assert world.state() is State.DUE
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.sleep(3600)
    assert len(world.pay_orders) == 1
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_an_own_payment_that_is_stuck_fails_before_the_parts_are_in_danger() -> None:
    world = paying_on_behalf()
    world.mine_to(FINAL_EXPIRY + 80 - CUTOFF_BLOCKS - 144)  # the node's cutoff, and the margin
    assert world.state() is State.PAYING
    world.mine()
    assert world.fates() == ["failed"]
    assert world.losses == []


def test_failed_after_the_deadline_the_parts_go_back() -> None:
    world = paying_on_behalf()
    world.sleep(86_401)
    world.finish_own_payment(preimage=None)
    assert world.fates() == ["failed"]


def test_failed_after_the_deadline_nothing_is_released_though_the_payer_is_back() -> None:
    world = paying_on_behalf()
    world.connect(A)
    world.sleep(86_401)
    world.finish_own_payment(preimage=None)
    assert world.fates() == ["failed"]
    assert Resolution.RESUME not in next(iter(world.htlcs.values())).answers


def test_failed_with_a_part_lost_meanwhile_the_others_go_back() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    lost, other = world.pay(600, channel=CHANNEL_A2), world.pay(600)
    world.disconnect(A)
    world.release()
    world.close_channel(CHANNEL_A2)
    world.finish_own_payment(preimage=None)
    assert world.answered(lost, other) == [[], [Resolution.FAIL]]
    assert world.state() is State.FAILED_BACK


def test_a_success_without_the_right_preimage_is_not_believed() -> None:
    world = paying_on_behalf()
    world.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=b"x" * 32)))
    assert (world.state(), world.fates()) == (State.PAYING, ["held"])


def test_the_attempt_is_stored_before_it_is_made() -> None:
    world = payer_away()
    world.crash_before = PayOnBehalf
    world.release()
    assert len(world.did(PayOnBehalf)) == 1  # after the restart: the node knew of no payment
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED


def test_after_a_crash_it_is_tracked_and_not_made_twice() -> None:
    world = paying_on_behalf()
    world.restart()
    assert world.did(TrackPayment) == [TrackPayment(HASH)]
    assert len(world.pay_orders) == 1
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED


def test_lost_sight_of_it_is_asked_for_again() -> None:
    world = paying_on_behalf()
    world.lose_sight()
    world.sleep(4.9)
    assert world.did(TrackPayment) == []
    world.sleep(0.1)
    assert world.did(TrackPayment) == [TrackPayment(HASH)]
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED


def test_decided_while_the_lsp_was_down() -> None:
    world = paying_on_behalf()
    world.detach()
    world._awaited.clear()
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.PAYING
    world.restart()
    assert (world.state(), world.fates()) == (State.CLAIMED, ["settled"])


def _killed_before_it_pays(meanwhile: Callable[[World], object]) -> World:
    """Killed after the attempt was stored. Its order may have left, or not."""
    world = payer_away()
    world.crash_before = PayOnBehalf
    world.on_crash = lambda: meanwhile(world)
    world.release()
    assert (world.state(), world.pay_orders) == (State.PAYING, [])
    return world


@pytest.mark.parametrize("what", ["too late", "channel closed", "part gone"])
def test_never_started_and_now_impossible_it_is_given_up_once_no_order_can_arrive_any_more(what: str) -> None:
    def meanwhile(world: World) -> None:
        match what:
            case "too late":
                world.now += 86_401
            case "channel closed":
                world.close_channel(CHANNEL_A)
            case "part gone":
                next(iter(world.htlcs.values())).fate = "failed and gone"

    world = _killed_before_it_pays(meanwhile)
    world.sleep(599)
    assert world.state() is State.PAYING
    world.sleep(5)
    assert (world.state(), world.pay_orders) == (State.FAILED_BACK, [])


def test_an_order_that_arrives_after_the_node_knew_of_none_is_not_lost_sight_of() -> None:
    """A broken connection may hold an order back. The parts stay, or the payee would be paid for nothing."""
    world = _killed_before_it_pays(lambda world: setattr(world, "now", world.now + 86_401))
    (key,) = world.htlcs
    world.sleep(30)
    world.paid[HASH] = PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=PREIMAGE)  # it came after all
    world.sleep(5)
    assert (world.state(), world.answered(key)) == (State.CLAIMED, [[Resolution.SETTLE]])


def test_failed_after_a_break_it_is_given_up_once_no_order_can_arrive_any_more() -> None:
    """LND carries out an order also after a payment of the same hash has failed (InitPayment)."""
    world = paying_on_behalf()
    world.lose_sight()
    world.finish_own_payment(preimage=None)
    world.connect(A)
    world.sleep(599)
    assert (world.state(), world.fates()) == (State.PAYING, ["held"])
    world.sleep(6)
    assert world.fates() == ["forwarded"]


def test_failed_after_a_break_the_height_at_which_any_order_has_expired_is_enough() -> None:
    world = paying_on_behalf()
    world.lose_sight()
    world.finish_own_payment(preimage=None)
    world.mine_to(world.pay_orders[0].latest_expiry)
    world.sleep(5)
    assert world.fates() == ["failed"]


def test_ordered_again_once_after_each_break() -> None:
    world = paying_on_behalf()
    for orders in (2, 3):
        world.paid.clear()  # the node never heard of it
        world._awaited.clear()
        world.lose_sight()
        world.sleep(5)
        assert len(world.pay_orders) == orders
        world.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.UNKNOWN)))
        assert len(world.pay_orders) == orders
    assert world.state() is State.PAYING


def test_an_older_answer_does_not_hide_that_the_order_is_still_carried_out() -> None:
    """Asked twice after a crash, the node answers twice that it knows of none: with the first one the order begins."""
    world = payer_away()
    world.crash_before = PayOnBehalf
    world.on_crash = lambda: setattr(world, "tells_payments", False)
    world.release()
    world.detach()
    world.attach()
    for status, seconds in ((PaymentStatus.UNKNOWN, 0), (PaymentStatus.UNKNOWN, 601), (PaymentStatus.FAILED, 0)):
        world.feed(PaymentReported(HASH, PaymentResult(status=status)))
        world.sleep(seconds)
    world.connect(A)
    assert (len(world.pay_orders), world.state(), world.fates()) == (1, State.PAYING, ["held"])
    failed = PaymentResult(status=PaymentStatus.FAILED)
    world.feed(PaymentReported(HASH, failed, of_order=True))
    assert world.fates() == ["forwarded"]


def test_not_for_htlcs_that_are_going_on_chain() -> None:
    world = payer_away()
    del world.links[ChannelId.from_name(CHANNEL_A)]
    world.lsp.state.node.channels.remove(
        ChannelId.from_name(CHANNEL_A)
    )  # the snapshot that will tell of the HTLC is still under way
    world.release()
    assert world.pay_orders == []


def test_what_is_decided_is_not_asked_about_any_more() -> None:
    for preimage in (PREIMAGE, None):
        world = paying_on_behalf()
        world.finish_own_payment(preimage=preimage)
        world.effects.clear()
        world.restart()
        assert world.did(TrackPayment) == []


def test_the_claim_is_repeated_when_the_htlc_is_offered_again() -> None:
    world = paying_on_behalf()
    world.finish_own_payment(preimage=PREIMAGE)
    (key,) = world.htlcs
    world.htlcs[key].fate, world.htlcs[key].in_memory = "held", False  # LND died before it noted the answer
    world.restart_node()
    world.sleep(15 * 86_400)
    world.mine_to(HEIGHT + 450)  # the block's deadlines are long past, its HTLC is still there
    world.connect(A)
    assert world.htlcs[key].fate.startswith("settled")
    assert world.losses == []


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_claimed_counts_until_the_payer_has_let_go_of_it(restarted: bool) -> None:
    world = payer_away(World(policy=LspPolicy(on_behalf_min_part_msat=0, max_on_behalf_msat=2099)))
    world.release()
    world.finish_own_payment(preimage=PREIMAGE)
    if restarted:
        world.restart()
    other = second_payment(world, B)
    world.sleep(120)
    assert (world.state(), world.state(other)) == (State.CLAIMED, State.DUE)
    world.connect(A)
    world.mine()
    world.sleep(60)
    assert world.state(other) is State.PAYING


def test_it_is_not_forgotten_while_it_is_undecided() -> None:
    world = paying_on_behalf()
    world._own_expiry[HASH] += 10_000
    world.close_channel(CHANNEL_A)
    world.sleep(30 * 86_400)
    world.mine_to(HEIGHT + 2000)
    assert world.state() is State.PAYING
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.did(Log)[-1].what == "claimed"
    assert world.state() is None  # its time was over, and now it is decided


def test_the_attempt_is_forgotten_with_its_block() -> None:
    world = paying_on_behalf()
    world.finish_own_payment(preimage=PREIMAGE)
    world.connect(A)
    world.sleep(86_401)
    world.mine_to(HEIGHT + 434)
    assert not [kind for kind, _ in world.stored if kind is Attempt]
