"""A testbed: a running topology, found by its name.

Everything that a testbed has on this machine is in one folder (the compose file, sockets, a lock) and in one
compose project (containers, network, volumes, all labelled with its name). `down` removes both.
"""

import secrets
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from harness import compose_file, folders
from harness.engines import open_engine
from harness.engines.base import Engine, ServiceState
from harness.errors import NodeError, PaymentError, TestbedError
from harness.folders import COMPOSE_FILE, EXTENSION, SOCKETS
from harness.nodes import node_class
from harness.nodes.base import Node, Payment
from harness.nodes.predicates import lists_as_active, ready
from harness.services import toxiproxy
from harness.services.bitcoind import MINER, RPC_PORT, SLOW_MINER, Chain, bitcoin_cli
from harness.services.lsp import CLI as LSP_CLI
from harness.services.lsp import Lsp, interceptor_attached
from harness.services.phone import Phone
from harness.services.phone_container import WALLET_CLI, wallet_name
from harness.services.push_gateway import NAME as PUSH
from harness.services.push_gateway import Authority, PushGateway
from harness.topology import ASYNCPAY, Role, Topology
from harness.waits import Predicate, wait_for

Report = Callable[[str], None]
PROJECT_PREFIX = "testbed-"
OWN_SERVICES = 2
"""The miners: they have bitcoind's image."""
STOP_SECONDS = 30
"""After this long a node that does not shut down is killed, as compose does it too."""
START_SECONDS, USABLE_SECONDS = 90, 60


class Testbed:
    """One testbed. Made by `prepare`, found again by `attach`.

    Its nodes by name: `testbed["LSP_a"]`; the component beside one: `testbed.lsp("LSP_a")`; the phone that one is in:
    `testbed.phone("A")`.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, name: str, topology: Topology, folder: Path) -> None:
        self.name = name
        self.topology = topology
        self.folder = folder
        self.engine = _engine(name, folder)
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
        self._recall_node_ids()

    @classmethod
    def prepare(
        cls,
        topology: Topology,
        name: str | None = None,
        report: Report = lambda _: None,
        supervised: bool = False,
    ) -> "Testbed":
        """Make the images and the compose file; nothing runs yet.

        supervised: what ends by itself is started again, also after a reboot; tests want to see what has ended.
        Raises TestbedError if a testbed of this name is there already, ImageUnavailableError.
        """
        from harness import compose, service_images
        from harness.engines.subnets import free_subnet

        name = name or topology.name
        folders.folder_of(name)  # its name is checked before anything that takes long
        folders.make_home()
        references = service_images.ensure(topology, report)
        folder = folders.create(name)
        for node in topology.nodes:
            (folder / SOCKETS / node).mkdir(parents=True)
        snapshot = compose.snapshot_name(topology, references, service_images.identities(references))
        content = compose.render(
            topology,
            PROJECT_PREFIX + name,
            references,
            secrets.token_hex(16),
            folder / SOCKETS,
            Authority.for_server(PUSH),
            free_subnet(len(references) + OWN_SERVICES),
            compose.KEPT_RUNNING if supervised else compose.LEFT_ENDED,
        )
        content[EXTENSION]["snapshot"] = snapshot
        compose_file.write(content, folder / COMPOSE_FILE)
        return cls(name, topology, folder)

    @classmethod
    def attach(cls, name: str | None = None) -> "Testbed":
        """The testbed of this name; without a name, the only one there is. Raises TestbedError."""
        name = folders.choose(name)
        file = folders.folder_of(name) / COMPOSE_FILE
        try:
            topology = compose_file.topology_of(file)
        except TestbedError as error:
            raise TestbedError(
                f"testbed {name} cannot be used: {error}. Remove it with `testbed down --testbed {name}`"
            ) from None
        return cls(name, topology, file.parent)

    def __getitem__(self, node: str) -> Node:
        try:
            return self.nodes[node]
        except KeyError:
            raise TestbedError(f"testbed {self.name} has no node {node} (nodes: {', '.join(self.nodes)})") from None

    def lsp(self, node: str) -> Lsp:
        """The component beside this node. Raises TestbedError if there is none."""
        try:
            return self.lsps[node]
        except KeyError:
            known = ", ".join(self.lsps) or "no node"
            advice = self._advice(node, (Role.LSP,))
            raise TestbedError(
                f"testbed {self.name} has no component beside {node} (but beside: {known}){advice}"
            ) from None

    def phone(self, name: str) -> Phone:
        """The phone of this name. Raises TestbedError if there is none."""
        try:
            return self.phones[name]
        except KeyError:
            known = ", ".join(self.phones) or "none"
            advice = self._advice(name, (Role.PAYER, Role.PAYEE))
            raise TestbedError(f"testbed {self.name} has no phone {name} (phones: {known}){advice}") from None

    def _advice(self, name: str, roles: tuple[Role, ...]) -> str:
        """How a node of one of these roles gets its component; or what the node is instead."""
        spec = self.topology.nodes.get(name)
        if spec is None:
            return ""
        if spec.role in roles:
            return f"; {name} becomes one by `testbed up {self.topology.name} --set {name}.component={ASYNCPAY}`"
        return f"; {name} has the role {spec.role.value}"

    @property
    def push(self) -> PushGateway:
        """The push gateway. Raises TestbedError if there are no phones to push to."""
        if not self.phones:
            raise TestbedError(f"testbed {self.name} has no phones, and so no push gateway")
        return PushGateway(self.engine, compose_file.ca_of(self.engine.compose_file))

    @property
    def snapshot(self) -> str | None:
        """The name of the snapshot that is of the state of such a testbed after `up`; None if there can be none."""
        return compose_file.snapshot_of(self.engine.compose_file)

    @property
    def services(self) -> list[str]:
        """Every container's name: bitcoind, the miners, the nodes, the components, what phones need."""
        own = ["bitcoind", MINER, *([SLOW_MINER] if self.topology.chain.keep_fresh else [])]
        for_phones = [toxiproxy.NAME, PUSH] if self.phones else []
        return [*own, *self.nodes, *(lsp.name for lsp in self.lsps.values()), *for_phones]

    @cached_property
    def chain(self) -> Chain:
        """The testbed's bitcoind."""
        password = compose_file.password_of(self.engine.compose_file)
        return Chain(self.engine.address("bitcoind", RPC_PORT), password)

    def create(self) -> None:
        """Create and start every container, in the compose file's order. Raises EngineError."""
        with folders.locked(self.name, self.folder) as lock:
            self.engine.up(inherit=[lock])

    def pay(self, payer: str, payee: str, amount_msat: int) -> Payment:
        """A plain payment: `payee` makes an invoice, `payer` pays it. Raises PaymentError, NodeError."""
        ends = {name: self[name] for name in (payer, payee)}
        running = self.running()
        for name, node in ends.items():
            if node not in running:
                raise NodeError(f"{payer} cannot pay {payee}: {name} does not run{self._phone_state(name)}")
        invoice = self[payee].create_invoice(amount_msat, f"testbed {self.name}: {payer} pays {payee}")
        try:
            return self[payer].pay(invoice)
        except PaymentError as error:
            unusable = [name for name, node in ends.items() if not any(each.active for each in node.channels())]
            reasons = [f"no channel of {name} is usable now{self._phone_state(name)}" for name in unusable]
            raise PaymentError("; ".join([str(error), *reasons])) from None

    def _phone_state(self, name: str) -> str:
        """In brackets what a phone and its link are like; nothing of a node that is in none."""
        if name not in self.phones:
            return ""
        phone = self.phones[name]
        return f" (the phone is {phone.state()}, its link is {phone.link().words})"

    def connect(self, one: str, other: str) -> None:
        """Connect two nodes, or do nothing if they are connected. Of a phone and its LSP, the phone dials."""
        if other in self.phones:
            one, other = other, one
        address = self.phones[one].proxies.lsp_address if one in self.phones else None
        self[one].connect(self[other], address)

    def remember_node_ids(self) -> None:
        """Write down the id of each node, so that it is known while the node sleeps."""
        folders.write_node_ids(self.folder, {name: node.node_id for name, node in self.nodes.items()})

    def _recall_node_ids(self) -> None:
        for name, node_id in folders.read_node_ids(self.folder).items():
            self.nodes[name].node_id = node_id

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks and wait until every running node has followed; the new height."""
        height_blocks = self.chain.mine(blocks)
        wait_for(self.at_height(height_blocks), 30 + blocks)  # CLN starts a bitcoin-cli for each of them
        return height_blocks

    def cli(self, name: str) -> tuple[str, ...]:
        """The own command line of a node, bitcoind, a component or a wallet in its container, ready for arguments."""
        if name == "bitcoind":
            return bitcoin_cli(compose_file.password_of(self.engine.compose_file))
        if name in (lsp.name for lsp in self.lsps.values()):
            return LSP_CLI
        return WALLET_CLI if name in self._wallets else self[name].cli

    def logs(self, name: str, tail: int | None = None) -> bytes:
        """The lines that a container printed, with times; of a wallet the events that it and its phone's init wrote."""
        return self.engine.logs(self.service_of(name), timestamps=True, stderr=name not in self._wallets, tail=tail)

    def follow_logs(self, name: str, tail: int | None = None) -> Iterator[bytes]:
        """The same line by line, and on with what it prints until it stops. Raises EngineError."""
        return self.engine.follow_logs(self.service_of(name), stderr=name not in self._wallets, tail=tail)

    def service_of(self, name: str) -> str:
        """The container in which that command line is: a wallet's is its phone's, all others have their own."""
        return self._wallets.get(name, name)

    @property
    def _wallets(self) -> dict[str, str]:
        return {wallet_name(phone): phone for phone in self.phones}

    def running(self) -> list[Node]:
        """The nodes that can answer: their containers run, and no phone around them sleeps or is frozen."""
        states = self.engine.states()
        running = [node for node in self.nodes.values() if states.get(node.name) is ServiceState.RUNNING]
        return [node for node in running if node.name not in self.phones or self.phones[node.name].node_runs()]

    def at_height(self, height_blocks: int) -> Predicate:
        """Every running node has followed the chain to this height."""

        def missing() -> str | None:
            for node in self.running():
                info = node.info()
                if info.height_blocks < height_blocks or not info.synced:
                    return f"{node.name} is at block {info.height_blocks} of {height_blocks}, synced: {info.synced}"
            return None

        return Predicate("at_height", missing)

    def down(self) -> None:
        """Remove everything of this testbed, whatever state it is in: see `remove`."""
        remove(self.name)

    def clear(self) -> None:
        """Remove all that the engine has of this testbed; its folder stays, and `create` makes the services anew."""
        with folders.locked(self.name, self.folder):
            self.engine.down()
        self._forget_nodes()

    def _forget_nodes(self) -> None:
        folders.write_node_ids(self.folder, {})
        for node in self.nodes.values():
            node.forget_id()
        self.forget_connections()

    def forget(self) -> None:
        """Remove the testbed's folder, once its containers are gone. Raises TestbedError."""
        folders.remove_folder(self.folder)

    def stop(self, name: str) -> None:
        """Shut a service down in good order."""
        self.engine.stop(name, STOP_SECONDS)
        self._forget_connection(name)

    def kill(self, name: str) -> None:
        """Kill a service (SIGKILL)."""
        self.engine.kill(name)
        self._forget_connection(name)

    def _forget_connection(self, name: str) -> None:
        """The port that a node is reached by changes when it is started."""
        if name in self.nodes:
            self.nodes[name].forget_connection()

    def freeze(self, name: str) -> None:
        """Suspend a node: its connections stay open, and nothing answers."""
        self.engine.freeze(name)

    def unfreeze(self, name: str) -> None:
        """Let a frozen node continue."""
        self.engine.unfreeze(name)

    def start(self, name: str) -> None:
        """Start a service that was stopped or killed. A node answers and follows the chain when this returns."""
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

    def come_back(self, name: str) -> None:
        """`start`, and wait until all is as before: channels to running nodes usable, a component attached."""
        self.start(name)
        if name in self.nodes:
            wait_for(self.channels_usable(name), USABLE_SECONDS)
        for lsp in self.lsps.values():
            if lsp.name == name:
                wait_for(interceptor_attached(lsp), USABLE_SECONDS)

    def forget_connections(self) -> None:
        """Every port may have changed: something else has restarted the containers."""
        for node in self.nodes.values():
            node.forget_connection()
        self.__dict__.pop("chain", None)

    def stop_all(self) -> None:
        """Shut all services down in good order: those first that need others."""
        for name in reversed(self.services):
            if self.engine.states().get(name) not in (None, ServiceState.EXITED):
                self.engine.stop(name, STOP_SECONDS)
        self.forget_connections()

    def start_all(self) -> None:
        """Start what is down; returns when every node that runs follows the chain and has its channels."""
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
        """Every channel of this node to a running one is usable at both ends. The node dials each peer it misses.

        Channels of a phone whose link is cut, or spoilt, do not count.
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


def remove(name: str) -> None:
    """Remove a testbed, or what is left of one, whatever its compose file says.

    Raises TestbedError if there is none of this name, EngineError if something stays.
    """
    folder = folders.folder_of(folders.choose(name))
    with folders.locked(name, folder):
        remove_project(_engine(name, folder))
    folders.remove_folder(folder)


def remove_project(engine: Engine) -> None:
    """Remove everything that an engine has of a testbed. Raises EngineError if something stays."""
    engine.down()


def _engine(name: str, folder: Path) -> Engine:
    return open_engine(PROJECT_PREFIX + name, folder / COMPOSE_FILE, folder / SOCKETS)
