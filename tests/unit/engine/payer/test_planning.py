"""What is refused before anything is sent, and why; and the numbers of what is not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncpay.engine.payer.planning import MAX_ROUTE_BLOCKS, OrderRefused, PaymentPlan, PayOptions, plan
from asyncpay.engine.policy import PayerPolicy
from asyncpay.lightning import Invoice
from asyncpay.lsp_info import LspInfo

from .factories import HASH, HEIGHT, PAYEE

NOW = 1_000_000.5
DAY = 86_400
INVOICE = Invoice(
    text="lnbcrt1",
    payment_hash=HASH,
    payee=PAYEE,
    amount_msat=50_000,
    network="regtest",
    expires_at=1_000_000 + DAY,
    min_final_cltv_expiry=80,
)
TERMS = LspInfo(
    versions=(1,),
    transit_release=True,
    forwards_with_payer_offline=True,
    pays_on_behalf=False,
    courier=True,
    max_holds=483,
    max_amount_msat=1_000_000,
    max_hold_seconds=14 * DAY,
    max_hold_blocks=1008,
    min_margin_blocks=30,
)


def made(
    invoice: Invoice = INVOICE, terms: LspInfo = TERMS, policy: PayerPolicy | None = None, **wishes: int
) -> PaymentPlan:
    policy = PayerPolicy() if policy is None else policy
    return plan(invoice, PayOptions(**wishes), terms, policy, now=NOW, height=HEIGHT, network="regtest")


def test_as_the_invoice_and_the_policy_say() -> None:
    assert made() == PaymentPlan(
        amount_msat=50_000,
        fee_limit_msat=10_000 + 500,
        slack_blocks=432 + 144,
        cltv_limit_blocks=2016,
        release_by_height=HEIGHT + 432,
        hold_until=1_000_000 + DAY - 600 - 1,
    )


def test_as_the_user_says() -> None:
    wishes: dict[str, Any] = {"amount_msat": 7, "max_part_msat": 3, "slack_blocks": 10, "hold_for_seconds": 100}
    made_so = made(replace(INVOICE, amount_msat=None), **wishes)
    assert made_so == PaymentPlan(
        amount_msat=7,
        fee_limit_msat=10_000,
        slack_blocks=10 + 144,
        cltv_limit_blocks=2016,
        release_by_height=HEIGHT + 10,
        hold_until=1_000_100,
        max_part_msat=3,
    )


def test_the_amount_may_be_said_twice_if_it_is_the_same() -> None:
    assert made(amount_msat=50_000) == made()


@pytest.mark.parametrize(
    ("changes", "wishes", "why"),
    [
        ({"network": "bitcoin"}, {}, "for bitcoin, this wallet's node is on regtest"),
        ({"has_blinded_paths": True}, {}, "has blinded paths"),
        ({"expires_at": 1_000_000}, {}, "has expired"),
        ({"expires_at": 1_000_601}, {}, "expires in 600 s"),
        ({"amount_msat": None}, {}, "specify the amount"),
        ({}, {"amount_msat": 50_001}, "asks for 50000 msat, not 50001"),
        ({}, {"amount_msat": 0}, "asks for 50000 msat, not 0"),
        ({"amount_msat": None}, {"amount_msat": 0}, "0 msat cannot be paid"),
        ({"amount_msat": None}, {"amount_msat": -5}, "-5 msat cannot be paid"),
        ({"amount_msat": 1_000_001}, {}, "1000000 msat at most"),
        ({}, {"slack_blocks": -1}, "is negative"),
        ({}, {"slack_blocks": 1009}, "holds for 1008 at most"),
        ({"min_final_cltv_expiry": 1438}, {}, "too much slack"),
        ({"min_final_cltv_expiry": 1000}, {"slack_blocks": 870}, "869 at most"),
        ({}, {"max_part_msat": 3_124}, "allow parts of 3125 msat or more"),
        ({}, {"hold_for_seconds": 0}, "cannot be held for 0 s"),
        ({"expires_at": 10_000_000}, {"hold_for_seconds": 14 * DAY + 1}, "1209600 s at most, not 1209601"),
        ({}, {"hold_for_seconds": DAY - 600}, "the invoice expires in 86399 s"),
    ],
)
def test_refused(changes: dict[str, object], wishes: dict[str, int], why: str) -> None:
    with pytest.raises(OrderRefused, match=why):
        made(replace(INVOICE, **changes), **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "wishes"),
    [
        ({"expires_at": 1_000_602}, {}),
        ({"amount_msat": None}, {"amount_msat": 1}),
        ({"amount_msat": 1_000_000}, {}),
        ({}, {"slack_blocks": 0}),
        ({}, {"slack_blocks": 1008}),
        ({"min_final_cltv_expiry": 1437}, {}),
        ({"min_final_cltv_expiry": 1000}, {"slack_blocks": 869}),
        ({}, {"max_part_msat": 3_125}),
        ({}, {"hold_for_seconds": 1}),
        ({"expires_at": 10_000_000}, {"hold_for_seconds": 14 * DAY}),
        ({}, {"hold_for_seconds": DAY - 601}),
    ],
)
def test_just_not_refused(changes: dict[str, object], wishes: dict[str, int]) -> None:
    made(replace(INVOICE, **changes), **wishes)  # type: ignore[arg-type]


def test_an_lsp_that_holds_for_less_is_asked_for_less() -> None:
    short = replace(TERMS, max_hold_blocks=100, max_hold_seconds=3600)
    assert made(terms=short).release_by_height == HEIGHT + 100
    assert made(terms=short).hold_until == 1_000_000 + 3600 - 60  # the LSP's clock may be behind


def test_the_release_comes_before_the_lsp_s_own_margin() -> None:
    greedy = replace(TERMS, min_margin_blocks=300)
    made_so = made(terms=greedy, slack_blocks=200)
    incoming_expiry = HEIGHT + 80 + 200 + 144 + 3  # at least
    assert made_so.release_by_height == incoming_expiry - 300 - 1
    with pytest.raises(OrderRefused, match="too little slack: the LSP returns payments 300 blocks before"):
        made(terms=greedy, slack_blocks=300 - 80 - 144 - 3 + 1)
    made(terms=greedy, slack_blocks=300 - 80 - 144 - 3 + 2)


@settings(deadline=None)
@given(
    expires_at=st.integers(1_000_000, 1_000_000 + 30 * DAY),
    min_final=st.integers(18, 2016),
    slack=st.none() | st.integers(-1, 2016),
    hold=st.none() | st.integers(-1, 30 * DAY),
    hold_blocks=st.integers(0, 2016),
    hold_seconds=st.integers(0, 30 * DAY),
    margin=st.integers(1, 500),
)
def test_a_plan_keeps_every_limit(
    expires_at: int,
    min_final: int,
    slack: int | None,
    hold: int | None,
    hold_blocks: int,
    hold_seconds: int,
    margin: int,
) -> None:
    invoice = replace(INVOICE, expires_at=expires_at, min_final_cltv_expiry=min_final)
    terms = replace(TERMS, max_hold_blocks=hold_blocks, max_hold_seconds=hold_seconds, min_margin_blocks=margin)
    try:
        result = plan(
            invoice,
            PayOptions(slack_blocks=slack, hold_for_seconds=hold),
            terms,
            PayerPolicy(),
            now=NOW,
            height=HEIGHT,
            network="regtest",
        )
    except OrderRefused:
        return
    assert result.hold_until + 1 > NOW
    assert result.hold_until <= expires_at - 600
    assert result.hold_until - NOW <= max(hold_seconds, 1)
    assert HEIGHT <= result.release_by_height <= HEIGHT + hold_blocks
    expiry = HEIGHT + min_final + result.slack_blocks + 3
    assert expiry - HEIGHT <= MAX_ROUTE_BLOCKS
    assert result.release_by_height < expiry - margin
