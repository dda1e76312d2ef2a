"""The last reports of the wallet's node about itself, its peers and its channels; and whether it is synced.

A node that is behind may consider an HTLC safe that has almost expired. Some nodes also report that they are behind if
no block is found for hours. The two look alike at first; but a node that is behind catches up as soon as its backend is
connected again. So an old best block is accepted if it stays the best while the node is attached and its LSP
connected for so long that its backend must have noticed a dead connection, and nothing else is wrong (`ChainWatch`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from asyncpay.engine.context import NodeView
from asyncpay.engine.core import Detached
from asyncpay.lightning import NodeId, SyncState
from asyncpay.node_events import Attached
from asyncpay.nodes.base import NodeUnreachableError


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNode:
    """This wallet's node, by its last report."""

    node_id: NodeId
    network: str
    height: int


@dataclass
class WalletNodeView(NodeView):
    """The last reports of the node, for the wallet's verbs. attached_at: Unix seconds; None while not attached."""

    attached_at: float | None = None

    def fold(self, event: object) -> bool:
        """See NodeView.fold."""
        if isinstance(event, Attached):
            self.attached_at = time.time()
        elif isinstance(event, Detached):
            self.attached_at = None
        return super().fold(event)

    def channel_usable(self, peer: NodeId) -> bool:
        """Return whether a channel with this peer can carry HTLCs now."""
        return self.attached and self.channels.reaches(peer)

    def own_node(self) -> OwnNode:
        """Return the node. NodeUnreachableError if it is not attached."""
        if not self.attached or self.height is None:
            raise NodeUnreachableError("the wallet's node does not answer. Check the wallet's log")
        return OwnNode(node_id=self.node_id, network=self.network, height=self.height)


class ChainWatch:
    """Decides whether a payment may be released to the node now.

    old_tip_seconds: how long an old best block must stay the best. clock: seconds, not while suspended.
    """

    def __init__(self, old_tip_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._old_tip_seconds = old_tip_seconds
        self._clock = clock
        self._watched: tuple[bytes, float] | None = None

    def begin_afresh(self) -> None:
        """Begin again after the node or its LSP was disconnected: what was seen before proves nothing any more."""
        self._watched = None

    def objection(self, seen: SyncState) -> str | None:
        """Return why nothing may be released to the node now, for users; None if it may."""
        if seen.synced:
            self._watched = None
            return None
        if seen.old_tip is None:
            self._watched = None
            return "the node is not synced to the chain"
        now = self._clock()
        if self._watched is None or self._watched[0] != seen.old_tip:
            self._watched = (seen.old_tip, now)
        if now - self._watched[1] >= self._old_tip_seconds:
            return None
        return (
            "the node reports its chain as stale, because its best block is too old; the release is sent when a new "
            f"one comes, or when there was none for {self._old_tip_seconds:g} s while node and LSP were connected"
        )
