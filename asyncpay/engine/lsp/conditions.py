"""Pure conditions: whether the channels that an HTLC or a block needs are usable, and whether its deadlines are over.

A RESUME needs the channel to the next peer and, on some nodes, the payer's (see Capabilities). A deadline is a time or
a height; `engine.on_tick` and `blocks` act on the results.
"""

import math
from collections.abc import Iterable

from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import COLLECTING, State, Trigger
from asyncpay.lightning import HeldHtlc, NodeId

# --- channels ---


EXPIRED_BLOCKS = 144
"""A day of blocks: this long after its expiry an HTLC is resolved on chain, and no decision matters any more."""


def next_peer(ctx: Context, htlc: HeldHtlc) -> NodeId | None:
    """Return the next peer of the HTLC, or None if it cannot be known."""
    if htlc.outgoing_node is not None:
        return htlc.outgoing_node
    if htlc.outgoing_channel is not None:
        link = ctx.node.channels.named(htlc.outgoing_channel)
        return None if link is None else link.peer
    return None


def can_be_claimed(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether the HTLC is still on its incoming channel, whether or not its peer is connected."""
    return ctx.node.channels.get(htlc.key.channel_id) is not None


def closing(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether a mutual close of the HTLC's incoming channel has begun, which waits for its HTLCs to resolve."""
    link = ctx.node.channels.get(htlc.key.channel_id)
    return link is not None and link.closing


def incoming_usable(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether the HTLC's incoming channel is usable."""
    return ctx.node.channels.usable(htlc.key.channel_id)


def outgoing_usable(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether to forward to the next peer now: its channel is usable, or waiting for it is useless because the
    peer is unknown (only the node can tell) or its last channel is being closed.
    """
    peer = next_peer(ctx, htlc)
    channels = ctx.node.channels
    return peer is None or channels.reaches(peer) or not channels.stays(peer)


def can_forward(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether a RESUME would not fail for lack of a usable channel."""
    payer_may_be_away = bool(ctx.capabilities.forwards_with_payer_offline)
    return outgoing_usable(ctx, htlc) and (payer_may_be_away or incoming_usable(ctx, htlc))


def stuck_parts(ctx: Context, block: Block) -> list[Htlc]:
    """Return the released parts that, as far as is known, are not forwarded yet because a channel is not usable."""
    parts = ctx.records.parts(block)
    if block.state is State.DUE:
        return parts
    if block.state is State.RELEASED:
        return [part for part in parts if part.key in ctx.state.intercepted]
    return []


def payer_missing(ctx: Context, parts: Iterable[Htlc]) -> bool:
    """Return whether these parts cannot be released before their payer is connected again."""
    node = ctx.capabilities
    return any(
        (not node.forwards_with_payer_offline and not incoming_usable(ctx, part.htlc))
        or (not node.reoffers_without_payer and part.key not in ctx.state.intercepted)
        for part in parts
    )


# --- deadlines ---


def near_expiry(ctx: Context, htlc: HeldHtlc) -> bool:
    """Return whether the HTLC is within the margin of its incoming expiry, that height included."""
    height = ctx.node.height
    return height is not None and htlc.incoming_expiry - height <= ctx.policy.min_margin_blocks


def over(ctx: Context, block: Block) -> Trigger | None:
    """Return the deadline that the block has passed, or None: in any state, for its whole life.

    A mutual close of a channel waits until no HTLC is on it, so it counts as a deadline too.
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
    """Return whether an HTLC that waits for an offline client must be failed."""
    return ctx.now >= waiting.offered_at + ctx.policy.wake_timeout_seconds or near_expiry(ctx, waiting.htlc)


def forgettable(ctx: Context, block: Block) -> bool:
    """Return whether a block is finished, its time is over, and none of its HTLCs can be offered again."""
    height = ctx.node.height
    if height is None or height <= block.release_by_height or not ctx.state.unix.surely_past(block.hold_until):
        return False
    return all(expired(ctx, part) or _is_over(ctx, part) for part in ctx.records.parts(block))


def _is_over(ctx: Context, part: Htlc) -> bool:
    """Return whether the HTLC is gone, and the node does not ask for its preimage on chain."""
    return part.gone and part.key not in ctx.state.intercepted


def expired(ctx: Context, htlc: Htlc) -> bool:
    """Return whether the HTLC is so long past its expiry that no decision on it matters any more."""
    height = ctx.node.height
    return height is not None and height > htlc.htlc.incoming_expiry + EXPIRED_BLOCKS


def forget_at_height(ctx: Context, block: Block) -> int:
    """Return the next height at which a finished block may become forgettable."""
    left = [part for part in ctx.records.parts(block) if not (expired(ctx, part) or _is_over(ctx, part))]
    if any(part.gone for part in left):
        return (ctx.node.height or 0) + 1  # the node may stop asking for its preimage at any time
    return max((part.htlc.incoming_expiry + EXPIRED_BLOCKS for part in left), default=block.release_by_height) + 1
