"""What the wallet's node last said of itself, its peers and its channels; and whether it follows the chain.

A node that is behind may take an HTLC for safe that has almost expired. Some nodes also say that they are behind when
no block is found for hours. The two look alike at first; but a node that is behind catches up as soon as its backend is
connected again. So an old best block is believed if it stays the best while the node is attached and its LSP
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
    """This wallet's node, as it last reported itself."""

    node_id: NodeId
    network: str
    height: int


@dataclass
class WalletNodeView(NodeView):
    """What the node last said, for the wallet's verbs. attached_at: Unix seconds; None while it does not answer."""

    attached_at: float | None = None

    def fold(self, event: object) -> bool:
        """See NodeView.fold."""
        if isinstance(event, Attached):
            self.attached_at = time.time()
        elif isinstance(event, Detached):
            self.attached_at = None
        return super().fold(event)

    def channel_usable(self, peer: NodeId) -> bool:
        """Whether a channel with this peer can carry HTLCs now."""
        return self.attached and self.channels.reaches(peer)

    def own_node(self) -> OwnNode:
        """The node itself. NodeUnreachableError if it is not there."""
        if not self.attached or self.height is None:
            raise NodeUnreachableError("the wallet's node does not answer; see the wallet's log")
        return OwnNode(node_id=self.node_id, network=self.network, height=self.height)


class ChainWatch:
    """Whether a payment may be released to the node now.

    old_tip_seconds: how long an old best block must stay the best. clock: seconds, not while suspended.
    """

    def __init__(self, old_tip_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._old_tip_seconds = old_tip_seconds
        self._clock = clock
        self._watched: tuple[bytes, float] | None = None

    def begin_afresh(self) -> None:
        """The node, or its LSP, was away: what was seen before shows nothing of the node's backend."""
        self._watched = None

    def objection(self, seen: SyncState) -> str | None:
        """Why nothing may be released to the node now; for people. None: it may."""
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
            "the node takes its chain for stale, because its best block is too old; a release is sent when a new one "
            f"comes, or once there was none for {self._old_tip_seconds:g} s while node and LSP were connected"
        )
