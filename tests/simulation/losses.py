"""Losses of a node by decisions of its component, and in spite of correct ones: forwarded dust, not running in time."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from .channels import FEE_MSAT, SimHtlc
from .lsp import LspProcess
from .node import SimNode


def lost_by_death(node: SimNode, incoming: SimHtlc, outgoing_expiry: int) -> bool:
    """Return whether `node` did not run when it had to, and so its peer took this HTLC back on chain.

    outgoing_expiry: of the node's outgoing payment for it. In a block between that and the expiry of the incoming HTLC
    the node would have gone on chain, and learnt the preimage there: BOLT 2, "`cltv_expiry_delta` Selection".
    HTLCs that the node itself failed, or that its component failed, are not lost in this way.
    """
    if incoming.resolved or not incoming.gone:
        return False
    at = bisect_left(node.heights, outgoing_expiry + node.implementation.closes_after_blocks)
    return at == len(node.heights) or node.heights[at] > incoming.expiry


def paid_while_dead(node: SimNode) -> list[SimHtlc]:
    """Return the HTLCs of which the node's peer had the preimage, and for which the node got nothing."""
    return [
        outgoing
        for outgoing in node.circuits.values()
        if outgoing.preimage is not None
        and outgoing.incoming is not None
        and lost_by_death(node, outgoing.incoming, outgoing.expiry)
    ]


def excused_msat(node: SimNode) -> int:
    """Return what the node may have lost in these two ways."""
    return sum(htlc.amount_msat for htlc in (*node.lost_dust, *paid_while_dead(node)))


def forwarded_and_failed(lsp: LspProcess) -> Iterator[str]:
    """What it forwarded and can claim no more, though it may have to pay, and though it ran when it had to."""
    for outgoing in lsp.node.circuits.values():
        incoming = outgoing.incoming
        assert incoming is not None
        if outgoing.failed or not incoming.failed or incoming in lsp.node.lost_dust:
            continue
        if not lost_by_death(lsp.node, incoming, outgoing.expiry):
            yield f"{lsp.name} forwarded HTLC {incoming.key}, and failed it back"


def overpaid_on_behalf(lsp: LspProcess, payment_hash: bytes, parts: Iterable[SimHtlc]) -> Iterator[str]:
    """What it pays on behalf of a payer beyond what it can claim of the payer's parts."""
    on_behalf = lsp.node.payments.known.get(payment_hash)
    if on_behalf is None:
        return
    spent = sum(htlc.amount_msat for htlc in on_behalf.htlcs if not htlc.failed)
    last = max((htlc.expiry for htlc in on_behalf.htlcs), default=0)
    owed = [part for part in parts if not part.failed or lost_by_death(lsp.node, part, last)]
    covered = sum(part.amount_msat - FEE_MSAT for part in owed)
    if spent > covered:
        yield f"{lsp.name} pays {spent} msat on behalf, and can claim {covered} beyond its own fee"
