"""The services of a running testbed: nodes, components and phones by name; stop, start and wait for them."""

from functools import cached_property

from harness import compose_file
from harness.engines.base import Engine, ServiceState
from harness.errors import TestbedError
from harness.nodes import node_class
from harness.nodes.base import Node
from harness.nodes.predicates import lists_as_active, ready
from harness.services import toxiproxy
from harness.services.bitcoind import MINER, RPC_PORT, Chain
from harness.services.lsp import Lsp, interceptor_attached
from harness.services.phone import Phone
from harness.services.push_gateway import NAME as PUSH
from harness.topology import Topology
from harness.waits import Predicate, wait_for

STOP_SECONDS = 30
"""A node that has not shut down after this time is killed, as by compose."""
START_SECONDS, USABLE_SECONDS = 90, 60


class TestbedServices:
    """The running services of a testbed. Methods raise EngineError if an operation on a container fails."""

    __test__ = False  # not a test class: pytest would collect it because of its name

    def __init__(self, name: str, topology: Topology, engine: Engine) -> None:
        self.name = name
        self.topology = topology
        self.engine = engine
        self.nodes: dict[str, Node] = {
            node: node_class(spec.implementation)(node, spec, self.engine) for node, spec in topology.nodes.items()
        }
        self.lsps: dict[str, Lsp] = {
            node: Lsp(node, self.engine, component.image) for node, component in topology.components.items()
        }
        self.phones: dict[str, Phone] = {
            name: Phone(self.nodes[name], self.nodes[proxies.lsp], proxies, self.engine)
            for name, proxies in toxiproxy.of_topology(topology).items()
        }

    def __getitem__(self, node: str) -> Node:
        try:
            return self.nodes[node]
        except KeyError:
            raise TestbedError(f"testbed {self.name} has no node {node} (nodes: {', '.join(self.nodes)})") from None

    @property
    def services(self) -> list[str]:
        """Every container's name: bitcoind, the miner, nodes, components, and the services for phones."""
        for_phones = [toxiproxy.NAME, PUSH] if self.phones else []
        return ["bitcoind", MINER, *self.nodes, *(lsp.name for lsp in self.lsps.values()), *for_phones]

    @cached_property
    def chain(self) -> Chain:
        """The testbed's bitcoind."""
        password = compose_file.password_of(self.engine.compose_file)
        return Chain(self.engine.address("bitcoind", RPC_PORT), password)

    def connect(self, one: str, other: str) -> None:
        """Connect two nodes, or do nothing if they are connected. Of a phone and its LSP, the phone dials."""
        if other in self.phones:
            one, other = other, one
        address = self.phones[one].proxies.lsp_address if one in self.phones else None
        self[one].connect(self[other], address)

    def running(self) -> list[Node]:
        """The nodes that can answer: their containers run, and their phones are neither asleep nor frozen."""
        states = self.engine.states()
        running = [node for node in self.nodes.values() if states.get(node.name) is ServiceState.RUNNING]
        return [node for node in running if node.name not in self.phones or self.phones[node.name].node_runs()]

    def stop(self, name: str) -> None:
        """Shut a service down cleanly."""
        self.engine.stop(name, STOP_SECONDS)
        self._forget_connection(name)

    def kill(self, name: str) -> None:
        """Kill a service (SIGKILL)."""
        self.engine.kill(name)
        self._forget_connection(name)

    def _forget_connection(self, name: str) -> None:
        """Discard the connection: the node's port changes when it is started."""
        if name in self.nodes:
            self.nodes[name].forget_connection()

    def freeze(self, name: str) -> None:
        """Suspend a node: its connections stay open, and nothing answers."""
        self.engine.freeze(name)

    def unfreeze(self, name: str) -> None:
        """Resume a frozen node."""
        self.engine.unfreeze(name)

    def start(self, name: str) -> None:
        """Start a service that was stopped or killed. A node answers and is synced when this returns."""
        self.engine.start(name)
        self._forget_connection(name)
        if name == toxiproxy.NAME:
            self._restore_links()
        if name in self.nodes:
            wait_for(ready(self.nodes[name]), START_SECONDS)

    def _restore_links(self) -> None:
        if self.phones:
            links = toxiproxy.Toxiproxy(self.engine)
            wait_for(links.answers(), START_SECONDS)
            links.restore()

    def start_and_wait(self, name: str) -> None:
        """`start`, and wait until the service works as before: channels to running nodes usable, component attached."""
        self.start(name)
        if name in self.nodes:
            wait_for(self.channels_usable(name), USABLE_SECONDS)
        for lsp in self.lsps.values():
            if lsp.name == name:
                wait_for(interceptor_attached(lsp), USABLE_SECONDS)

    def forget_connections(self) -> None:
        """Discard all connections: every port may have changed, because the containers were restarted externally."""
        for node in self.nodes.values():
            node.forget_connection()
        self.forget_chain()

    def forget_chain(self) -> None:
        """Discard the connection with bitcoind, whose port may have changed."""
        self.__dict__.pop("chain", None)

    def stop_all(self) -> None:
        """Shut all services down cleanly, each before the services that it depends on."""
        for name in reversed(self.services):
            if self.engine.states().get(name) not in (None, ServiceState.EXITED):
                self.engine.stop(name, STOP_SECONDS)
        self.forget_connections()

    def start_all(self) -> None:
        """Start all stopped services; return when every running node is synced and has its channels."""
        for name in self.services:
            if self.engine.states().get(name) is not ServiceState.RUNNING:
                self.engine.start(name)
        self.forget_connections()
        self._restore_links()
        for name, node in self.nodes.items():
            if name not in self.phones or self.phones[name].node_runs():
                wait_for(ready(node), START_SECONDS)
                wait_for(self.channels_usable(name), USABLE_SECONDS)
        for lsp in self.lsps.values():
            wait_for(interceptor_attached(lsp), USABLE_SECONDS)

    def channels_usable(self, name: str) -> Predicate:
        """Every channel of this node to a running one is usable at both ends. The node dials peers that are missing.

        Channels of a phone whose link is cut or impaired do not count.
        """

        def missing() -> str | None:
            node = self[name]
            cut_off = {phone for phone, it in self.phones.items() if not it.connects()}
            if name in cut_off:
                return None
            peers = {peer.node_id: peer for peer in self.running() if peer.name not in cut_off}
            for channel in node.channels():
                peer = peers.get(channel.peer_id)
                if peer is not None and not (channel.active and lists_as_active(peer, channel.funding)):
                    self.connect(name, peer.name)
                    return f"channel {channel.short_channel_id} of {name} and {peer.name} is not usable yet"
            return None

        return Predicate("channels_usable", missing)

    def at_height(self, height_blocks: int) -> Predicate:
        """Every running node is synced to this height."""

        def missing() -> str | None:
            for node in self.running():
                info = node.info()
                if info.height_blocks < height_blocks or not info.synced:
                    return f"{node.name} is at block {info.height_blocks} of {height_blocks}, synced: {info.synced}"
            return None

        return Predicate("at_height", missing)
