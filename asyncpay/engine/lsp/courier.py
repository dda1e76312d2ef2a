"""The courier: the payer's own message to the payee, sent again and again while the payer is away.

It runs while a block is HELD. The first copy is the payer's business; a connection that is only half open,
or a node that limits its rate, loses messages without telling anybody.
"""

import math
from dataclasses import replace

from asyncpay.engine import pauses
from asyncpay.engine.lsp.effects import Relay
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.stages import Stage
from asyncpay.engine.lsp.turn import Turn
from asyncpay.wire.messages import Courier
from asyncpay.wire.onion import OnionMessage


def schedule(turn: Turn, block: Block) -> Block:
    """The block, just come to its stage, with its courier running or at rest."""
    if block.stage is not Stage.HELD or block.courier is None:
        return replace(block, courier_next_at=None)
    return replace(block, courier_next_at=turn.now + turn.policy.courier_first_seconds)


def run(turn: Turn) -> None:
    """Send the couriers that are due. Without a node they wait for it."""
    if not turn.state.attached:
        return
    for block in list(turn.tables.blocks.values()):
        if block.courier is None or block.courier_next_at is None or block.courier_next_at > turn.now:
            continue
        sent = block.courier_sent + 1
        pause = pauses.doubled(turn.policy.courier_first_seconds, turn.policy.courier_most_seconds, sent)
        turn.put(replace(block, courier_sent=sent, courier_next_at=turn.now + pause))
        message = Courier.decode(block.courier)
        turn.do(Relay(block.client, OnionMessage(message.path_key, message.onion)))


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    if not turn.state.attached:
        return math.inf
    blocks = turn.tables.blocks.values()
    return min((b.courier_next_at for b in blocks if b.courier_next_at is not None), default=math.inf)
