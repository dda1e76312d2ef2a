"""The limits of a payment on behalf: its cost, its latest expiry, and the number of such payments.

Arithmetic (docs/protocol.md, "Paying on behalf"), for parts i with the incoming amount and expiry (in_i, E_i), the
outgoing ones in the payer's onion (out_i, X_i), and the forwarding policy of the channel that the onion names (fee_i,
delta_i):

    fee limit     = sum of min(out_i, in_i - fee_i) - amount
    latest expiry = min of X_i, E_i - delta_i, E_i - cutoff - margin

So the LSP keeps at least the fee and the blocks that forwarding would have left it, no matter what the onion contains;
and the result of its own payment is known `margin` blocks before its node would fail the held HTLCs (`cutoff`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.state import Context
from asyncpay.lightning import ChannelTerms, ForwardingPolicy, HeldHtlc


@dataclass(frozen=True, slots=True)
class Limits:
    """fee_limit_msat: 0 or more. latest_expiry: the height by which every own HTLC must have expired."""

    fee_limit_msat: int
    latest_expiry: int


class NotCoveredError(Exception):
    """The held parts do not cover an own payment; the text gives the reason."""


def limits(ctx: Context, block: Block, channels: Iterable[ChannelTerms]) -> Limits:
    """Return the limits of an own payment for a block. channels: with its payer and the next peers. NotCoveredError."""
    terms = tuple(channels)
    parts = [part.htlc for part in ctx.records.parts(block)]
    _check_claimable(ctx, parts, [each for each in terms if each.peer == block.client])
    cutoff_blocks = ctx.capabilities.cutoff_blocks or 0
    budget_msat, latest = -block.amount_msat, []
    for htlc in parts:
        own = _forwarding_policy(htlc, terms)
        carried_msat = min(htlc.outgoing_amount_msat, htlc.incoming_amount_msat)
        budget_msat += min(carried_msat, htlc.incoming_amount_msat - own.fee_msat(carried_msat))
        latest += [
            htlc.outgoing_expiry,
            htlc.incoming_expiry - own.cltv_delta_blocks,
            htlc.incoming_expiry - cutoff_blocks - ctx.policy.on_behalf_margin_blocks,
        ]
    if budget_msat < 0:
        raise NotCoveredError(f"after this LSP's own fee the parts bring {-budget_msat} msat less than the amount")
    return Limits(budget_msat, min(latest))


def full(ctx: Context, block: Block) -> str | None:
    """Return why no further own payment for this client may begin now; None if one may.

    A paid amount stays at risk until the parts that are claimed for it have left the channel of the payer's node.
    """
    policy, tables = ctx.policy, ctx.records
    attempts = tables.in_flight()
    theirs = [each for each in attempts if tables.blocks[each.block].client == block.client]
    for whose, under_way, claimed_msat, most, most_msat in (
        (
            "of this client",
            theirs,
            tables.claimed_msat(block.client),
            policy.max_on_behalf_client,
            policy.max_on_behalf_client_msat,
        ),
        ("in all", attempts, tables.claimed_msat(), policy.max_on_behalf, policy.max_on_behalf_msat),
    ):
        cost_msat = sum(tables.blocks[each.block].amount_msat + each.fee_limit_msat for each in under_way)
        if len(under_way) >= most or cost_msat + claimed_msat + block.amount_msat > most_msat:
            return f"{whose}, {len(under_way)} payments of {cost_msat} msat are under way, {claimed_msat} msat claimed"
    return None


def _check_claimable(ctx: Context, parts: Iterable[HeldHtlc], channels: Iterable[ChannelTerms]) -> None:
    """Raise NotCoveredError if a part would be lost when the payer closes its channel: because it has no output there,
    or costs more to claim than its amount.
    """
    dust_msat = max((each.dust_msat for each in channels), default=None)
    if dust_msat is None:
        raise NotCoveredError("the payer's channel is not open")
    least_msat = max(dust_msat, ctx.policy.on_behalf_min_part_msat)
    smallest_msat = min(htlc.incoming_amount_msat for htlc in parts)
    if smallest_msat < least_msat:
        raise NotCoveredError(
            f"a part brings {smallest_msat} msat, and less than {least_msat} msat may not be worth claiming on chain"
        )


def _forwarding_policy(htlc: HeldHtlc, channels: Iterable[ChannelTerms]) -> ForwardingPolicy:
    """Return the policy of the channel in the onion; if it names the node, the highest values of its channels."""
    if htlc.outgoing_channel is not None:
        asked = [each for each in channels if htlc.outgoing_channel in each.names]
    else:
        asked = [each for each in channels if each.peer == htlc.outgoing_node]
    policies = [each.policy for each in asked if each.policy is not None]
    if not policies:
        raise NotCoveredError(
            "the node knows no forwarding policy of its own for the channel that the payer's onion names"
        )
    return ForwardingPolicy(
        fee_base_msat=max(each.fee_base_msat for each in policies),
        fee_ppm=max(each.fee_ppm for each in policies),
        cltv_delta_blocks=max(each.cltv_delta_blocks for each in policies),
    )
