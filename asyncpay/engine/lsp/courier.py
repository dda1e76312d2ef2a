"""The retransmits of a payer's message to its payee ("couriers"), while the payer is away.

They run while a block is HELD. The first copy is the payer's business; a connection that is only half open,
or a node that limits its rate, loses messages without telling anybody.

CLN for one takes 4 messages a second of one peer. Couriers sent in step would lose the same ones every time, so
each interval is shortened by a part of its own, and no two leave the LSP within `courier_pace_seconds`. The pace
is one for all next hops: an onion's next hop is known to the node only, and not to every node. Whose courier is next
goes round by client.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.lsp.effects import Relay
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.stages import Stage
from asyncpay.engine.lsp.turn import Turn
from asyncpay.wire.messages import Courier
from asyncpay.wire.onion import OnionMessage

JITTER = 0.25
"""An interval is shortened by up to this part of it."""


def schedule(turn: Turn, block: Block) -> Block:
    """The block, just come to its stage, with its courier running or at rest."""
    if block.stage is not Stage.HELD or block.courier is None:
        return replace(block, courier_next_at=None)
    return replace(block, courier_next_at=turn.now + _interval_seconds(turn, block, 0))


def run(turn: Turn) -> None:
    """Send the courier whose turn it is, if one is due. Without a node they wait for it."""
    if not turn.state.attached or turn.now < _slot(turn):
        return
    due = [block for block in _running(turn) if _due_at(block) <= turn.now]
    if not due:
        return
    served = turn.state.courier_served
    block = min(due, key=lambda each: (served.get(each.client, -math.inf), _due_at(each)))
    sent = block.courier_sent + 1
    pause = _interval_seconds(turn, block, sent)
    turn.put(replace(block, courier_sent=sent, courier_next_at=turn.now + pause))
    turn.state.courier_free_at = turn.now + turn.policy.courier_pace_seconds
    waiting = {each.client for each in due}
    turn.state.courier_served = {client: at for client, at in served.items() if client in waiting}
    turn.state.courier_served[block.client] = turn.now
    message = Courier.decode(block.courier or b"")
    turn.do(Relay(block.client, OnionMessage(message.path_key, message.onion)))


def next_at(turn: Turn) -> float:
    """When `run` has something to do."""
    first = min(map(_due_at, _running(turn)), default=math.inf) if turn.state.attached else math.inf
    return max(first, _slot(turn))


def _running(turn: Turn) -> Iterator[Block]:
    blocks = turn.tables.blocks.values()
    return (block for block in blocks if block.courier is not None and block.courier_next_at is not None)


def _due_at(block: Block) -> float:
    return math.inf if block.courier_next_at is None else block.courier_next_at


def _slot(turn: Turn) -> float:
    """When the next one may go. A clock that was set back does not make it wait for longer than the pace."""
    return min(turn.state.courier_free_at, turn.now + turn.policy.courier_pace_seconds)


def _interval_seconds(turn: Turn, block: Block, sent: int) -> float:
    """How long to wait after so many. Drawn from the block and the number: the same again after a crash."""
    policy = turn.policy
    pause = backoff_seconds(policy.courier_first_seconds, policy.courier_most_seconds, sent)
    drawn = int.from_bytes(sha256(block.unblock_hash + sent.to_bytes(8, "big")).digest()[:4], "big") / 2**32
    return pause * (1 - JITTER * drawn)
