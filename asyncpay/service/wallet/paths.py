"""The paths on which a payee answers a payer: whoever makes one decides what its hops are told."""

from asyncpay.lightning import NodeId
from asyncpay.service.onions import path_through
from asyncpay.wire.blinding import BlindedPath, HopData
from asyncpay.wire.messages import release_path_id


def release_path(lsp: NodeId, payer: NodeId, pid: bytes, transit_release: bool) -> BlindedPath:
    """The payer's own path for the release: it tells the payee the LSP, where it begins, and not the payer.

    If the LSP sees messages that pass through (`transit_release`) the path goes on to the payer, and the pid is in
    the LSP's part; otherwise it ends at the LSP, which knows the pid by its path_id too.
    """
    if transit_release:
        return path_through([lsp, payer], HopData(path_id=release_path_id(pid)), payment_unblock=pid)
    return path_through([lsp], HopData(path_id=pid, payment_unblock=pid))


def literal_release_path(route_to_lsp: tuple[NodeId, ...], payer: NodeId, pid: bytes) -> BlindedPath:
    """The payee's own path to a payer that told who and where it is; the LSP is the last node of the route."""
    return path_through([*route_to_lsp, payer], HopData(path_id=release_path_id(pid)), payment_unblock=pid)


def answer_path(lsp: NodeId, payee: NodeId, pid: bytes) -> BlindedPath:
    """Where the payee hears what became of its release: by way of its own LSP."""
    return path_through([lsp, payee], HopData(path_id=release_path_id(pid)))
