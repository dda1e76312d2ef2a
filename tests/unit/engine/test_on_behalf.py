"""LND as the payer's LSP with the payer away: the LSP pays, then claims. Its money is never at risk."""

from dataclasses import replace

import pytest

from asyncpay.engine.lsp.effects import QueryTerms
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capability, ForwardingPolicy, NodeId, PaymentResult, PaymentStatus, Resolution
from asyncpay.wire.messages import BlockState, unblock_hash

from .given import (
    CHANNEL_A,
    CHANNEL_A2,
    CHANNEL_B,
    CHANNEL_ROUTER,
    CUTOFF_BLOCKS,
    FINAL_EXPIRY,
    HASH,
    HEIGHT,
    PREIMAGE,
    ROUTER,
    START,
    A,
    B,
    cln,
    invoice,
    lnd,
)
from .world import World, payer_away, second_payment


def test_paid_and_claimed_without_the_payer() -> None:
    world = payer_away()
    world.release()
    assert world.state() is State.PAYING
    (order,) = world.pay_orders
    assert (order.invoice, order.amount_msat) == ("lnbcrt1", 1000)
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED
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
    assert world.answered(*keys) == [[Resolution.SETTLE]] * 2


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
    ("outgoing", "incoming", "latest"),
    [
        (FINAL_EXPIRY + 40, FINAL_EXPIRY + 80, FINAL_EXPIRY + 40 - CUTOFF_BLOCKS),  # an honest onion
        (FINAL_EXPIRY, FINAL_EXPIRY + 80, FINAL_EXPIRY),
        (
            FINAL_EXPIRY + 80,
            FINAL_EXPIRY + 80,
            FINAL_EXPIRY + 40 - CUTOFF_BLOCKS,
        ),  # the payer leaves the LSP no time: it takes it
        (FINAL_EXPIRY + 500, FINAL_EXPIRY + 80, FINAL_EXPIRY + 40 - CUTOFF_BLOCKS),
    ],
)
def test_its_own_htlcs_end_before_the_node_fails_the_held_ones(outgoing: int, incoming: int, latest: int) -> None:
    """Counted from the node's own cutoff before the incoming expiry."""
    world = World(policy=LspPolicy(on_behalf_margin_blocks=40, on_behalf_min_part_msat=0))
    world.block(invoice="lnbcrt1")
    key = world.pay(1100, outgoing_expiry=outgoing, incoming_expiry=incoming)
    world.disconnect(A)
    world.release()
    assert [order.latest_expiry for order in world.pay_orders] == [latest]
    del world._own_expiry[HASH]
    world.mine_to(latest + 39)  # the own HTLC is on chain, and the payee takes it as late as that
    assert world.htlcs[key].fate == "held"
    world.finish_own_payment(preimage=PREIMAGE)
    assert (world.htlcs[key].fate, world.losses) == ("settled", [])


@pytest.mark.parametrize(("margin_blocks", "accepted"), [(0, False), (19, False), (39, False), (40, True), (144, True)])
def test_a_margin_that_is_not_safe_is_refused(margin_blocks: int, accepted: bool) -> None:
    policy = LspPolicy(on_behalf_margin_blocks=margin_blocks)
    Lsp(policy, cln())  # pays nobody on behalf
    if accepted:
        Lsp(policy, lnd())
    else:
        with pytest.raises(ValueError, match=r"on_behalf_margin_blocks = .* is too small: it must be 40 or more"):
            Lsp(policy, lnd())


def test_the_limits_are_those_of_the_lowest_part() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(600, outgoing_expiry=HEIGHT + 300)
    world.pay(600, outgoing_expiry=HEIGHT + 200)
    world.disconnect(A)
    world.release()
    assert [order.latest_expiry for order in world.pay_orders] == [HEIGHT + 200]


@pytest.mark.parametrize(
    ("part", "fee_limit"),
    [
        ({"incoming_amount_msat": 1110, "outgoing_amount_msat": 1050}, 50),  # leaves the LSP 60 for its 11
        ({"incoming_amount_msat": 1110, "outgoing_amount_msat": 1099}, 99),
        ({"incoming_amount_msat": 1110, "outgoing_amount_msat": 1110}, 98),  # leaves it nothing: 12 are taken first
        ({"incoming_amount_msat": 1011, "outgoing_amount_msat": 1011}, 0),
        ({"incoming_amount_msat": 1010, "outgoing_amount_msat": 1010}, None),
    ],
)
def test_the_lsp_keeps_what_forwarding_would_have_earned(part: dict[str, int], fee_limit: int | None) -> None:
    """Of its own policy for the channel that the payer's onion names: here 1 msat, 1 %, 60 blocks."""
    world = World()
    world.policies[CHANNEL_ROUTER] = ForwardingPolicy(fee_base_msat=1, fee_ppm=10_000, cltv_delta_blocks=60)
    world.block(invoice="lnbcrt1")
    world.pay(**part)
    world.disconnect(A)
    world.release()
    assert [order.fee_limit_msat for order in world.pay_orders] == ([] if fee_limit is None else [fee_limit])


def test_the_lsp_keeps_its_own_cltv_delta() -> None:
    world = World()
    world.policies[CHANNEL_ROUTER] = ForwardingPolicy(fee_base_msat=0, fee_ppm=0, cltv_delta_blocks=500)
    world.block(invoice="lnbcrt1")
    world.pay(1100, outgoing_expiry=FINAL_EXPIRY + 80)
    world.disconnect(A)
    world.release()
    assert [order.latest_expiry for order in world.pay_orders] == [FINAL_EXPIRY + 80 - 500]


def test_the_node_is_told_what_comes_in_because_it_may_pay_over_another_channel() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(600, incoming_amount_msat=700, incoming_expiry=FINAL_EXPIRY + 300)
    world.pay(600, incoming_amount_msat=650, incoming_expiry=FINAL_EXPIRY + 400)
    world.disconnect(A)
    world.release()
    assert [(order.incoming_msat, order.incoming_expiry) for order in world.pay_orders] == [(1350, FINAL_EXPIRY + 300)]


def test_where_the_onion_names_a_node_the_dearest_of_its_channels_counts() -> None:
    world = World()
    world.policies[CHANNEL_A] = ForwardingPolicy(fee_base_msat=50, fee_ppm=0, cltv_delta_blocks=0)
    world.policies[CHANNEL_A2] = ForwardingPolicy(fee_base_msat=0, fee_ppm=0, cltv_delta_blocks=0)
    world.block(client=B, invoice="lnbcrt1")
    world.pay(1100, peer=B, channel=CHANNEL_B, outgoing_channel=None, outgoing_node=A, outgoing_amount_msat=1110)
    world.disconnect(B)
    world.release()
    assert [order.fee_limit_msat for order in world.pay_orders] == [60]


def test_not_where_the_node_knows_no_policy_of_its_own() -> None:
    world = World()
    world.policies.clear()
    payer_away(world).release()
    assert (world.state(), world.pay_orders) == (State.DUE, [])


@pytest.mark.parametrize(("least_msat", "dust_msat", "orders"), [(610, 0, 1), (611, 0, 0), (0, 610, 1), (0, 611, 0)])
def test_not_for_a_part_that_could_not_be_claimed_on_chain(least_msat: int, dust_msat: int, orders: int) -> None:
    world = World(policy=LspPolicy(on_behalf_min_part_msat=least_msat))
    world.dust_msat = dust_msat
    world.block(invoice="lnbcrt1")
    world.pay(600)
    world.pay(700)
    world.disconnect(A)
    world.release()
    assert len(world.pay_orders) == orders


@pytest.mark.parametrize(("amount_msat", "orders"), [(9_999_999, 0), (10_000_000, 1)])
def test_not_by_default_for_a_part_whose_half_does_not_pay_for_its_claim(amount_msat: int, orders: int) -> None:
    """LND spends no more than half of it on that. At 25 sat/vB the claim (BOLT 3: about 180 vB) costs 4,500 sat."""
    world = World(policy=LspPolicy())
    world.block(invoice="lnbcrt1", amount_msat=amount_msat, read_as=invoice(amount_msat=amount_msat))
    world.pay(amount_msat, incoming_amount_msat=amount_msat)
    world.disconnect(A)
    world.release()
    assert len(world.pay_orders) == orders


@pytest.mark.parametrize(
    ("limits", "client", "begins"),
    [
        ({"max_on_behalf_client": 1}, A, False),
        ({"max_on_behalf_client": 1}, B, True),
        ({"max_on_behalf": 1}, B, False),
        ({"max_on_behalf_client_msat": 2099}, A, False),  # 1100 under way, and 1000 more
        ({"max_on_behalf_client_msat": 2100}, A, True),
        ({"max_on_behalf_client_msat": 2099}, B, True),
        ({"max_on_behalf_msat": 2099}, B, False),
    ],
)
def test_only_so_many_are_under_way_at_a_time(limits: dict[str, int], client: NodeId, begins: bool) -> None:
    world = payer_away(World(policy=LspPolicy(on_behalf_min_part_msat=0, **limits)))
    world.release()
    assert world.state() is State.PAYING
    other = second_payment(world, client)
    assert world.state(other) is (State.PAYING if begins else State.DUE)
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED
    if not begins and any("msat" in limit for limit in limits):  # the claim is at stake until A lets go of it
        assert world.state(other) is State.DUE
    else:
        assert world.state(other) is State.PAYING  # its turn has come


def test_not_for_a_hash_that_the_node_has_paid_before() -> None:
    """Its preimage is known: the held parts would be claimed, and nobody paid for them."""
    world = World()
    world.paid[HASH] = PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=PREIMAGE)
    payer_away(world).release()
    assert (world.state(), world.fates(), world.pay_orders) == (State.DUE, ["held"], [])


def test_a_later_block_for_an_invoice_that_was_paid_claims_nothing() -> None:
    world = payer_away(read_as=invoice(expires_at=int(START) + 10**7))
    world.release()
    world.finish_own_payment(preimage=PREIMAGE)
    world.connect(A)
    world.sleep(86_401)
    world.mine_to(HEIGHT + 434)
    assert world.state() is None
    height, pid = world.height, b"l" * 32
    world.block(
        invoice="lnbcrt1",
        read_as=invoice(expires_at=int(START) + 10**7),
        unblock_hash=unblock_hash(pid),
        release_by_height=height + 100,
        hold_until=int(world.now) + 1000,
    )
    key = world.pay(1100, incoming_expiry=height + 700, outgoing_expiry=height + 600)
    world.disconnect(A)
    world.release(pid)
    assert world.state(pid) is State.DUE
    assert (world.htlcs[key].fate, len(world.pay_orders)) == ("held", 1)


def test_terms_that_the_node_does_not_tell_are_asked_for_again() -> None:
    world = World()
    world.tells_terms = False
    payer_away(world).release()
    assert (world.state(), len(world.did(QueryTerms))) == (State.DUE, 1)
    world.tells_terms = True
    world.sleep(60)
    assert (world.state(), len(world.did(QueryTerms))) == (State.PAYING, 2)


def test_terms_that_are_refused_are_not_asked_for_at_every_turn() -> None:
    world = World()
    world.policies.clear()
    payer_away(world).release()
    for _ in range(20):
        world.disconnect(ROUTER)
        world.connect(ROUTER)
    assert len(world.did(QueryTerms)) == 1


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
    assert (world.state(), world.pay_orders) == (State.DUE, [])


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
    assert (world.state(), world.pay_orders) == (State.DUE, [])
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
    assert world.state(other) is State.DUE


def test_not_before_a_payee_behind_the_same_lsp_is_there() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100, outgoing_channel=CHANNEL_B)
    world.disconnect(A)
    world.disconnect(B)
    world.release()
    assert (world.state(), world.pay_orders) == (State.DUE, [])
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.state() is State.PAYING


def test_when_the_payer_leaves_after_the_release_was_due() -> None:
    world = World()
    world.block(invoice="lnbcrt1")
    world.pay(1100)
    world.disconnect(ROUTER)
    world.release()
    world.disconnect(A)
    assert world.state() is State.PAYING
