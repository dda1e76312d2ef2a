"""What a payer asks of its LSP: to block a payment, and to give up on it."""

from asyncpay.engine.lsp import blocks
from asyncpay.engine.lsp.effects import SendToClient
from asyncpay.engine.lsp.events import BlockRequested, CancelRequested
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.stages import FINISHED, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.wire import ecdh
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockReply, BlockState, BlockStatus, BlockUpdate


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request that is well-formed and yet not accepted."""

    def __init__(self, status: BlockStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def block(turn: Turn, event: BlockRequested) -> None:
    """A block_request. Nobody but a peer with a channel is answered; a repeated request is answered alike."""
    client, request = event.client, event.request
    if not turn.state.channels.has(client):
        turn.log("block_request ignored", because=f"{client.hex()} has no channel with this node")
        return
    try:
        if not _is_repeated(turn, event):
            _check(turn, event)
            _accept(turn, event)
    except _Refused as refusal:
        turn.log("block_request refused", because=f"{refusal.status.name} for {client.hex()}: {refusal.reason}")
        reply = BlockReply(unblock_hash=request.unblock_hash, status=refusal.status, reason=refusal.reason)
        turn.do(SendToClient(client, reply))
        return
    turn.do(SendToClient(client, BlockReply(unblock_hash=request.unblock_hash, status=BlockStatus.ACCEPTED)))
    blocks.tell(turn, request.unblock_hash)


def cancel(turn: Turn, event: CancelRequested) -> None:
    """A cancel_request: too late for a block on its way, and the answer then says so."""
    if not turn.state.channels.has(event.client):
        return
    unblock_hash = event.request.unblock_hash
    known = turn.tables.blocks.get(unblock_hash)
    if known is None or known.client != event.client:
        nothing_held = BlockUpdate(unblock_hash=unblock_hash, state=BlockState.FAILED_BACK, parts=0)
        turn.do(SendToClient(event.client, nothing_held))
    elif not blocks.advance(turn, unblock_hash, Trigger.CANCEL):
        blocks.tell(turn, unblock_hash)


def _is_repeated(turn: Turn, event: BlockRequested) -> bool:
    """Whether this very request was accepted before; refused if it only resembles one that was."""
    known = turn.tables.blocks.get(event.request.unblock_hash)
    if known is not None:
        if known.client == event.client and known.digest == event.request.digest:
            return True
        raise _Refused(BlockStatus.CONFLICT, "this unblock_hash names another block")
    for payment_hash in event.request.payment_hashes:
        if turn.tables.block_for(event.client, payment_hash) is not None:
            raise _Refused(BlockStatus.CONFLICT, f"payment {payment_hash.hex()} was blocked under another pid")
    return False


def _check(turn: Turn, event: BlockRequested) -> None:
    height = turn.state.height
    if height is None or not turn.state.attached:
        raise _Refused(BlockStatus.UNAVAILABLE, "the LSP's node is not available now")
    _check_values(turn, event, height)
    _check_invoice(turn, event)
    _check_limits(turn, event, height)


def _check_values(turn: Turn, event: BlockRequested, height: int) -> None:
    request = event.request
    bad = BlockStatus.BAD_VALUE
    if request.amount_msat == 0:
        raise _Refused(bad, "amount_msat is 0")
    if len(set(request.payment_hashes)) != len(request.payment_hashes):
        raise _Refused(bad, "a payment hash stands there twice")
    if request.release_by_height < height:
        raise _Refused(bad, f"release_by_height {request.release_by_height} is past, the chain is at {height}")
    if turn.state.unix.surely_past(request.hold_until):
        raise _Refused(bad, "hold_until is past")
    if request.courier is not None:
        try:
            ecdh.parse_point(request.courier.path_key)
        except WireError as error:
            raise _Refused(bad, "the courier's path_key is no point of the curve") from error


def _check_invoice(turn: Turn, event: BlockRequested) -> None:
    request, invoice = event.request, event.invoice
    bad = BlockStatus.BAD_VALUE
    if request.invoice is None:
        return
    if len(request.payment_hashes) != 1:
        raise _Refused(bad, "an invoice beside several payment hashes")
    if invoice is None:
        raise _Refused(bad, "the invoice cannot be read")
    if invoice.payment_hash != request.payment_hashes[0]:
        raise _Refused(bad, "the invoice has another payment hash")
    if invoice.amount_msat != request.amount_msat:
        raise _Refused(bad, "the invoice has another amount")
    if invoice.network != turn.state.network:
        raise _Refused(bad, f"the invoice is for {invoice.network}, this LSP is on {turn.state.network}")
    if invoice.has_blinded_paths:
        raise _Refused(bad, "the invoice has blinded paths, whose CLTV and fees this LSP cannot limit")
    if turn.state.unix.surely_past(invoice.expires_at - 1):
        raise _Refused(bad, "the invoice has expired")


def _check_limits(turn: Turn, event: BlockRequested, height: int) -> None:
    request, policy = event.request, turn.policy
    _check_room(turn, _block(event))
    theirs = list(turn.tables.blocks_of(event.client))
    in_force = sum(known.stage not in FINISHED for known in theirs)
    if in_force >= policy.max_holds or len(theirs) >= policy.max_blocks:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, f"{in_force} blocks in force, {len(theirs)} remembered")
    if request.amount_msat > policy.max_amount_msat:
        raise _Refused(BlockStatus.AMOUNT_TOO_LARGE, f"{policy.max_amount_msat} msat at most")
    if request.hold_until - turn.state.unix.latest > policy.max_hold_seconds:
        raise _Refused(BlockStatus.HOLD_TOO_LONG, f"{policy.max_hold_seconds} seconds at most")
    if request.release_by_height - height > policy.max_hold_blocks:
        raise _Refused(BlockStatus.HOLD_TOO_LONG, f"{policy.max_hold_blocks} blocks at most")


def _check_room(turn: Turn, asked: Block) -> None:
    """Whether there is room for one more block: of the client's own, and beyond an assured part of everybody's."""
    policy, tables = turn.policy, turn.tables
    theirs = tables.block_bytes(asked.client) + asked.size_bytes
    everybodys = tables.block_bytes() + asked.size_bytes
    if theirs > policy.max_block_bytes:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, f"blocks of {policy.max_block_bytes} bytes at most")
    if everybodys > policy.max_all_block_bytes and theirs > policy.assured_block_bytes:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, "the LSP has too many blocks of others")


def _block(event: BlockRequested) -> Block:
    """What is asked for, as it is stored."""
    request = event.request
    return Block(
        unblock_hash=request.unblock_hash,
        client=event.client,
        digest=request.digest,
        payment_hashes=request.payment_hashes,
        amount_msat=request.amount_msat,
        release_by_height=request.release_by_height,
        hold_until=request.hold_until,
        invoice=request.invoice,
        invoice_expires_at=None if event.invoice is None else event.invoice.expires_at,
        courier=None if request.courier is None else request.courier.encode(),
    )


def _accept(turn: Turn, event: BlockRequested) -> None:
    accepted = _block(event)
    turn.put(accepted)
    turn.log("accepted", accepted, because="block_request")
