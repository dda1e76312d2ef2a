"""Releases and refusals of blocks by a pid, and the release of blocks that are due."""

from collections.abc import Iterable

from asyncpay.engine.lsp import blocks, conditions, notifications, on_behalf
from asyncpay.engine.lsp.interface import RefusalSeen, ReleaseSeen, SendAlong
from asyncpay.engine.lsp.records import Block, Htlc, Method
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import PROPERTIES, State, Trigger
from asyncpay.log_events import LogEvent
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import ReleaseReply, ReleaseStatus, unblock_hash


def release_seen(ctx: Context, event: ReleaseSeen) -> bool:
    """Handle a release, the first one or a repetition. Return False if its pid belongs to no block."""
    name = unblock_hash(event.pid)
    if name in ctx.records.blocks and blocks.advance(ctx, name, Trigger.RELEASE):
        review(ctx, name)
    _reply(ctx, name, event.reply_path)
    return ctx.records.block(name) is not None


def refusal_seen(ctx: Context, event: RefusalSeen) -> None:
    """Handle a refusal of the payee: fail the parts back, unless they are already released."""
    name = unblock_hash(event.pid)
    block = ctx.records.block(name)
    if block is not None:
        ctx.log(LogEvent.PAYEE_REFUSES, block, because=event.reason or "no reason given")
    if name in ctx.records.blocks:
        blocks.advance(ctx, name, Trigger.REFUSAL)
    _reply(ctx, name, event.reply_path)


def review(ctx: Context, name: bytes) -> None:
    """Release a due block if its channels are usable; else pay on behalf, or notify the clients that are offline."""
    blocks.end_if_over(ctx, name)
    block = ctx.records.blocks[name]
    if block.state is State.DUE:
        if all(_ready(ctx, part) for part in ctx.records.parts(block)):
            blocks.advance(ctx, name, Trigger.LINKS_USABLE)
        else:
            on_behalf.start(ctx, block)
    _notify_missing(ctx, ctx.records.blocks[name])


def review_due(ctx: Context, names: Iterable[bytes]) -> None:
    """Review the blocks among these that are due, after a change of channels or the end of a payment on behalf."""
    for name in dict.fromkeys(names):
        block = ctx.records.blocks.get(name)
        if block is not None and block.state is State.DUE:
            review(ctx, name)


def _notify_missing(ctx: Context, block: Block) -> None:
    parts = conditions.stuck_parts(ctx, block)
    if conditions.payer_missing(ctx, parts):
        notifications.remind(ctx, block.client, Method.SETTLEMENT_PENDING)
    for part in parts:
        if not conditions.outgoing_usable(ctx, part.htlc):
            notifications.remind(ctx, conditions.next_peer(ctx, part.htlc), Method.PAYMENT_INCOMING)


def _ready(ctx: Context, part: Htlc) -> bool:
    return part.key in ctx.state.intercepted and conditions.can_forward(ctx, part.htlc)


def _reply(ctx: Context, name: bytes, path: BlindedPath | None) -> None:
    if path is not None:
        block = ctx.records.block(name)
        status = ReleaseStatus.UNKNOWN if block is None else PROPERTIES[block.state].release
        client = None if block is None else block.client
        ctx.emit(SendAlong(path, ReleaseReply(unblock_hash=name, status=status), client))
