"""Archive finished blocks that nothing waits for, and recall them for the events that concern them.

A block is archived when its payer was informed of its end and all of its parts have left their channels. Then it
costs no memory and no time at the start. It is still needed to answer repeated requests, to refuse its payment hashes,
and to resolve an HTLC that is offered again: `wanted` names it before such an event is handled, and it is recalled.

A newly archived block is in memory until that decision is stored, so a later event of the same transaction
finds it. A recalled block stays archived unless one of its records changes; then it is taken back first. A message
about a block needs only its outline, which is not added to the records, and is forgotten after the event.
"""

from dataclasses import replace
from itertools import islice

from asyncpay.engine.core import Drop, Put
from asyncpay.engine.lsp.archive import ArchivedBlock, Due, Found, Lookup, NamedBy, Unreadable
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    LspEvent,
    PaymentReported,
    RefusalSeen,
    ReleaseSeen,
)
from asyncpay.engine.lsp.records import Archived, AttemptState, Block, Postponed, Record
from asyncpay.engine.lsp.state import Context, LspState
from asyncpay.engine.lsp.states import FINISHED, PROPERTIES
from asyncpay.lightning import HtlcKey, NodeId
from asyncpay.log_events import LogEvent
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    OnionInTransit,
)
from asyncpay.wire.messages import BlockUpdate, unblock_hash

MOST_AT_ONCE = 50
"""The maximum number of blocks that one event archives. Many may be ready after common deadlines, or an upgrade."""
UNREADABLE_AGAIN_SECONDS = 86_400
"""The pause until a block that cannot be read is due to be deleted again."""
LOOK_AGAIN_SECONDS = 600.0
"""The pause until a finished block that something in memory still refers to is checked again."""


# --- before an event ---


def wanted(state: LspState, now: float, event: LspEvent, most: int, *, ticks: bool) -> Lookup | None:
    """Return a look-up of the archived blocks that the decision on this event may need. ticks: due work is done too."""
    if not state.records.archive.total:
        return None
    lookup = _concerned(state, event) or Lookup()
    if ticks or isinstance(event, (Attached, BlockConnected)):
        lookup = replace(lookup, due=_due(state, now, event, most))
    return None if lookup == Lookup() else lookup


def _concerned(state: LspState, event: LspEvent) -> Lookup | None:
    records = state.records
    match event:
        case HtlcOffered(htlc) if htlc.key not in records.htlcs and htlc.peer in records.archive.blocks_of:
            return Lookup(htlcs=(htlc.key,), payments=_payments(state, htlc.peer, htlc.payment_hash))
        case HtlcSettled() | HtlcFailed() | HtlcGone():
            return _of_htlc(state, event.key)
        case OnionInTransit(payment_unblock=bytes() as pid) | ReleaseSeen(pid) | RefusalSeen(pid):
            return Lookup(_unknown(state, unblock_hash(pid)))
        case CancelRequested(client, request) if client in records.archive.blocks_of:
            return Lookup(_unknown(state, request.unblock_hash))
        case BlockRequested(client, request):
            hashes = request.payment_hashes
            attempts = hashes if request.invoice is not None else ()
            lookup = Lookup(_unknown(state, request.unblock_hash), _payments(state, client, *hashes))
            if records.archive.taken_back:  # a block that is found may be one of these: then the request is new
                return replace(lookup, attempts=attempts)
            return replace(lookup, attempts_if_new=attempts)
        case PaymentReported(payment_hash) if payment_hash not in records.attempts:
            return Lookup(attempts=(payment_hash,))
    return None


def _of_htlc(state: LspState, key: HtlcKey) -> Lookup | None:
    return None if key in state.records.htlcs else Lookup(htlcs=(key,))


def _unknown(state: LspState, name: bytes) -> tuple[bytes, ...]:
    return () if name in state.records.blocks else (name,)


def _payments(state: LspState, client: NodeId, *payment_hashes: bytes) -> tuple[tuple[NodeId, bytes], ...]:
    records = state.records
    if client not in records.archive.blocks_of:
        return ()
    return tuple((client, each) for each in payment_hashes if records.block_for(client, each) is None)


def _due(state: LspState, now: float, event: LspEvent, most: int) -> Due | None:
    """Return a look-up of the blocks that may be deleted at the time and the height of this event."""
    unix, archive = replace(state.unix), state.records.archive
    unix.advance(now, event)
    height = event.height if isinstance(event, (Attached, BlockConnected)) else state.node.height
    if height is None:
        return None
    over = archive.first_forget_after <= unix.last_past_second or archive.first_forget_at_height <= height
    return Due(unix.last_past_second, height, most) if over else None


def recall(state: LspState, found: Found) -> None:
    """Add the archived blocks that the look-up found."""
    archive = state.records.archive
    if found.first_forget_after is not None and found.first_forget_at_height is not None:
        archive.first_forget_after = found.first_forget_after
        archive.first_forget_at_height = found.first_forget_at_height
    for each in found.blocks:
        if _is_away(state, each.block.key):
            _load(state, each)
    archive.outlines = {each.block.key: each for each in found.outlines if _is_away(state, each.block.key)}
    archive.unreadable = tuple(each for each in found.unreadable if _is_away(state, each.unblock_hash))


def _is_away(state: LspState, name: bytes) -> bool:
    return name not in state.records.blocks and name not in state.records.archive.taken_back


def _load(state: LspState, found: ArchivedBlock) -> None:
    records, schedule, entry = state.records, state.schedule, found.entry
    records.count_archived(found.block, -1)
    for record in found.records:
        records.apply(Put(record))
        schedule.put(record)
    schedule.keep_until(entry.unblock_hash, entry.forget_after, entry.forget_at_height)
    records.archive.loaded[entry.unblock_hash] = entry
    records.archive.candidates[entry.unblock_hash] = None


def unreadable(ctx: Context) -> list[Unreadable]:
    """Log the archived blocks that were looked up and cannot be read; return those that the event itself concerns.

    One that is only due to be deleted is due again later: it must not keep others from being deleted.
    """
    archive, concerned = ctx.records.archive, []
    for each in archive.unreadable:
        ctx.log(LogEvent.ARCHIVED_BLOCK_UNREADABLE, because=f"{each.unblock_hash.hex()}: {each.reason}")
        if each.named_by is not NamedBy.DUE:
            concerned.append(each)
            continue
        later = ctx.state.unix.last_past_second + UNREADABLE_AGAIN_SECONDS
        ctx.changes.append(Put(Postponed(each.unblock_hash, later)))
        archive.first_forget_after = min(archive.first_forget_after, later)
    return concerned


# --- after an event ---


def run(ctx: Context) -> None:
    """Archive some of the finished blocks, but not before the node is attached: it may have renamed channels."""
    archive = ctx.records.archive
    archive.outlines, archive.unreadable = {}, ()
    if not ctx.node.attached:
        return
    for name in archive.look_again_at.due(ctx.now, MOST_AT_ONCE):
        archive.look_again_at.discard(name)
        archive.candidates[name] = None
    for name in list(islice(archive.candidates, MOST_AT_ONCE)):
        del archive.candidates[name]
        block = ctx.records.blocks.get(name)
        if block is not None and name not in archive.unarchivable and _is_settled(ctx, block):
            _archive(ctx, block)


def keep_attempts(ctx: Context, block: Block) -> None:
    """Keep attempts in memory as long as a block of the same hash is open: no hash is paid twice on behalf."""
    for payment_hash in block.payment_hashes if block.invoice is not None else ():
        attempt = ctx.records.attempts.get(payment_hash)
        if attempt is not None:
            ctx.take_back(attempt.block)


def committed(state: LspState) -> None:
    """Remove archived blocks from memory, now that they are stored, unless something in memory refers to them."""
    archive = state.records.archive
    for name in archive.to_unload:
        entry, block = archive.loaded.get(name), state.records.blocks.get(name)
        if entry is None or block is None:
            continue
        if _is_referred_to(state, block):
            archive.look_again_at.set(name, state.unix.now + LOOK_AGAIN_SECONDS)
        else:
            _unload(state, block, entry)
    archive.to_unload.clear()
    archive.taken_back.clear()


def _is_settled(ctx: Context, block: Block) -> bool:
    """Return whether nothing waits for the block any more. A later event on it triggers another check."""
    records = ctx.records
    if block.state not in FINISHED or block.told is not PROPERTIES[block.state].update:
        return False
    attempts = records.attempts_of(block)
    if any(attempt.state is AttemptState.IN_FLIGHT for attempt in attempts):
        return False
    if any(records.may_be_paid_on_behalf(attempt.payment_hash) for attempt in attempts):
        records.archive.look_again_at.set(block.key, ctx.now + LOOK_AGAIN_SECONDS)
        return False
    return all(part.gone for part in records.parts(block))


def _is_referred_to(state: LspState, block: Block) -> bool:
    """Return whether the node asks for a part's preimage on chain, or an update for the payer is to be sent."""
    session = state.sessions.get(block.client)
    if session is not None and (block.key, BlockUpdate) in session.answers:
        return True
    return any(part.key in state.intercepted for part in state.records.parts(block))


def _archive(ctx: Context, block: Block) -> None:
    archive, name = ctx.records.archive, block.key
    if name not in archive.loaded and _is_referred_to(ctx.state, block):
        archive.look_again_at.set(name, ctx.now + LOOK_AGAIN_SECONDS)
        return
    entry = _entry(ctx, block)
    if archive.loaded.get(name) != entry:
        if block.courier is not None or block.invoice is not None:
            ctx.put(replace(block, courier=None, invoice=None))  # a finished block needs neither of them
            ctx.state.schedule.keep_until(name, entry.forget_after, entry.forget_at_height)
            del archive.candidates[name]
        ctx.changes.append(Put(entry))
        archive.loaded[name] = entry
        archive.note(entry)
    archive.to_unload[name] = None


def _entry(ctx: Context, block: Block) -> Archived:
    schedule, parts = ctx.state.schedule, ctx.records.parts(block)
    times = [part.offered_at for part in parts]
    if block.first_part_at is not None:
        times.append(block.first_part_at)
    forget_after, forget_at_height = schedule.kept_until(block.key)
    return Archived(
        unblock_hash=block.key,
        client=block.client,
        payment_hashes=block.payment_hashes,
        forget_after=forget_after,
        forget_at_height=forget_at_height,
        latest_at=max(times, default=None),
    )


def _unload(state: LspState, block: Block, entry: Archived) -> None:
    records, parts = state.records, state.records.parts(block)
    for part in parts:
        state.forget_htlc(part.key)
    group: list[Record] = [*parts, *records.attempts_of(block), block]
    for record in group:
        records.apply(Drop(record))
        state.schedule.drop(record)
    records.count_archived(block, 1)
    records.archive.note(entry)
    del records.archive.loaded[block.key]
    records.archive.look_again_at.discard(block.key)
    state.own.forget(block.key)
