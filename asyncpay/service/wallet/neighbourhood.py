"""What the wallet's node last said of itself, its peers and its channels."""

import time
from dataclasses import dataclass, field

from asyncpay.lightning import ChannelId, Link, NodeId
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    LinkChanged,
    LinkClosed,
    NodeEvent,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.base import NodeUnreachableError
from asyncpay.service.wallet.orders import Self


@dataclass
class Neighbourhood:
    """Empty until the node was attached for the first time. attached_at: Unix seconds; None while it is away."""

    attached_at: float | None = None
    node_id: NodeId = b""
    network: str = ""
    height: int = 0
    online: set[NodeId] = field(default_factory=set)
    links: dict[ChannelId, Link] = field(default_factory=dict)

    def take(self, event: NodeEvent) -> None:
        """Take in what concerns this."""
        match event:
            case Attached():
                self.attached_at = time.time()
                self.node_id, self.network, self.height = event.node_id, event.network, event.height
                self.online = set(event.online)
                self.links = {link.channel_id: link for link in event.links}
            case BlockConnected():
                self.height = event.height
            case PeerConnected():
                self.online.add(event.peer)
            case PeerDisconnected():
                self.online.discard(event.peer)
            case LinkChanged():
                self.links[event.link.channel_id] = event.link
            case LinkClosed():
                self.links.pop(event.channel_id, None)

    def away(self) -> None:
        """The node does not answer."""
        self.attached_at = None
        self.online = set()
        self.links = {}

    @property
    def attached(self) -> bool:
        """Whether the node answers."""
        return self.attached_at is not None

    def channel_usable(self, peer: NodeId) -> bool:
        """Whether a channel with this peer can carry HTLCs now."""
        return any(link.peer == peer and link.usable for link in self.links.values())

    def me(self) -> Self:
        """The node itself. NodeUnreachableError if it is not there."""
        if not self.attached:
            raise NodeUnreachableError("the wallet's node does not answer; see the wallet's log")
        return Self(node_id=self.node_id, network=self.network, height=self.height)
