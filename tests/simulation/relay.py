"""How a simulated node treats onion messages: it peels, forwards, shows, and drops what comes too fast."""

from typing import TYPE_CHECKING

from asyncpay.lightning import NodeId
from asyncpay.node_events import OnionInTransit, OnionReceived
from asyncpay.wire.onion import OnionMessage

from .onions import Arrived, Onward

if TYPE_CHECKING:
    from .node import SimNode


class Relay:
    """The onion messages of one node."""

    def __init__(self, node: "SimNode") -> None:
        self._node = node
        self._tokens: dict[NodeId, tuple[float, float]] = {}

    def take(self, source: "SimNode", message: OnionMessage) -> None:
        """An onion message came from a peer."""
        if self._node.running and self._within_rate(source.id):
            self.route(source.id, message)

    def route(self, source: NodeId, message: OnionMessage) -> NodeId | None:
        """Take one's own layer off and do what it says. Returns the next peer if that is not there."""
        node = self._node
        shows_all = bool(node.implementation.capabilities.transit_release)
        match node.onions.peel(message, node.id):
            case Arrived(data, payload):
                node.tell(
                    OnionReceived(
                        path_id=data.path_id,
                        payment_unblock=data.payment_unblock if shows_all else None,
                        async_payment=payload.async_payment,
                        reply_path=payload.reply_path,
                    )
                )
            case Onward(data, next_node_id, inner):
                gone = not node.network.send_onion(node, next_node_id, inner)
                if source not in (node.id, next_node_id) and (shows_all or gone):
                    node.tell(
                        OnionInTransit(
                            source=source,
                            message=message,
                            next_node_id=next_node_id,
                            payment_unblock=data.payment_unblock if shows_all else None,
                            undelivered=not shows_all,
                        )
                    )
                return next_node_id if gone else None
        return None

    def _within_rate(self, source: NodeId) -> bool:
        rules, now = self._node.implementation, self._node.kernel.now
        if rules.onion_burst is None:
            return True
        tokens, since = self._tokens.get(source, (float(rules.onion_burst), now))
        tokens = min(float(rules.onion_burst), tokens + (now - since) / rules.onion_seconds)
        self._tokens[source] = (max(0.0, tokens - 1), now)
        return tokens >= 1
