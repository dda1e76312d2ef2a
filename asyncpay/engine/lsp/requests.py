"""The requests of payers and payees: reading their onion messages, block requests, and cancel requests."""

from typing import TypeAlias

from asyncpay.engine.lsp import archiving, blocks, sessions
from asyncpay.engine.lsp.interface import BlockRequested, CancelRequested, RefusalSeen, ReleaseSeen
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.state import Context
from asyncpay.engine.lsp.states import Trigger
from asyncpay.lightning import NodeId
from asyncpay.log_events import LogEvent
from asyncpay.node_events import OnionReceived
from asyncpay.wire import ecdh, messages, signature
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import (
    BlockReply,
    BlockRequest,
    BlockState,
    BlockStatus,
    BlockUpdate,
    CancelRequest,
    PaymentRefused,
    PaymentRelease,
)

Inbound: TypeAlias = BlockRequested | CancelRequested | ReleaseSeen | RefusalSeen


PID_BYTES = 32


def parse_onion(onion: OnionReceived, node_id: NodeId) -> Inbound | None:
    """Return the event for a message to the LSP with this node id; None if the message is no request.

    WireError: drop and count the message. It is malformed, its signature is invalid, or its copies of the pid differ.
    The caller must fill in the invoice of a BlockRequested: only the node can decode it.
    """
    if onion.async_payment is None:
        return _bare_release(onion)
    message = messages.decode(onion.async_payment)
    match message:
        case BlockRequest():
            return BlockRequested(_signer(message, node_id), message)
        case CancelRequest():
            return CancelRequested(_signer(message, node_id), message)
        case PaymentRelease():
            _check_pid(onion, message.pid)
            return ReleaseSeen(message.pid, onion.reply_path)
        case PaymentRefused():
            _check_pid(onion, message.pid)
            return RefusalSeen(message.pid, message.reason, onion.reply_path)
    return None


def _signer(request: BlockRequest | CancelRequest, node_id: NodeId) -> NodeId:
    return signature.recover(request.signed_text(node_id), request.signature)


def _bare_release(onion: OnionReceived) -> ReleaseSeen | None:
    """Return the release for a message without content whose path contains the pid: the form of the original sketch."""
    pids = _pids_of_path(onion)
    if not pids:
        return None
    _check_pid(onion, pids[0])
    return ReleaseSeen(pids[0])


def _check_pid(onion: OnionReceived, pid: bytes) -> None:
    if any(other != pid for other in _pids_of_path(onion)):
        raise WireError("the copies of the pid in the release or refusal differ")


def _pids_of_path(onion: OnionReceived) -> list[bytes]:
    places = (onion.payment_unblock, onion.path_id)
    return [place for place in places if place is not None and len(place) == PID_BYTES]


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A request is well-formed but not accepted."""

    def __init__(self, status: BlockStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


# --- payers ---


def block_requested(ctx: Context, event: BlockRequested) -> None:
    """Handle a block_request. Only a peer with a channel is answered; a repeated request gets the same answer."""
    client, request = event.client, event.request
    if not ctx.node.channels.has(client):
        ctx.log(LogEvent.REQUEST_IGNORED, because=f"{client.hex()} has no channel with this node")
        return
    try:
        if not _is_repeated(ctx, event):
            _check(ctx, event)
            _accept(ctx, event)
    except _Refused as refusal:
        ctx.log(LogEvent.REQUEST_REFUSED, because=f"{refusal.status.name} for {client.hex()}: {refusal.reason}")
        reply = BlockReply(unblock_hash=request.unblock_hash, status=refusal.status, reason=refusal.reason)
        sessions.answer(ctx, client, reply)
        return
    sessions.answer(ctx, client, BlockReply(unblock_hash=request.unblock_hash, status=BlockStatus.ACCEPTED))
    blocks.send_update(ctx, request.unblock_hash)


def refuse_unreadable(ctx: Context, event: BlockRequested) -> None:
    """Refuse a block_request that concerns a payment whose record in the archive cannot be read."""
    if ctx.node.channels.has(event.client):
        unblock_hash, reason = event.request.unblock_hash, "the LSP cannot read its record of this payment"
        reply = BlockReply(unblock_hash=unblock_hash, status=BlockStatus.UNAVAILABLE, reason=reason)
        sessions.answer(ctx, event.client, reply)


def cancel_requested(ctx: Context, event: CancelRequested) -> None:
    """Handle a cancel_request. For a released block it is too late, and the answer says so."""
    if not ctx.node.channels.has(event.client):
        return
    unblock_hash = event.request.unblock_hash
    known = ctx.records.block(unblock_hash)
    if known is None or known.client != event.client:
        nothing_held = BlockUpdate(unblock_hash=unblock_hash, state=BlockState.FAILED_BACK, parts=0)
        sessions.answer(ctx, event.client, nothing_held)
    elif unblock_hash not in ctx.records.blocks or not blocks.advance(ctx, unblock_hash, Trigger.CANCEL):
        blocks.send_update(ctx, unblock_hash)


def _is_repeated(ctx: Context, event: BlockRequested) -> bool:
    """Return whether this same request was accepted before; raise _Refused if it conflicts with an accepted one."""
    known = ctx.records.block(event.request.unblock_hash)
    if known is not None:
        if known.client == event.client and known.digest == event.request.digest:
            return True
        raise _Refused(BlockStatus.CONFLICT, "this unblock_hash names another block")
    for payment_hash in event.request.payment_hashes:
        if ctx.records.block_for(event.client, payment_hash) is not None:
            raise _Refused(BlockStatus.CONFLICT, f"payment {payment_hash.hex()} was blocked under another pid")
    return False


def _check(ctx: Context, event: BlockRequested) -> None:
    height = ctx.node.height
    if height is None or not ctx.node.attached:
        raise _Refused(BlockStatus.UNAVAILABLE, "the LSP's node is not available now")
    _check_values(ctx, event, height)
    _check_invoice(ctx, event)
    _check_limits(ctx, event, height)


def _check_values(ctx: Context, event: BlockRequested, height: int) -> None:
    request = event.request
    bad = BlockStatus.BAD_VALUE
    if request.amount_msat == 0:
        raise _Refused(bad, "amount_msat is 0")
    if len(set(request.payment_hashes)) != len(request.payment_hashes):
        raise _Refused(bad, "duplicate payment_hash")
    if request.release_by_height < height:
        raise _Refused(bad, f"release_by_height {request.release_by_height} has passed, the chain is at {height}")
    if ctx.state.unix.surely_past(request.hold_until):
        raise _Refused(bad, "hold_until has passed")
    if request.courier is not None:
        try:
            ecdh.parse_point(request.courier.path_key)
        except WireError as error:
            raise _Refused(bad, "courier.path_key is not a valid secp256k1 point") from error


def _check_invoice(ctx: Context, event: BlockRequested) -> None:
    request, invoice = event.request, event.invoice
    bad = BlockStatus.BAD_VALUE
    if request.invoice is None:
        return
    if len(request.payment_hashes) != 1:
        raise _Refused(bad, "an invoice together with several payment hashes")
    if invoice is None:
        raise _Refused(bad, "the invoice cannot be decoded")
    if invoice.payment_hash != request.payment_hashes[0]:
        raise _Refused(bad, "the invoice has another payment hash")
    if invoice.amount_msat != request.amount_msat:
        raise _Refused(bad, "the invoice has another amount")
    if invoice.network != ctx.node.network:
        raise _Refused(bad, f"the invoice is for {invoice.network}, this LSP is on {ctx.node.network}")
    if invoice.has_blinded_paths:
        raise _Refused(bad, "the invoice has blinded paths, whose CLTV and fees this LSP cannot limit")
    if ctx.state.unix.surely_past(invoice.expires_at - 1):
        raise _Refused(bad, "the invoice has expired")


def _check_limits(ctx: Context, event: BlockRequested, height: int) -> None:
    request, policy = event.request, ctx.policy
    _check_room(ctx, _block(event))
    in_force, remembered = ctx.records.in_force(event.client), ctx.records.number_of_blocks(event.client)
    if in_force >= policy.max_holds or remembered >= policy.max_blocks:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, f"{in_force} blocks in force, {remembered} remembered")
    if request.amount_msat > policy.max_amount_msat:
        raise _Refused(BlockStatus.AMOUNT_TOO_LARGE, f"{policy.max_amount_msat} msat at most")
    if request.hold_until - ctx.state.unix.likely > policy.max_hold_seconds:
        raise _Refused(BlockStatus.HOLD_TOO_LONG, f"{policy.max_hold_seconds} seconds at most")
    if request.release_by_height - height > policy.max_hold_blocks:
        raise _Refused(BlockStatus.HOLD_TOO_LONG, f"{policy.max_hold_blocks} blocks at most")


def _check_room(ctx: Context, asked: Block) -> None:
    """Raise _Refused if there is no space for the block: in the client's share, or, beyond its assured part, in all."""
    policy, tables = ctx.policy, ctx.records
    client_bytes = tables.block_bytes(asked.client) + asked.size_bytes
    all_bytes = tables.block_bytes() + asked.size_bytes
    if client_bytes > policy.max_block_bytes:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, f"blocks of {policy.max_block_bytes} bytes at most")
    if all_bytes > policy.max_all_block_bytes and client_bytes > policy.assured_block_bytes:
        raise _Refused(BlockStatus.TOO_MANY_HOLDS, "the LSP has too many blocks of others")


def _block(event: BlockRequested) -> Block:
    """Return the record of the requested block."""
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


def _accept(ctx: Context, event: BlockRequested) -> None:
    accepted = _block(event)
    ctx.put(accepted)
    archiving.keep_attempts(ctx, accepted)
    ctx.log(LogEvent.ACCEPTED, accepted, because="block_request")
