"""Retransmit a payer's message to its payee (the "courier"), while the payer is offline.

This is done while a block is HELD. The payer sends the first copy; a half-open connection, or a node that
limits its rate, loses messages silently.

For example, CLN accepts 4 messages a second from one peer. With couriers in step the same ones would be lost every
time, so each interval is shortened by its own fraction, and no two are sent to the same next hop within
`courier_pace_seconds`. Only the node knows an onion's next hop: it reports it when the courier is sent for the first
time (not every node does). Until then all couriers with an unknown next hop share one pace. Next hops take turns, and
so do the clients of each next hop.
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
"""An interval is shortened by up to this fraction."""


def rescheduled(ctx: Context, block: Block) -> Block:
    """Return the block, whose state has just changed, with its courier scheduled or not scheduled."""
    if block.state is not State.HELD or block.courier is None:
        return replace(block, courier_next_at=None)
    return replace(block, courier_next_at=ctx.now + _interval_seconds(ctx, block, 0))


def run(ctx: Context) -> None:
    """Send the next courier if one is due. While the node is not attached they wait."""
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
    """Record the next hop of a courier, as the node reports it, whether or not the next hop is connected."""
    block = ctx.records.blocks.get(event.block)
    if block is not None:
        ctx.state.schedule.couriers.learn_next_hop(block, event.next_hop)


def next_at(ctx: Context) -> float:
    """Return the time at which `run` has work to do."""
    first = ctx.state.schedule.couriers.first(ctx.now) if ctx.node.attached else math.inf
    return max(first, _slot(ctx))


def _slot(ctx: Context) -> float:
    """Return when the next courier may be sent. After a clock was set back it waits no longer than the pace."""
    return min(ctx.state.retransmit_free_at, ctx.now + ctx.policy.all_couriers_pace_seconds)


def _interval_seconds(ctx: Context, block: Block, sent: int) -> float:
    """Return the pause after `sent` couriers. It is derived from the block and the number: the same after a crash."""
    policy = ctx.policy
    pause = backoff_seconds(policy.courier_first_seconds, policy.courier_most_seconds, sent)
    drawn = int.from_bytes(sha256(block.unblock_hash + sent.to_bytes(8, "big")).digest()[:4], "big") / 2**32
    return pause * (1 - JITTER * drawn)
