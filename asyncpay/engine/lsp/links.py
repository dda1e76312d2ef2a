"""Which channels an HTLC needs, and whether they are there."""

from collections.abc import Iterable

from asyncpay.engine.lsp.records import Block, Htlc
from asyncpay.engine.lsp.stages import Stage
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import HeldHtlc, NodeId


def next_peer(turn: Turn, htlc: HeldHtlc) -> NodeId | None:
    """To whom the HTLC is to go, if that can be known."""
    if htlc.outgoing_node is not None:
        return htlc.outgoing_node
    if htlc.outgoing_channel is not None:
        link = turn.state.channels.named(htlc.outgoing_channel)
        return None if link is None else link.peer
    return None


def can_be_claimed(turn: Turn, htlc: HeldHtlc) -> bool:
    """Whether the channel on which the HTLC came in carries it, its peer there or not."""
    return turn.state.channels.get(htlc.key.channel_id) is not None


def closing(turn: Turn, htlc: HeldHtlc) -> bool:
    """Whether one side wants to close the channel on which the HTLC came in, and waits for the HTLCs to leave it."""
    link = turn.state.channels.get(htlc.key.channel_id)
    return link is not None and link.closing


def payer_present(turn: Turn, htlc: HeldHtlc) -> bool:
    """Whether the channel on which the HTLC came in is usable."""
    return turn.state.channels.usable(htlc.key.channel_id)


def way_on(turn: Turn, htlc: HeldHtlc) -> bool:
    """Whether the next peer can be reached. There is no use in waiting if it is unknown, for only the node can tell;
    nor if its last channel is being closed.
    """
    peer = next_peer(turn, htlc)
    channels = turn.state.channels
    return peer is None or channels.reaches(peer) or not channels.stays(peer)


def can_forward(turn: Turn, htlc: HeldHtlc) -> bool:
    """Whether a RESUME would not fail for want of a channel."""
    payer_may_be_away = bool(turn.capabilities.forwards_with_payer_offline)
    return way_on(turn, htlc) and (payer_may_be_away or payer_present(turn, htlc))


def stuck_parts(turn: Turn, block: Block) -> list[Htlc]:
    """Parts that should be on their way, as far as is known, and need a channel for that."""
    parts = turn.tables.parts(block)
    if block.stage is Stage.DUE:
        return parts
    if block.stage is Stage.RELEASED:
        return [part for part in parts if part.key in turn.state.on_offer]
    return []


def payer_missing(turn: Turn, parts: Iterable[Htlc]) -> bool:
    """Whether these parts cannot be released before their payer has come back."""
    node = turn.capabilities
    return any(
        (not node.forwards_with_payer_offline and not payer_present(turn, part.htlc))
        or (not node.reoffers_without_payer and part.key not in turn.state.on_offer)
        for part in parts
    )
