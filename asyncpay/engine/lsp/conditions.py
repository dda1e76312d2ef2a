"""Channels and deadlines: what an HTLC or a block needs, and whether it is there or over. Pure questions.

A RESUME needs the channel to the next peer and, on some nodes, the payer's (see Capabilities). A deadline is a time or
a height; `engine.on_tick` and `blocks` act on the answers.
"""

import math
from collections.abc import Iterable

from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import COLLECTING, State, Trigger
from asyncpay.lightning import HeldHtlc, NodeId

# --- channels ---


EXPIRED_BLOCKS = 144
"""A day of blocks: so long past its expiry an HTLC is a matter of the chain and of no decision."""


def next_peer(ctx: Context, htlc: HeldHtlc) -> NodeId | None:
    """To whom the HTLC is to go, if that can be known."""
    if htlc.outgoing_node is not None:
        return htlc.outgoing_node
    if htlc.outgoing_channel is not None:
        link = ctx.node.channels.named(htlc.outgoing_channel)
        return None if link is None else link.peer
    return None


def can_be_claimed(ctx: Context, htlc: HeldHtlc) -> bool:
    """Whether the channel on which the HTLC came in carries it, its peer there or not."""
    return ctx.node.channels.get(htlc.key.channel_id) is not None


def closing(ctx: Context, htlc: HeldHtlc) -> bool:
    """Whether one side wants to close the channel on which the HTLC came in, and waits for the HTLCs to leave it."""
    link = ctx.node.channels.get(htlc.key.channel_id)
    return link is not None and link.closing


def incoming_usable(ctx: Context, htlc: HeldHtlc) -> bool:
    """Whether the channel on which the HTLC came in is usable."""
    return ctx.node.channels.usable(htlc.key.channel_id)


def outgoing_usable(ctx: Context, htlc: HeldHtlc) -> bool:
    """Whether the next peer can be reached. There is no use in waiting if it is unknown, for only the node can tell;
    nor if its last channel is being closed.
    """
    peer = next_peer(ctx, htlc)
    channels = ctx.node.channels
    return peer is None or channels.reaches(peer) or not channels.stays(peer)


def can_forward(ctx: Context, htlc: HeldHtlc) -> bool:
    """Whether a RESUME would not fail for want of a channel."""
    payer_may_be_away = bool(ctx.capabilities.forwards_with_payer_offline)
    return outgoing_usable(ctx, htlc) and (payer_may_be_away or incoming_usable(ctx, htlc))


def stuck_parts(ctx: Context, block: Block) -> list[Htlc]:
    """Parts that should be on their way, as far as is known, and need a channel for that."""
    parts = ctx.records.parts(block)
    if block.state is State.DUE:
        return parts
    if block.state is State.RELEASED:
        return [part for part in parts if part.key in ctx.state.intercepted]
    return []


def payer_missing(ctx: Context, parts: Iterable[Htlc]) -> bool:
    """Whether these parts cannot be released before their payer has come back."""
    node = ctx.capabilities
    return any(
        (not node.forwards_with_payer_offline and not incoming_usable(ctx, part.htlc))
        or (not node.reoffers_without_payer and part.key not in ctx.state.intercepted)
        for part in parts
    )


# --- deadlines ---


def near_expiry(ctx: Context, htlc: HeldHtlc) -> bool:
    """Within the margin of its incoming expiry, that block included."""
    height = ctx.node.height
    return height is not None and htlc.incoming_expiry - height <= ctx.policy.min_margin_blocks


def over(ctx: Context, block: Block) -> Trigger | None:
    """The deadline that the block has passed, if any: for its whole life, in any state.

    A channel is closed by agreement only when no HTLC is on it any more, so it is not kept waiting.
    """
    height = ctx.node.height
    if height is not None and height > block.release_by_height:
        return Trigger.DEADLINE
    if ctx.state.unix.surely_past(block.hold_until):
        return Trigger.DEADLINE
    if any(near_expiry(ctx, part.htlc) for part in ctx.records.parts(block) if not part.gone):
        return Trigger.NEAR_EXPIRY
    if any(closing(ctx, part.htlc) for part in ctx.records.parts(block) if not part.gone):
        return Trigger.CHANNEL_CLOSING
    if ctx.now >= _complete_by(ctx, block):
        return Trigger.INCOMPLETE
    return None


def _complete_by(ctx: Context, block: Block) -> float:
    if block.state not in COLLECTING or block.first_part_at is None:
        return math.inf
    return block.first_part_at + ctx.policy.incomplete_seconds


def waited_enough(ctx: Context, waiting: Htlc) -> bool:
    """An HTLC that waits for an offline client must be failed."""
    return ctx.now >= waiting.offered_at + ctx.policy.wake_timeout_seconds or near_expiry(ctx, waiting.htlc)


def forgettable(ctx: Context, block: Block) -> bool:
    """A finished block whose time is over, and none of whose HTLCs can be offered again."""
    height = ctx.node.height
    if height is None or height <= block.release_by_height or not ctx.state.unix.surely_past(block.hold_until):
        return False
    return all(expired(ctx, part) or _is_over(ctx, part) for part in ctx.records.parts(block))


def _is_over(ctx: Context, part: Htlc) -> bool:
    """It is gone, and the node does not ask for its preimage on chain."""
    return part.gone and part.key not in ctx.state.intercepted


def expired(ctx: Context, htlc: Htlc) -> bool:
    """So long past its expiry that no decision on it matters any more."""
    height = ctx.node.height
    return height is not None and height > htlc.htlc.incoming_expiry + EXPIRED_BLOCKS


def forget_at_height(ctx: Context, block: Block) -> int:
    """The next height at which a finished block that is not forgettable yet may be."""
    left = [part for part in ctx.records.parts(block) if not (expired(ctx, part) or _is_over(ctx, part))]
    if any(part.gone for part in left):
        return (ctx.node.height or 0) + 1  # the node may stop asking for its preimage at any time
    return max((part.htlc.incoming_expiry + EXPIRED_BLOCKS for part in left), default=block.release_by_height) + 1
