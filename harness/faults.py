"""What goes wrong on purpose: nodes that stop, are killed, and come back.

Each verb returns when its effect is there, so that a test may go on at once.
"""

from docker.errors import APIError

from harness.containers import ContainerError
from harness.nodes.base import Node
from harness.testbed import Testbed
from harness.waits import Predicate, ready, wait_for

STOP_SECONDS = 30
"""After this long a node that does not shut down is killed, as compose does it too."""


def stop(testbed: Testbed, name: str) -> None:
    """Shut a node down in good order."""
    testbed.containers.container(name).stop(timeout=STOP_SECONDS)
    testbed[name].reconnect()


def kill(testbed: Testbed, name: str) -> None:
    """Kill a node where it stands (SIGKILL)."""
    container = testbed.containers.container(name)
    try:
        container.kill()
    except APIError as error:
        raise ContainerError(f"{name} cannot be killed: {error.explanation}") from None
    container.wait()
    testbed[name].reconnect()


def freeze(testbed: Testbed, name: str) -> None:
    """Suspend a node's process: its connections stay open, and nothing goes through."""
    testbed.containers.container(name).pause()


def thaw(testbed: Testbed, name: str) -> None:
    """Let a frozen node go on."""
    testbed.containers.container(name).unpause()


def start(testbed: Testbed, name: str) -> None:
    """Start a node that was stopped or killed; returns once it answers and follows the chain, peers or no peers."""
    testbed.containers.container(name).start()
    testbed[name].reconnect()  # the port that it is reached by has changed
    wait_for(ready(testbed[name]), 90)


def come_back(testbed: Testbed, name: str) -> None:
    """`start`, and wait until its channels to all running nodes are usable again."""
    start(testbed, name)
    wait_for(channels_usable(testbed, name), 60)


def channels_usable(testbed: Testbed, name: str) -> Predicate:
    """Every channel of this node to a running one is usable at both ends. The node dials whoever is missing."""

    def missing() -> str | None:
        node = testbed[name]
        peers = {peer.node_id: peer for peer in testbed.running()}
        for channel in node.channels():
            peer = peers.get(channel.peer_id)
            if peer is not None and not (channel.active and _lists_as_active(peer, channel.funding)):
                testbed.connect(name, peer.name)
                return f"channel {channel.short_channel_id} of {name} and {peer.name} is not usable yet"
        return None

    return Predicate("channels_usable", missing)


def _lists_as_active(node: Node, funding: str) -> bool:
    return any(channel.active for channel in node.channels() if channel.funding == funding)
