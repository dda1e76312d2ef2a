"""What happens because time has passed or a block was found, and when to look again."""

from asyncpay.engine.lsp import answers, blocks, courier, deadlines, holding, mailbox, on_behalf, waking
from asyncpay.engine.lsp.stages import UNDECIDED, Stage
from asyncpay.engine.lsp.turn import Turn


def run(turn: Turn) -> None:
    """Do everything that is due at this time and height."""
    for block in list(turn.tables.blocks.values()):
        if block.stage in UNDECIDED:
            blocks.end_if_over(turn, block.key)
        elif block.stage is not Stage.PAYING and deadlines.forgettable(turn, block):
            _forget(turn, block.key)
    holding.reconsider_waiting(turn)
    answers.give_all(turn)
    on_behalf.run(turn)
    courier.run(turn)
    mailbox.run(turn)
    waking.run(turn)


def next_at(turn: Turn) -> float:
    """The earliest time at which `run` has something to do, if nothing happens before; infinity for never."""
    return min(
        on_behalf.next_at(turn),
        courier.next_at(turn),
        mailbox.next_at(turn),
        waking.next_at(turn),
        *(deadlines.next_of_block(turn, block) for block in turn.tables.blocks.values()),
        *(deadlines.wait_ends(turn, waiting) for waiting in turn.tables.waiting()),
    )


def _forget(turn: Turn, unblock_hash: bytes) -> None:
    """A tombstone has had its time."""
    block = turn.tables.blocks[unblock_hash]
    for part in turn.tables.parts(block):
        turn.drop(part)
        turn.state.forget_htlc(part.key)
    on_behalf.forget(turn, block)
    turn.drop(block)
