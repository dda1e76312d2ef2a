"""Retransmit a payer's message to its payee (the "courier"), while the payer is away.

That is done while a block is HELD. The payer sends the first copy; a connection that is only half open, or a node that
limits its rate, loses messages without telling anybody.

CLN for one takes 4 messages a second of one peer. Couriers sent in step would lose the same ones every time, so each
interval is shortened by a part of its own, and no two leave for the same next hop within `courier_pace_seconds`. An
onion's next hop is known to the node only: it tells it when the courier was sent for the first time (not every node
does). Until then a courier waits together with all others of which that is not known. Next hops take turns, and in each
the clients do.
"""

import math
from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.lsp.interface import CourierSent, Relay
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import State
from asyncpay.wire.messages import Courier
from asyncpay.wire.onion import OnionMessage

JITTER = 0.25
"""An interval is shortened by up to this part of it."""


def rescheduled(ctx: Context, block: Block) -> Block:
    """The block, just come to its state, with its courier running or at rest."""
    if block.state is not State.HELD or block.courier is None:
        return replace(block, courier_next_at=None)
    return replace(block, courier_next_at=ctx.now + _interval_seconds(ctx, block, 0))


def run(ctx: Context) -> None:
    """Send the courier whose turn it is, if one is due. Without a node they wait for it."""
    if not ctx.node.attached:
        return
    couriers, blocks = ctx.state.schedule.couriers, ctx.records.blocks
    couriers.collect([blocks[key] for key in ctx.due(couriers.later, ctx.now)], ctx.now)
    key = couriers.next(ctx.now) if ctx.now >= _slot(ctx) else None
    if key is None:
        return
    block, next_hop = blocks[key], couriers.next_hop(blocks[key])
    sent = block.courier_sent + 1
    pause = _interval_seconds(ctx, block, sent)
    ctx.put(replace(block, courier_sent=sent, courier_next_at=ctx.now + pause))
    couriers.sent(next_hop, block.client, ctx.now)
    ctx.state.retransmit_free_at = ctx.now + ctx.policy.all_couriers_pace_seconds
    message = Courier.decode(block.courier or b"")
    ctx.emit(Relay(block.client, OnionMessage(message.path_key, message.onion), block.key, next_hop or None))


def sent(ctx: Context, event: CourierSent) -> None:
    """The node tells where a courier went, or would have gone if that node were connected."""
    block = ctx.records.blocks.get(event.block)
    if block is not None:
        ctx.state.schedule.couriers.learn_next_hop(block, event.next_hop)


def next_at(ctx: Context) -> float:
    """When `run` has something to do."""
    first = ctx.state.schedule.couriers.first(ctx.now) if ctx.node.attached else math.inf
    return max(first, _slot(ctx))


def _slot(ctx: Context) -> float:
    """When the next one may go. A clock that was set back does not make it wait for longer than the pace."""
    return min(ctx.state.retransmit_free_at, ctx.now + ctx.policy.all_couriers_pace_seconds)


def _interval_seconds(ctx: Context, block: Block, sent: int) -> float:
    """How long to wait after so many. Drawn from the block and the number: the same again after a crash."""
    policy = ctx.policy
    pause = backoff_seconds(policy.courier_first_seconds, policy.courier_most_seconds, sent)
    drawn = int.from_bytes(sha256(block.unblock_hash + sent.to_bytes(8, "big")).digest()[:4], "big") / 2**32
    return pause * (1 - JITTER * drawn)
