"""What the LSP tells of a block. It may come late, twice, in another order, or not at all."""

from dataclasses import replace

from asyncpay.engine.payer import calling_off, handing_over, progress
from asyncpay.engine.payer.events import Updated
from asyncpay.engine.payer.stages import ENDS_BLOCK, Trigger
from asyncpay.engine.payer.turn import Turn
from asyncpay.wire.messages import BlockState

_RANK = {BlockState.HELD: 1, BlockState.RELEASED: 2, BlockState.SETTLED: 3, BlockState.FAILED_BACK: 3}


def updated(turn: Turn, event: Updated) -> None:
    """Take note of how far the block has come; it never goes back."""
    update = event.message
    payment = turn.payments.of_block(update.unblock_hash)
    if payment is None or not _may_follow(payment.told, update.state):
        return
    if (payment.told, payment.told_parts) != (update.state, update.parts):
        turn.put(replace(payment, told=update.state, told_parts=update.parts))
        turn.log(f"the LSP says {update.state.name}", payment.key, because=f"{update.parts} parts")
    if update.state in ENDS_BLOCK:
        calling_off.answered(turn, turn.payments[payment.key])
    else:
        handing_over.look(turn, turn.payments[payment.key])
    if update.state is BlockState.FAILED_BACK:
        failure = f"LSP {payment.lsp.hex()} has ended the block before anything was paid"
        progress.advance(turn, turn.payments[payment.key], Trigger.BLOCK_ENDED, failure)


def _may_follow(told: BlockState | None, state: BlockState) -> bool:
    return told is None or told is state or _RANK[told] < _RANK[state]
