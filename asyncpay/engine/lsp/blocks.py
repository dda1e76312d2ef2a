"""Move a block through its states, with the consequences for its parts and its payer.

The resolution of an HTLC is decided once, stored, and sent as often as the node asks.
"""

from collections.abc import Iterable
from dataclasses import replace

from asyncpay.engine.lsp import conditions, notifications, retransmit, sessions
from asyncpay.engine.lsp.interface import ResolveHtlc, UpdateSent
from asyncpay.engine.lsp.records import Htlc, Method
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import FINISHED, PROPERTIES, TRANSITIONS, Trigger
from asyncpay.lightning import HtlcKey, Resolution
from asyncpay.log_events import LogEvent


def advance(ctx: Context, unblock_hash: bytes, trigger: Trigger) -> bool:
    """Apply `trigger` to a block. Return False if the block's state ignores it (see states.py)."""
    block = ctx.records.blocks[unblock_hash]
    to = TRANSITIONS[block.state].get(trigger)
    if to is None:
        return False
    ctx.put(retransmit.rescheduled(ctx, replace(block, state=to.state)))
    ctx.log(LogEvent(to.state.value), block, because=trigger.value)
    if to.resolution is not None:
        for part in ctx.records.parts(block):
            resolve_htlc(ctx, part, to.resolution)
    if PROPERTIES[to.state].update is not PROPERTIES[block.state].update:
        _send_news(ctx, unblock_hash)
    return True


def end_if_over(ctx: Context, unblock_hash: bytes) -> bool:
    """Fail a block back if it has passed a deadline or lost a part, and its state still permits that."""
    block = ctx.records.blocks[unblock_hash]
    lost = any(part.gone for part in ctx.records.parts(block))
    trigger = Trigger.PART_LOST if lost else conditions.over(ctx, block)
    return trigger is not None and advance(ctx, unblock_hash, trigger)


def forget_if_over(ctx: Context, unblock_hash: bytes) -> None:
    """Delete a finished block that need not be remembered any longer."""
    block, schedule = ctx.records.blocks[unblock_hash], ctx.state.schedule
    if conditions.forgettable(ctx, block):
        for part in ctx.records.parts(block):
            ctx.drop(part)
            ctx.state.forget_htlc(part.key)
        ctx.state.own.forget(unblock_hash)
        for payment_hash in block.payment_hashes:
            attempt = ctx.records.attempts.get(payment_hash)
            if attempt is not None and attempt.block == unblock_hash:
                ctx.drop(attempt)  # not needed any more: the node remembers that it paid (on_behalf.terms_reported)
        ctx.drop(block)
    elif ctx.state.unix.surely_past(block.hold_until):
        schedule.forget_after.discard(unblock_hash)
        schedule.forget_at_height.set(unblock_hash, conditions.forget_at_height(ctx, block))
        ctx.records.archive.candidates[unblock_hash] = None
    else:
        schedule.forget_after.set(unblock_hash, block.hold_until)
        schedule.forget_at_height.discard(unblock_hash)
        ctx.records.archive.candidates[unblock_hash] = None


# --- its parts ---


def resolve_htlc(ctx: Context, held: Htlc, resolution: Resolution) -> None:
    """Store the resolution of an HTLC that has none, and send it if the node waits for it."""
    assert held.resolution is None, f"HTLC {held.key} is already resolved"
    ctx.put(replace(held, resolution=resolution))
    ctx.state.unsent.add(held.key)
    send_resolution(ctx, ctx.records.htlcs[held.key])


def send_resolution(ctx: Context, decided: Htlc) -> None:
    """Send the resolution if the node waits for this HTLC and can carry it out. On chain only a preimage counts."""
    if decided.key not in ctx.state.intercepted or decided.resolution is None:
        return
    ctx.state.stuck.discard(decided.key)
    if decided.gone and decided.resolution is not Resolution.SETTLE:
        ctx.state.intercepted.discard(decided.key)
        return
    if decided.block is not None and not _may_send(ctx, decided):
        block = ctx.records.blocks[decided.block]
        ctx.state.stuck.add(decided, ctx.state.schedule.over_at_height(block), block.hold_until)
        return
    ctx.state.intercepted.discard(decided.key)
    ctx.state.resolution_sent(decided.key)
    ctx.state.changed_since_snapshot.add(decided.key)
    ctx.emit(ResolveHtlc(decided.key, decided.resolution, decided.preimage))


def send_stuck(ctx: Context, keys: Iterable[HtlcKey]) -> None:
    """Try again to send resolutions that could not be sent: channels, height or time have changed."""
    for key in keys:
        send_resolution(ctx, ctx.records.htlcs[key])


def _may_send(ctx: Context, decided: Htlc) -> bool:
    """Return whether a resolution may be sent now. A released part that is offered again waits for its channels again.

    Resuming it without them would fail it while its siblings succeed. It never waits beyond the block's
    deadlines: it may already be forwarded, so after them the node must get the resolution.
    """
    if decided.resolution is not Resolution.RESUME or decided.block is None:
        return True
    block = ctx.records.blocks[decided.block]
    return conditions.can_forward(ctx, decided.htlc) or conditions.over(ctx, block) is not None


# --- its payer ---


def send_update(ctx: Context, unblock_hash: bytes) -> None:
    """Send the payer the current state of its block, if that state has an update and the payer is connected."""
    block = ctx.records.block(unblock_hash)
    if block is not None:
        sessions.update(ctx, block)


def update_sent(ctx: Context, event: UpdateSent) -> None:
    """Record that an update was sent. If it reported the end of the block, the payer needs no further update."""
    block = ctx.records.blocks.get(event.unblock_hash)
    if block is not None and block.state in FINISHED and event.state is PROPERTIES[block.state].update:
        ctx.put(replace(block, told=event.state))


def _send_news(ctx: Context, unblock_hash: bytes) -> None:
    """Notify an offline payer when a result waits for it on its channel."""
    send_update(ctx, unblock_hash)
    block = ctx.records.blocks[unblock_hash]
    if block.state in FINISHED:
        notifications.notify(ctx, block.client, Method.SETTLEMENT_PENDING)
