"""Check a payment before anything is sent, and plan it: pure arithmetic.

On the last hop a held payment needs blocks for three purposes: the payee's own delta; the time in which it may
release (S); and the time that the payer then has to come back online, before its own channel is in danger (R). LND adds
3 blocks of its own. They cannot be taken from another hop: deltas along a route are absolute.
"""

from dataclasses import dataclass

from asyncpay.engine.policy import PayerPolicy
from asyncpay.lightning import Invoice
from asyncpay.lsp_info import LspInfo

MAX_ROUTE_BLOCKS = 2016
"""The most blocks that a node lets a route lock (LND's --max-cltv-expiry, and the limit of forwarding nodes)."""
_NODE_BLOCKS = 3
"""Blocks that the node adds to the final expiry, for blocks found while the payment is in flight."""
_CLOCK_SECONDS = 60
"""How far the LSP's clock may be behind this one, if the wallet chooses how long to hold."""


class OrderRefused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The payment cannot be made as ordered; the text states the reason and a remedy. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayOptions:
    """The user's options for a payment. None: the default of the invoice and the policy.

    slack_blocks: how long the payee may take to release; 0: until the next block. hold_for_seconds: how long the LSP
    is to hold. max_part_msat: the most that one part may deliver to the payee.
    """

    amount_msat: int | None = None
    slack_blocks: int | None = None
    hold_for_seconds: int | None = None
    max_part_msat: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPlan:
    """The parameters of a payment; the fields are those of OutgoingPayment."""

    amount_msat: int
    fee_limit_msat: int
    slack_blocks: int
    cltv_limit_blocks: int
    release_by_height: int
    hold_until: int
    max_part_msat: int | None = None


def plan(
    invoice: Invoice,
    options: PayOptions,
    terms: LspInfo,
    policy: PayerPolicy,
    *,
    now: float,
    height: int,
    network: str,
) -> PaymentPlan:
    """Plan the payment. now: Unix seconds; height: of the chain; network: the node's, as in Invoice.

    OrderRefused if the invoice, the options and the LSP's terms are incompatible.
    """
    if invoice.network != network:
        raise OrderRefused(f"the invoice is for {invoice.network}, this wallet's node is on {network}")
    if invoice.has_blinded_paths:
        raise OrderRefused("the invoice has blinded paths, which allow no slack: ask the payee for one without")
    hold_until = _hold_until(invoice, options, terms, policy, now)
    amount_msat = _amount_msat(invoice, options, terms)
    release_blocks = _release_blocks(invoice, options, terms, policy)
    slack_blocks = release_blocks + policy.return_blocks
    expiry_blocks = invoice.min_final_cltv_expiry + slack_blocks + _NODE_BLOCKS
    return PaymentPlan(
        amount_msat=amount_msat,
        max_part_msat=_max_part_msat(amount_msat, options, policy),
        fee_limit_msat=policy.fee_base_msat + amount_msat * policy.fee_per_million // 1_000_000,
        slack_blocks=slack_blocks,
        cltv_limit_blocks=MAX_ROUTE_BLOCKS,
        release_by_height=height + min(release_blocks, expiry_blocks - terms.min_margin_blocks - 1),
        hold_until=hold_until,
    )


def _hold_until(invoice: Invoice, options: PayOptions, terms: LspInfo, policy: PayerPolicy, now: float) -> int:
    left = int(invoice.expires_at - now)
    if left <= 0:
        raise OrderRefused("the invoice has expired: ask the payee for a new one")
    usable = left - policy.invoice_margin_seconds
    if usable <= 0:
        raise OrderRefused(
            f"the invoice expires in {left} s, and the payment must end {policy.invoice_margin_seconds} s before: "
            "ask the payee for an invoice with a longer expiry"
        )
    asked = options.hold_for_seconds
    if asked is None:
        return int(now) + min(usable, max(1, terms.max_hold_seconds - _CLOCK_SECONDS))
    if asked <= 0:
        raise OrderRefused(f"the payment cannot be held for {asked} s: ask for 1 s or more")
    if asked > terms.max_hold_seconds:
        raise OrderRefused(f"the LSP holds a payment for {terms.max_hold_seconds} s at most, not {asked}")
    if asked > usable:
        raise OrderRefused(
            f"the payment can be held for {usable} s at most, not {asked}: the invoice expires in {left} s, "
            f"and the payment must end {policy.invoice_margin_seconds} s before"
        )
    return int(now) + asked


def _amount_msat(invoice: Invoice, options: PayOptions, terms: LspInfo) -> int:
    amount_msat = options.amount_msat if invoice.amount_msat is None else invoice.amount_msat
    if amount_msat is None:
        raise OrderRefused("the invoice leaves the amount to the payer: specify the amount")
    if options.amount_msat not in (None, amount_msat):
        raise OrderRefused(
            f"the invoice asks for {amount_msat} msat, not {options.amount_msat}: leave the amount out, "
            "or ask the payee for another invoice"
        )
    if amount_msat <= 0:
        raise OrderRefused(f"{amount_msat} msat cannot be paid: the amount must be 1 msat or more")
    if amount_msat > terms.max_amount_msat:
        raise OrderRefused(
            f"{amount_msat} msat is too much: the LSP holds payments of {terms.max_amount_msat} msat at most"
        )
    return amount_msat


def _max_part_msat(amount_msat: int, options: PayOptions, policy: PayerPolicy) -> int | None:
    most = options.max_part_msat
    if most is not None and most * policy.max_parts < amount_msat:
        raise OrderRefused(
            f"{amount_msat} msat does not fit into {policy.max_parts} parts of {most} msat at most: "
            f"allow parts of {-(-amount_msat // policy.max_parts)} msat or more"
        )
    return most


def _release_blocks(invoice: Invoice, options: PayOptions, terms: LspInfo, policy: PayerPolicy) -> int:
    """Return S: the blocks in which the payee is to release."""
    blocks = options.slack_blocks
    if blocks is None:
        blocks = min(policy.slack_blocks, terms.max_hold_blocks)
    if blocks < 0:
        raise OrderRefused(f"a slack of {blocks} blocks is negative: ask for 0 blocks or more")
    if blocks > terms.max_hold_blocks:
        raise OrderRefused(f"a slack of {blocks} blocks is too much: the LSP holds for {terms.max_hold_blocks} at most")
    others = invoice.min_final_cltv_expiry + policy.return_blocks + _NODE_BLOCKS
    if others + blocks > MAX_ROUTE_BLOCKS:
        raise OrderRefused(
            f"too much slack: {blocks} blocks, and {others} for the payee and the return, are more than "
            f"the {MAX_ROUTE_BLOCKS} that a payment may lock; ask for {max(0, MAX_ROUTE_BLOCKS - others)} at most"
        )
    if others + blocks <= terms.min_margin_blocks + 1:
        raise OrderRefused(
            f"too little slack: the LSP returns payments {terms.min_margin_blocks} blocks before they expire, "
            f"and this one expires in {others + blocks}"
        )
    return blocks
