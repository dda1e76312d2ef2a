"""LND as the payer's LSP with the payer away: the LSP pays, then claims. Its money is never at risk."""

from dataclasses import replace

import pytest

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import QueryTerms
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capability, ForwardingPolicy, NodeId, PaymentResult, PaymentStatus, Resolution
from asyncpay.wire.messages import BlockState, unblock_hash

from .factories import (
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
from .harness import LspHarness, payer_away, second_payment


def test_paid_and_claimed_without_the_payer() -> None:
    harness = payer_away()
    harness.release()
    assert harness.state() is State.PAYING
    (order,) = harness.pay_orders
    assert (order.invoice, order.amount_msat) == ("lnbcrt1", 1000)
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED
    assert harness.htlcs[next(iter(harness.htlcs))].fate == "settled"
    assert harness.pushes(A) == ["async_payments.settlement_pending"]
    harness.connect(A)
    assert harness.updates()[-1] == (BlockState.SETTLED, 1)
    assert harness.losses == []


def test_with_parts_all_are_claimed() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    keys = harness.pay(600), harness.pay(600, channel=CHANNEL_A2)
    harness.disconnect(A)
    harness.release()
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.answered(*keys) == [[Resolution.SETTLE]] * 2


@pytest.mark.parametrize(
    ("part", "fee_limit"),
    [
        ({"amount_msat": 1000}, 0),
        ({"amount_msat": 1100}, 100),
        ({"amount_msat": 1000, "outgoing_amount_msat": 9000}, 10),  # the payer lies: only 1010 came in
    ],
)
def test_it_spends_no_more_than_it_holds(part: dict[str, int], fee_limit: int) -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(**part)
    harness.disconnect(A)
    harness.release()
    assert [order.fee_limit_msat for order in harness.pay_orders] == [fee_limit]


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
    harness = LspHarness(policy=LspPolicy(on_behalf_margin_blocks=40, on_behalf_min_part_msat=0))
    harness.block(invoice="lnbcrt1")
    key = harness.pay(1100, outgoing_expiry=outgoing, incoming_expiry=incoming)
    harness.disconnect(A)
    harness.release()
    assert [order.latest_expiry for order in harness.pay_orders] == [latest]
    del harness._own_expiry[HASH]
    harness.mine_to(latest + 39)  # the own HTLC is on chain, and the payee takes it as late as that
    assert harness.htlcs[key].fate == "held"
    harness.finish_own_payment(preimage=PREIMAGE)
    assert (harness.htlcs[key].fate, harness.losses) == ("settled", [])


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
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(600, outgoing_expiry=HEIGHT + 300)
    harness.pay(600, outgoing_expiry=HEIGHT + 200)
    harness.disconnect(A)
    harness.release()
    assert [order.latest_expiry for order in harness.pay_orders] == [HEIGHT + 200]


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
    harness = LspHarness()
    harness.policies[CHANNEL_ROUTER] = ForwardingPolicy(fee_base_msat=1, fee_ppm=10_000, cltv_delta_blocks=60)
    harness.block(invoice="lnbcrt1")
    harness.pay(**part)
    harness.disconnect(A)
    harness.release()
    assert [order.fee_limit_msat for order in harness.pay_orders] == ([] if fee_limit is None else [fee_limit])


def test_the_lsp_keeps_its_own_cltv_delta() -> None:
    harness = LspHarness()
    harness.policies[CHANNEL_ROUTER] = ForwardingPolicy(fee_base_msat=0, fee_ppm=0, cltv_delta_blocks=500)
    harness.block(invoice="lnbcrt1")
    harness.pay(1100, outgoing_expiry=FINAL_EXPIRY + 80)
    harness.disconnect(A)
    harness.release()
    assert [order.latest_expiry for order in harness.pay_orders] == [FINAL_EXPIRY + 80 - 500]


def test_the_node_is_told_what_comes_in_because_it_may_pay_over_another_channel() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(600, incoming_amount_msat=700, incoming_expiry=FINAL_EXPIRY + 300)
    harness.pay(600, incoming_amount_msat=650, incoming_expiry=FINAL_EXPIRY + 400)
    harness.disconnect(A)
    harness.release()
    assert [(order.incoming_msat, order.incoming_expiry) for order in harness.pay_orders] == [
        (1350, FINAL_EXPIRY + 300)
    ]


def test_where_the_onion_names_a_node_the_dearest_of_its_channels_counts() -> None:
    harness = LspHarness()
    harness.policies[CHANNEL_A] = ForwardingPolicy(fee_base_msat=50, fee_ppm=0, cltv_delta_blocks=0)
    harness.policies[CHANNEL_A2] = ForwardingPolicy(fee_base_msat=0, fee_ppm=0, cltv_delta_blocks=0)
    harness.block(client=B, invoice="lnbcrt1")
    harness.pay(1100, peer=B, channel=CHANNEL_B, outgoing_channel=None, outgoing_node=A, outgoing_amount_msat=1110)
    harness.disconnect(B)
    harness.release()
    assert [order.fee_limit_msat for order in harness.pay_orders] == [60]


def test_not_where_the_node_knows_no_policy_of_its_own() -> None:
    harness = LspHarness()
    harness.policies.clear()
    payer_away(harness).release()
    assert (harness.state(), harness.pay_orders) == (State.DUE, [])


@pytest.mark.parametrize(("least_msat", "dust_msat", "orders"), [(610, 0, 1), (611, 0, 0), (0, 610, 1), (0, 611, 0)])
def test_not_for_a_part_that_could_not_be_claimed_on_chain(least_msat: int, dust_msat: int, orders: int) -> None:
    harness = LspHarness(policy=LspPolicy(on_behalf_min_part_msat=least_msat))
    harness.dust_msat = dust_msat
    harness.block(invoice="lnbcrt1")
    harness.pay(600)
    harness.pay(700)
    harness.disconnect(A)
    harness.release()
    assert len(harness.pay_orders) == orders


@pytest.mark.parametrize(("amount_msat", "orders"), [(9_999_999, 0), (10_000_000, 1)])
def test_not_by_default_for_a_part_whose_half_does_not_pay_for_its_claim(amount_msat: int, orders: int) -> None:
    """LND spends no more than half of it on that. At 25 sat/vB the claim (BOLT 3: about 180 vB) costs 4,500 sat."""
    harness = LspHarness(policy=LspPolicy())
    harness.block(invoice="lnbcrt1", amount_msat=amount_msat, read_as=invoice(amount_msat=amount_msat))
    harness.pay(amount_msat, incoming_amount_msat=amount_msat)
    harness.disconnect(A)
    harness.release()
    assert len(harness.pay_orders) == orders


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
    harness = payer_away(LspHarness(policy=LspPolicy(on_behalf_min_part_msat=0, **limits)))
    harness.release()
    assert harness.state() is State.PAYING
    other = second_payment(harness, client)
    assert harness.state(other) is (State.PAYING if begins else State.DUE)
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED
    if not begins and any("msat" in limit for limit in limits):  # the claim is at stake until A lets go of it
        assert harness.state(other) is State.DUE
    else:
        assert harness.state(other) is State.PAYING  # its turn has come


def test_not_for_a_hash_that_the_node_has_paid_before() -> None:
    """Its preimage is known: the held parts would be claimed, and nobody paid for them."""
    harness = LspHarness()
    harness.paid[HASH] = PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=PREIMAGE)
    payer_away(harness).release()
    assert (harness.state(), harness.fates(), harness.pay_orders) == (State.DUE, ["held"], [])


def test_a_later_block_for_an_invoice_that_was_paid_claims_nothing() -> None:
    harness = payer_away(read_as=invoice(expires_at=int(START) + 10**7))
    harness.release()
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.connect(A)
    harness.sleep(86_401)
    harness.mine_to(HEIGHT + 434)
    assert harness.state() is None
    height, pid = harness.height, b"l" * 32
    harness.block(
        invoice="lnbcrt1",
        read_as=invoice(expires_at=int(START) + 10**7),
        unblock_hash=unblock_hash(pid),
        release_by_height=height + 100,
        hold_until=int(harness.now) + 1000,
    )
    key = harness.pay(1100, incoming_expiry=height + 700, outgoing_expiry=height + 600)
    harness.disconnect(A)
    harness.release(pid)
    assert harness.state(pid) is State.DUE
    assert (harness.htlcs[key].fate, len(harness.pay_orders)) == ("held", 1)


def test_terms_that_the_node_does_not_tell_are_asked_for_again() -> None:
    harness = LspHarness()
    harness.tells_terms = False
    payer_away(harness).release()
    assert (harness.state(), len(harness.did(QueryTerms))) == (State.DUE, 1)
    harness.tells_terms = True
    harness.sleep(60)
    assert (harness.state(), len(harness.did(QueryTerms))) == (State.PAYING, 2)


def test_terms_that_are_refused_are_not_asked_for_at_every_turn() -> None:
    harness = LspHarness()
    harness.policies.clear()
    payer_away(harness).release()
    for _ in range(20):
        harness.disconnect(ROUTER)
        harness.connect(ROUTER)
    assert len(harness.did(QueryTerms)) == 1


def test_not_with_the_payer_there() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(1100)
    harness.release()
    assert harness.fates() == ["forwarded"]
    assert harness.pay_orders == []


def test_not_while_only_the_way_on_is_missing() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(1100)
    harness.disconnect(ROUTER)
    harness.release()
    assert harness.pay_orders == []


def test_not_on_a_node_that_can_forward() -> None:
    able = replace(cln(), pays_on_behalf=Capability(True, "any node can pay"))
    harness = payer_away(LspHarness(able))
    harness.disconnect(ROUTER)
    harness.release()
    assert harness.pay_orders == []
    harness.connect(ROUTER)
    assert harness.fates() == ["forwarded"]


def test_not_without_an_invoice() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay(1100)
    harness.disconnect(A)
    harness.release()
    assert (harness.state(), harness.pay_orders) == (State.DUE, [])


def test_not_when_the_invoice_has_expired() -> None:
    for seconds, orders in ((999, 1), (1000, 0)):
        harness = payer_away(read_as=invoice(expires_at=int(START) + 1000))
        harness.sleep(seconds)
        harness.release()
        assert len(harness.pay_orders) == orders


def test_not_while_a_part_is_not_on_offer() -> None:
    harness = payer_away()
    harness.restart_node()
    harness.connect(ROUTER)
    harness.release()
    assert (harness.state(), harness.pay_orders) == (State.DUE, [])
    harness.connect(A)
    assert harness.fates() == ["forwarded"]


def test_not_for_a_hash_that_was_paid_for_somebody_else() -> None:
    """Two payers of one invoice: the payee is paid once, so only one of them may be charged."""
    harness = payer_away()
    other = b"o" * 32
    harness.block(client=B, invoice="lnbcrt1", unblock_hash=unblock_hash(other))
    harness.pay(1100, peer=B, channel=CHANNEL_B)
    harness.disconnect(B)
    harness.release()
    harness.finish_own_payment(preimage=PREIMAGE)
    harness.release(other)
    assert len(harness.pay_orders) == 1
    assert harness.state(other) is State.DUE


def test_not_before_a_payee_behind_the_same_lsp_is_there() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(1100, outgoing_channel=CHANNEL_B)
    harness.disconnect(A)
    harness.disconnect(B)
    harness.release()
    assert (harness.state(), harness.pay_orders) == (State.DUE, [])
    assert harness.pushes(B) == ["lsps5.payment_incoming"]
    harness.connect(B)
    assert harness.state() is State.PAYING


def test_when_the_payer_leaves_after_the_release_was_due() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(1100)
    harness.disconnect(ROUTER)
    harness.release()
    harness.disconnect(A)
    assert harness.state() is State.PAYING
