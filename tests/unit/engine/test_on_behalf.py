"""LND as the payer's LSP with the payer away: the LSP pays, then claims. Its money is never at risk."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.lsp.effects import Log, PayOnBehalf, TrackPayment
from asyncpay.engine.lsp.events import PaymentReported
from asyncpay.engine.lsp.policy import Policy
from asyncpay.engine.lsp.records import Attempt
from asyncpay.engine.lsp.stages import Stage
from asyncpay.lightning import Capability, PaymentResult, PaymentStatus, Verdict
from asyncpay.wire.messages import BlockState, unblock_hash

from .world import (
    CHANNEL_A,
    CHANNEL_A2,
    CHANNEL_B,
    FINAL_EXPIRY,
    HASH,
    HEIGHT,
    PREIMAGE,
    ROUTER,
    START,
    A,
    B,
    World,
    cln,
    invoice,
)


def away(world: World | None = None, **changes: Any) -> World:
    """A has blocked and paid 1100 for an invoice of 1000, and is gone."""
    world = World() if world is None else world
    world.block(invoice="lnbcrt1", **changes)
    world.pay(1100)
    world.disconnect(A)
    return world


def test_paid_and_claimed_without_the_payer() -> None:
    world = away()
    world.release()
    assert world.stage() is Stage.PAYING
    (order,) = world.pay_orders
    assert (order.invoice, order.amount_msat) == ("lnbcrt1", 1000)
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.stage() is Stage.CLAIMED
    assert world.htlcs[next(iter(world.htlcs))].fate == "settled"
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.connect(A)
    assert world.updates()[-1] == (BlockState.SETTLED, 1)
    assert world.losses == []


def test_with_parts_all_are_claimed() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    keys = world.pay(600), world.pay(600, channel=CHANNEL_A2)
    world.disconnect(A)
    world.release()
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.answered(*keys) == [[Verdict.SETTLE]] * 2


@pytest.mark.parametrize(
    ("part", "fee_limit"),
    [
        ({"amount_msat": 1000}, 0),
        ({"amount_msat": 1100}, 100),
        ({"amount_msat": 1000, "outgoing_amount_msat": 9000}, 10),  # the payer lies: only 1010 came in
    ],
)
def test_it_spends_no_more_than_it_holds(part: dict[str, int], fee_limit: int) -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(**part)
    world.disconnect(A)
    world.release()
    assert [order.fee_limit_msat for order in world.pay_orders] == [fee_limit]


@pytest.mark.parametrize(
    ("outgoing", "incoming", "limit"),
    [
        (FINAL_EXPIRY + 40, FINAL_EXPIRY + 80, 640),  # an honest onion, 40 blocks for the LSP
        (FINAL_EXPIRY, FINAL_EXPIRY + 80, 600),
        (FINAL_EXPIRY + 80, FINAL_EXPIRY + 80, 640),  # the payer leaves the LSP no time: taken nevertheless
        (FINAL_EXPIRY + 500, FINAL_EXPIRY + 80, 640),
    ],
)
def test_its_own_htlcs_end_before_the_held_ones(outgoing: int, incoming: int, limit: int) -> None:
    world = World(policy=Policy(on_behalf_margin_blocks=40))
    world.block(invoice="lnbcrt1")
    world.pay(1100, outgoing_expiry=outgoing, incoming_expiry=incoming)
    world.disconnect(A)
    world.release()
    assert [order.cltv_limit_blocks for order in world.pay_orders] == [limit]


def test_the_limits_are_those_of_the_lowest_part() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(600, outgoing_expiry=HEIGHT + 300)
    world.pay(600, outgoing_expiry=HEIGHT + 200)
    world.disconnect(A)
    world.release()
    assert [order.cltv_limit_blocks for order in world.pay_orders] == [200]


def test_not_with_the_payer_there() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100)
    world.release()
    assert world.fates() == ["forwarded"]
    assert world.pay_orders == []


def test_not_while_only_the_way_on_is_missing() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100)
    world.disconnect(ROUTER)
    world.release()
    assert world.pay_orders == []


def test_not_on_a_node_that_can_forward() -> None:
    able = replace(cln(), pays_on_behalf=Capability(True, "any node can pay"))
    world = away(World(able))
    world.disconnect(ROUTER)
    world.release()
    assert world.pay_orders == []
    world.connect(ROUTER)
    assert world.fates() == ["forwarded"]


def test_not_without_an_invoice() -> None:
    world = World()
    world.block()
    world.pay(1100)
    world.disconnect(A)
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.DUE, [])


def test_not_when_the_invoice_has_expired() -> None:
    for seconds, orders in ((999, 1), (1000, 0)):
        world = away(read_as=invoice(expires_at=int(START) + 1000))
        world.sleep(seconds)
        world.release()
        assert len(world.pay_orders) == orders


def test_not_while_a_part_is_not_on_offer() -> None:
    world = away()
    world.restart_node()
    world.connect(ROUTER)
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.DUE, [])
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_not_for_a_hash_that_was_paid_for_somebody_else() -> None:
    """Two payers of one invoice: the payee is paid once, so only one of them may be charged."""
    world = away()
    other = b"o" * 32
    world.block(client=B, invoice="lnbcrt1", unblock_hash=unblock_hash(other))
    world.pay(1100, peer=B, channel=CHANNEL_B)
    world.disconnect(B)
    world.release()
    world.finish_own_payment(preimage=PREIMAGE)
    world.release(other)
    assert len(world.pay_orders) == 1
    assert world.stage(other) is Stage.DUE


def test_not_before_a_payee_behind_the_same_lsp_is_there() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100, outgoing_channel=CHANNEL_B)
    world.disconnect(A)
    world.disconnect(B)
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.DUE, [])
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.stage() is Stage.PAYING


def test_when_the_payer_leaves_after_the_release_was_due() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100)
    world.disconnect(ROUTER)
    world.release()
    world.disconnect(A)
    assert world.stage() is Stage.PAYING


def paying() -> World:
    world = away()
    world.release()
    assert world.stage() is Stage.PAYING
    return world


@pytest.mark.parametrize("what", ["cancel", "refusal", "hold_until", "height", "margin", "payer back", "lost"])
def test_nothing_touches_the_parts_while_it_pays(what: str) -> None:
    world = paying()
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
            world._own_expiry[HASH] += 100  # it went on chain, and takes its time there
            world.mine_to(FINAL_EXPIRY + 80 - 25)
        case "payer back":
            world.connect(A)
        case "lost":
            world.close_channel(CHANNEL_A)
    assert (world.stage(), world.answered(key)) == (Stage.PAYING, [[]])
    world.finish_own_payment(preimage=PREIMAGE)
    assert (world.stage(), world.answered(key)) == (Stage.CLAIMED, [[Verdict.SETTLE]])
    assert world.losses == []


@pytest.mark.parametrize("after_success", [False, True])
def test_one_part_more_goes_back_to_the_payer(after_success: bool) -> None:
    world = paying()
    world.connect(A)
    if after_success:
        world.finish_own_payment(preimage=PREIMAGE)
    late = world.pay(1100)
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.answered(late) == [[Verdict.FAIL]]
    assert world.stage() is Stage.CLAIMED


def test_failed_for_good_it_waits_for_the_payer() -> None:
    world = paying()
    world.finish_own_payment(preimage=None)
    assert world.stage() is Stage.DUE
    assert world.pushes(A) == ["async_payments.settlement_pending"]
    world.sleep(3600)
    assert len(world.pay_orders) == 1
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_an_own_payment_that_is_stuck_fails_before_the_parts_are_in_danger() -> None:
    world = paying()
    world.mine_to(HEIGHT + 640)
    assert world.stage() is Stage.PAYING
    world.mine()
    assert world.fates() == ["failed"]
    assert world.losses == []


def test_failed_after_the_deadline_the_parts_go_back() -> None:
    world = paying()
    world.sleep(86_401)
    world.finish_own_payment(preimage=None)
    assert world.fates() == ["failed"]


def test_failed_after_the_deadline_nothing_is_released_though_the_payer_is_back() -> None:
    world = paying()
    world.connect(A)
    world.sleep(86_401)
    world.finish_own_payment(preimage=None)
    assert world.fates() == ["failed"]
    assert Verdict.RESUME not in next(iter(world.htlcs.values())).answers


def test_failed_with_a_part_lost_meanwhile_the_others_go_back() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    lost, other = world.pay(600, channel=CHANNEL_A2), world.pay(600)
    world.disconnect(A)
    world.release()
    world.close_channel(CHANNEL_A2)
    world.finish_own_payment(preimage=None)
    assert world.answered(lost, other) == [[], [Verdict.FAIL]]
    assert world.stage() is Stage.FAILED_BACK


def test_a_success_without_the_right_preimage_is_not_believed() -> None:
    world = paying()
    world.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=b"x" * 32)))
    assert (world.stage(), world.fates()) == (Stage.PAYING, ["held"])


def test_the_attempt_is_stored_before_it_is_made() -> None:
    world = away()
    world.crash_at = world.actions + 2  # stored, and dead before the order left
    world.release()
    assert len(world.did(PayOnBehalf)) == 1  # after the restart: the node knew of no payment
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.stage() is Stage.CLAIMED


def test_after_a_crash_it_is_tracked_and_not_made_twice() -> None:
    world = paying()
    world.restart()
    assert world.did(TrackPayment) == [TrackPayment(HASH)]
    assert len(world.pay_orders) == 1
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.stage() is Stage.CLAIMED


def test_lost_sight_of_it_is_asked_for_again() -> None:
    world = paying()
    world.feed(PaymentReported(HASH, PaymentResult(status=PaymentStatus.IN_FLIGHT)))
    world.sleep(4.9)
    assert world.did(TrackPayment) == []
    world.sleep(0.1)
    assert world.did(TrackPayment) == [TrackPayment(HASH)]
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.stage() is Stage.CLAIMED


def test_decided_while_the_lsp_was_down() -> None:
    world = paying()
    world.detach()
    world._awaited.clear()
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.stage() is Stage.PAYING
    world.restart()
    assert (world.stage(), world.fates()) == (Stage.CLAIMED, ["settled"])


def test_never_started_and_now_too_late_it_is_given_up() -> None:
    world = away()
    world.crash_at = world.actions + 2
    world.on_crash = lambda: setattr(world, "now", world.now + 86_401)
    world.release()
    assert world.pay_orders == []
    assert (world.stage(), world.fates()) == (Stage.FAILED_BACK, ["failed"])


def test_never_started_and_the_payers_channel_closed_meanwhile_it_is_given_up() -> None:
    world = away()
    world.crash_at = world.actions + 2
    world.on_crash = lambda: world.close_channel(CHANNEL_A)
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.FAILED_BACK, [])


def test_never_started_and_a_part_gone_meanwhile_it_is_given_up() -> None:
    world = away()
    (key,) = world.htlcs
    world.crash_at = world.actions + 2
    world.on_crash = lambda: setattr(world.htlcs[key], "fate", "failed and gone")
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.FAILED_BACK, [])


def test_not_for_htlcs_that_are_going_on_chain() -> None:
    world = away()
    del world.links[CHANNEL_A]
    world.lsp.state.channels.remove(CHANNEL_A)  # the census that will tell of the HTLC is still under way
    world.release()
    assert world.pay_orders == []


def test_what_is_decided_is_not_asked_about_any_more() -> None:
    for preimage in (PREIMAGE, None):
        world = paying()
        world.finish_own_payment(preimage=preimage)
        world.effects.clear()
        world.restart()
        assert world.did(TrackPayment) == []


def test_the_claim_is_repeated_when_the_htlc_is_offered_again() -> None:
    world = paying()
    world.finish_own_payment(preimage=PREIMAGE)
    (key,) = world.htlcs
    world.htlcs[key].fate, world.htlcs[key].in_memory = "held", False  # LND died before it noted the answer
    world.restart_node()
    world.sleep(15 * 86_400)
    world.mine_to(HEIGHT + 450)  # the block's deadlines are long past, its HTLC is still there
    world.connect(A)
    assert world.htlcs[key].fate.startswith("settled")
    assert world.losses == []


def test_it_is_not_forgotten_while_it_is_undecided() -> None:
    world = paying()
    world._own_expiry[HASH] += 10_000
    world.close_channel(CHANNEL_A)
    world.sleep(30 * 86_400)
    world.mine_to(HEIGHT + 2000)
    assert world.stage() is Stage.PAYING
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.did(Log)[-1].what == "claimed"
    assert world.stage() is None  # its time was over, and now it is decided


def test_the_attempt_is_forgotten_with_its_block() -> None:
    world = paying()
    world.finish_own_payment(preimage=PREIMAGE)
    world.connect(A)
    world.sleep(86_401)
    world.mine_to(HEIGHT + 434)
    assert not [kind for kind, _ in world.stored if kind is Attempt]
