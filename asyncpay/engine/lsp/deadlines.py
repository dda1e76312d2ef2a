"""When an HTLC or a block has been held for long enough. Pure questions; `clock` acts on the answers."""

import math

from asyncpay.engine.lsp import links
from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.stages import COLLECTING, UNDECIDED, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import HeldHtlc


def near_expiry(turn: Turn, htlc: HeldHtlc) -> bool:
    """Within the margin of its incoming expiry, that block included."""
    height = turn.state.height
    return height is not None and htlc.incoming_expiry - height <= turn.policy.min_margin_blocks


def over(turn: Turn, block: Block) -> Trigger | None:
    """The deadline that the block has passed, if any: for its whole life, whatever its stage.

    A channel is closed by agreement only when no HTLC is on it any more, so it is not kept waiting.
    """
    height = turn.state.height
    if height is not None and height > block.release_by_height:
        return Trigger.DEADLINE
    if turn.state.unix.surely_past(block.hold_until):
        return Trigger.DEADLINE
    if any(near_expiry(turn, part.htlc) for part in turn.tables.parts(block) if not part.gone):
        return Trigger.NEAR_EXPIRY
    if any(links.closing(turn, part.htlc) for part in turn.tables.parts(block) if not part.gone):
        return Trigger.CHANNEL_CLOSING
    if turn.now >= _complete_by(turn, block):
        return Trigger.INCOMPLETE
    return None


def next_of_block(turn: Turn, block: Block) -> float:
    """When `over` changes its mind, if no block comes before; infinity if nothing is held for this block."""
    if block.stage not in UNDECIDED and not links.stuck_parts(turn, block):
        return math.inf
    return min(turn.state.unix.past_at(block.hold_until), _complete_by(turn, block))


def _complete_by(turn: Turn, block: Block) -> float:
    if block.stage not in COLLECTING or block.first_part_at is None:
        return math.inf
    return block.first_part_at + turn.policy.incomplete_seconds


def waited_enough(turn: Turn, waiting: Htlc) -> bool:
    """An HTLC that waits for an offline client must be failed."""
    return turn.now >= wait_ends(turn, waiting) or near_expiry(turn, waiting.htlc)


def wait_ends(turn: Turn, waiting: Htlc) -> float:
    """Until when an HTLC waits for an offline client."""
    return waiting.offered_at + turn.policy.wake_timeout_seconds


def forgettable(turn: Turn, block: Block) -> bool:
    """A tombstone whose time is over, and none of whose HTLCs can be offered again."""
    height = turn.state.height
    if height is None or height <= block.release_by_height or not turn.state.unix.surely_past(block.hold_until):
        return False
    return all(expired(turn, part) or _is_over(turn, part) for part in turn.tables.parts(block))


def _is_over(turn: Turn, part: Htlc) -> bool:
    """It is gone, and the node does not ask for its preimage on chain."""
    return part.gone and part.key not in turn.state.on_offer


def expired(turn: Turn, htlc: Htlc) -> bool:
    """So long past its expiry, a day of blocks, that it is a matter of the chain and of no decision."""
    height = turn.state.height
    return height is not None and height > htlc.htlc.incoming_expiry + 144
