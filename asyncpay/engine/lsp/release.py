"""The pid comes by, or the payee refuses; and the release of what is due."""

from asyncpay.engine.lsp import blocks, links, on_behalf, waking
from asyncpay.engine.lsp.effects import SendAlong
from asyncpay.engine.lsp.events import RefusalSeen, ReleaseSeen
from asyncpay.engine.lsp.records import Block, Htlc, Method
from asyncpay.engine.lsp.stages import FACTS, Stage, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.messages import ReleaseReply, ReleaseStatus, unblock_hash


def seen(turn: Turn, event: ReleaseSeen) -> bool:
    """Somebody shows a pid, for the first or the hundredth time. False if it names no block."""
    name = unblock_hash(event.pid)
    known = name in turn.tables.blocks
    if known and blocks.advance(turn, name, Trigger.RELEASE):
        review(turn, name)
    _reply(turn, name, event.reply_path)
    return known


def refused(turn: Turn, event: RefusalSeen) -> None:
    """The payee will not release: the parts go back, unless they are already on their way."""
    name = unblock_hash(event.pid)
    if name in turn.tables.blocks:
        turn.log("payee refuses", turn.tables.blocks[name], because=event.reason or "no reason given")
        blocks.advance(turn, name, Trigger.REFUSAL)
    _reply(turn, name, event.reply_path)


def review(turn: Turn, name: bytes) -> None:
    """Release a due block if its channels are there; else pay on behalf, or call whoever is missing."""
    blocks.end_if_over(turn, name)
    block = turn.tables.blocks[name]
    if block.stage is Stage.DUE:
        if all(_ready(turn, part) for part in turn.tables.parts(block)):
            blocks.advance(turn, name, Trigger.LINKS_USABLE)
        else:
            on_behalf.start(turn, block)
    _call_the_missing(turn, turn.tables.blocks[name])


def review_all(turn: Turn) -> None:
    """Channels have changed, or the node is back."""
    for block in list(turn.tables.blocks.values()):
        if block.stage is Stage.DUE:
            review(turn, block.key)


def _call_the_missing(turn: Turn, block: Block) -> None:
    parts = links.stuck_parts(turn, block)
    if links.payer_missing(turn, parts):
        waking.remind(turn, block.client, Method.SETTLEMENT_PENDING)
    for part in parts:
        if not links.way_on(turn, part.htlc):
            waking.remind(turn, links.next_peer(turn, part.htlc), Method.PAYMENT_INCOMING)


def _ready(turn: Turn, part: Htlc) -> bool:
    return part.key in turn.state.on_offer and links.can_forward(turn, part.htlc)


def _reply(turn: Turn, name: bytes, path: BlindedPath | None) -> None:
    if path is not None:
        block = turn.tables.blocks.get(name)
        status = ReleaseStatus.UNKNOWN if block is None else FACTS[block.stage].release
        client = None if block is None else block.client
        turn.do(SendAlong(path, ReleaseReply(unblock_hash=name, status=status), client))
