"""Moving a block through its stages, and what follows from that for its parts and its payer."""

from dataclasses import replace

from asyncpay.engine.lsp import answers, courier, deadlines, waking
from asyncpay.engine.lsp.effects import SendToClient
from asyncpay.engine.lsp.events import UpdateSent
from asyncpay.engine.lsp.records import Block, Method
from asyncpay.engine.lsp.stages import FACTS, FINISHED, TRANSITIONS, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.wire.messages import BlockUpdate


def advance(turn: Turn, unblock_hash: bytes, trigger: Trigger) -> bool:
    """Let `trigger` happen to a block. False if it means nothing in the block's stage (see stages.py)."""
    block = turn.tables.blocks[unblock_hash]
    to = TRANSITIONS[block.stage].get(trigger)
    if to is None:
        return False
    turn.put(courier.schedule(turn, replace(block, stage=to.stage)))
    turn.log(to.stage.value, block, because=trigger.value)
    if to.verdict is not None:
        for part in turn.tables.parts(block):
            answers.decide(turn, part, to.verdict)
    if FACTS[to.stage].update is not FACTS[block.stage].update:
        _tell_news(turn, unblock_hash)
    return True


def end_if_over(turn: Turn, unblock_hash: bytes) -> bool:
    """Fail a block back if it has passed a deadline or lost a part, and its stage still allows it."""
    block = turn.tables.blocks[unblock_hash]
    lost = any(part.gone for part in turn.tables.parts(block))
    trigger = Trigger.PART_LOST if lost else deadlines.over(turn, block)
    return trigger is not None and advance(turn, unblock_hash, trigger)


def tell(turn: Turn, unblock_hash: bytes) -> None:
    """Send the payer the current state of its block, if there is anything to tell and it is connected."""
    block = turn.tables.blocks[unblock_hash]
    state = FACTS[block.stage].update
    if state is None or block.client not in turn.state.online:
        return
    parts = len(turn.tables.parts(block))
    turn.do(SendToClient(block.client, BlockUpdate(unblock_hash=unblock_hash, state=state, parts=parts)))


def sent(turn: Turn, event: UpdateSent) -> None:
    """An update has left. If it said how the block ended, the payer need not hear of it again."""
    block = turn.tables.blocks.get(event.unblock_hash)
    if block is not None and block.stage in FINISHED and event.state is FACTS[block.stage].update:
        turn.put(replace(block, told=event.state))


def untold(block: Block) -> bool:
    """Whether the payer should hear of this block when it connects: unless it knows how it ended."""
    state = FACTS[block.stage].update
    return state is not None and block.told is not state


def _tell_news(turn: Turn, unblock_hash: bytes) -> None:
    """A payer that is away is called when the result waits for it on its channel."""
    tell(turn, unblock_hash)
    block = turn.tables.blocks[unblock_hash]
    if block.stage in FINISHED:
        waking.wake(turn, block.client, Method.SETTLEMENT_PENDING)
