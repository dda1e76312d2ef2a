"""LND as the payer's LSP with the payer away: the LSP pays, then claims. Its money is never at risk."""

from dataclasses import replace

import pytest

from asyncpay.engine.lsp.policy import Policy
from asyncpay.engine.lsp.stages import Stage
from asyncpay.lightning import Capability, Verdict
from asyncpay.wire.messages import BlockState, unblock_hash

from .given import (
    CHANNEL_A2,
    CHANNEL_B,
    FINAL_EXPIRY,
    HEIGHT,
    PREIMAGE,
    ROUTER,
    START,
    A,
    B,
    cln,
    invoice,
)
from .world import World, payer_away


def test_paid_and_claimed_without_the_payer() -> None:
    world = payer_away()
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
    world = payer_away(World(able))
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
        world = payer_away(read_as=invoice(expires_at=int(START) + 1000))
        world.sleep(seconds)
        world.release()
        assert len(world.pay_orders) == orders


def test_not_while_a_part_is_not_on_offer() -> None:
    world = payer_away()
    world.restart_node()
    world.connect(ROUTER)
    world.release()
    assert (world.stage(), world.pay_orders) == (Stage.DUE, [])
    world.connect(A)
    assert world.fates() == ["forwarded"]


def test_not_for_a_hash_that_was_paid_for_somebody_else() -> None:
    """Two payers of one invoice: the payee is paid once, so only one of them may be charged."""
    world = payer_away()
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
