"""A testbed: a running topology, identified by its name.

All resources of a testbed on this machine are in one folder (the compose file, sockets, a lock) and in one
compose project (containers, network, volumes, all labelled with its name). `down` removes both.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import compose_file, folders
from harness.engines import open_engine
from harness.engines.base import Engine
from harness.errors import NodeError, PaymentError, TestbedError
from harness.folders import COMPOSE_FILE, EXTENSION, SOCKETS
from harness.nodes.base import Payment
from harness.services.bitcoind import bitcoin_cli
from harness.services.lsp import CLI as LSP_CLI
from harness.services.lsp import Lsp
from harness.services.phone import Phone
from harness.services.phone_container import WALLET_CLI, wallet_name
from harness.services.push_gateway import NAME as PUSH
from harness.services.push_gateway import Authority, PushGateway
from harness.testbed_services import TestbedServices
from harness.topology import ASYNCPAY, Role, Topology
from harness.waits import wait_for

Report = Callable[[str], None]
PROJECT_PREFIX = "testbed-"
OWN_SERVICES = 1
"""The miner, which uses bitcoind's image."""


class Testbed(TestbedServices):
    """One testbed. `prepare` creates it, `attach` finds it again.

    Its nodes by name: `testbed["LSP_a"]`; the component of a node: `testbed.lsp("LSP_a")`; the phone that a node runs
    in: `testbed.phone("A")`.
    """

    def __init__(self, name: str, topology: Topology, folder: Path) -> None:
        super().__init__(name, topology, _engine(name, folder))
        self.folder = folder
        self._recall_node_ids()

    @classmethod
    def prepare(
        cls,
        topology: Topology,
        name: str | None = None,
        report: Report = lambda _: None,
        supervised: bool = False,
    ) -> "Testbed":
        """Provide the images and write the compose file; nothing runs yet.

        supervised: services that exit are restarted, also after a reboot; tests must see that a service has exited.
        Raises TestbedError if a testbed with this name exists already, ImageUnavailableError.
        """
        from harness import compose, service_images
        from harness.engines.subnets import free_subnet

        name = name or topology.name
        folders.folder_of(name)  # check the name before any slow operation
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
        content[EXTENSION] |= {"snapshot": snapshot, "beginnings": service_images.beginnings(topology, report)}
        compose_file.write(content, folder / COMPOSE_FILE)
        return cls(name, topology, folder)

    @classmethod
    def attach(cls, name: str | None = None) -> "Testbed":
        """Return the testbed with this name; without a name, the only testbed. Raises TestbedError."""
        name = folders.choose(name)
        file = folders.folder_of(name) / COMPOSE_FILE
        try:
            topology = compose_file.topology_of(file)
        except TestbedError as error:
            raise TestbedError(
                f"testbed {name} cannot be used: {error}. Remove it with `testbed down --testbed {name}`"
            ) from None
        return cls(name, topology, file.parent)

    def lsp(self, node: str) -> Lsp:
        """Return the LSP component of this node. Raises TestbedError if there is none."""
        try:
            return self.lsps[node]
        except KeyError:
            known = ", ".join(self.lsps) or "no node"
            advice = self._advice(node, (Role.LSP,))
            raise TestbedError(
                f"testbed {self.name} has no LSP component at {node} (components are at: {known}){advice}"
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
        """Say how a node with one of these roles gets its component; otherwise say which role it has."""
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
        """The name of the snapshot of this testbed's state after `up`; None if there can be none."""
        return compose_file.snapshot_of(self.engine.compose_file)

    def fill_new_volumes(self) -> None:
        """Create the volumes that have initial contents, before `create`. Raises EngineError."""
        for image, begin_with in compose_file.beginnings_of(self.engine.compose_file).items():
            self.engine.fill_volumes_from(image, begin_with)

    def create(self) -> None:
        """Create and start every container, in the compose file's order. Raises EngineError."""
        with folders.locked(self.name, self.folder) as lock:
            self.engine.up(compose_file.read(self.engine.compose_file), inherit=[lock])

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
        """Return the state of a phone and its link in brackets; empty for a node that is not in a phone."""
        if name not in self.phones:
            return ""
        phone = self.phones[name]
        return f" (the phone is {phone.state()}, its link is {phone.link().words})"

    def remember_node_ids(self) -> None:
        """Store the id of each node, so that it is known while the node is asleep."""
        folders.write_node_ids(self.folder, {name: node.node_id for name, node in self.nodes.items()})

    def _recall_node_ids(self) -> None:
        for name, node_id in folders.read_node_ids(self.folder).items():
            self.nodes[name].node_id = node_id

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks, wait until every running node has synced to them, and return the new height."""
        height_blocks = self.chain.mine(blocks)
        wait_for(self.at_height(height_blocks), 30 + blocks)  # CLN starts a bitcoin-cli for each of them
        return height_blocks

    def cli(self, name: str) -> tuple[str, ...]:
        """Return the CLI command of a node, bitcoind, a component or a wallet in its container, without arguments."""
        if name == "bitcoind":
            return bitcoin_cli(compose_file.password_of(self.engine.compose_file))
        if name in (lsp.name for lsp in self.lsps.values()):
            return LSP_CLI
        return WALLET_CLI if name in self._wallets else self[name].cli

    def logs(self, name: str, tail: int | None = None) -> bytes:
        """Return a container's log lines, with times; for a wallet, its own events and those of its phone's init."""
        return self.engine.logs(self.service_of(name), timestamps=True, stderr=name not in self._wallets, tail=tail)

    def follow_logs(self, name: str, tail: int | None = None) -> Iterator[bytes]:
        """Yield the same lines one by one, then new lines until the container stops. Raises EngineError."""
        return self.engine.follow_logs(self.service_of(name), stderr=name not in self._wallets, tail=tail)

    def service_of(self, name: str) -> str:
        """Return the container of that CLI: a wallet's is its phone's, all others have their own.

        Raises TestbedError if there is no such container.
        """
        service = self._wallets.get(name, name)
        if service not in self.services:
            known = ", ".join([*self.services, *self._wallets])
            raise TestbedError(f"testbed {self.name} has no service {name} (services: {known})")
        return service

    @property
    def _wallets(self) -> dict[str, str]:
        return {wallet_name(phone): phone for phone in self.phones}

    def down(self) -> None:
        """Remove everything of this testbed, in any state: see `remove`."""
        remove(self.name)

    def clear(self) -> None:
        """Remove everything of this testbed from the engine, but not its folder; `create` creates the services anew."""
        with folders.locked(self.name, self.folder):
            self.engine.down()
        self._forget_nodes()

    def _forget_nodes(self) -> None:
        folders.write_node_ids(self.folder, {})
        for node in self.nodes.values():
            node.forget_id()
        self.forget_connections()

    def forget(self) -> None:
        """Remove the testbed's folder, after its containers are removed. Raises TestbedError."""
        folders.remove_folder(self.folder)


def remove(name: str) -> None:
    """Remove a testbed or its remains, including containers that its compose file does not name.

    Raises TestbedError if there is none with this name, EngineError if something cannot be removed.
    """
    folder = folders.folder_of(folders.choose(name))
    with folders.locked(name, folder):
        remove_project(_engine(name, folder))
    folders.remove_folder(folder)


def remove_project(engine: Engine) -> None:
    """Remove everything of a testbed from an engine. Raises EngineError if something cannot be removed."""
    engine.down()


def _engine(name: str, folder: Path) -> Engine:
    return open_engine(PROJECT_PREFIX + name, folder / COMPOSE_FILE, folder / SOCKETS)
