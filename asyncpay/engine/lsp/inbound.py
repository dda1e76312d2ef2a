"""From onion messages that end at the LSP's node to events of its engine."""

from typing import TypeAlias

from asyncpay.engine.lsp.events import BlockRequested, CancelRequested, RefusalSeen, ReleaseSeen
from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionReceived
from asyncpay.wire import messages, signature
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import BlockRequest, CancelRequest, PaymentRefused, PaymentRelease

Inbound: TypeAlias = BlockRequested | CancelRequested | ReleaseSeen | RefusalSeen

PID_BYTES = 32


def read(onion: OnionReceived, node_id: NodeId) -> Inbound | None:
    """What a message asks of the LSP whose node this is; None if nothing.

    WireError: drop and count it. It is malformed, its signature is none, or its copies of the pid disagree.
    The invoice of a BlockRequested is left for the caller to fill in: only the node can read it.
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
    """The sketch's own form: the path's maker put the pid there, and nothing else is said."""
    pids = _pids_of_path(onion)
    if not pids:
        return None
    _check_pid(onion, pids[0])
    return ReleaseSeen(pids[0])


def _check_pid(onion: OnionReceived, pid: bytes) -> None:
    if any(other != pid for other in _pids_of_path(onion)):
        raise WireError("a release or refusal whose copies of the pid differ")


def _pids_of_path(onion: OnionReceived) -> list[bytes]:
    places = (onion.payment_unblock, onion.path_id)
    return [place for place in places if place is not None and len(place) == PID_BYTES]
