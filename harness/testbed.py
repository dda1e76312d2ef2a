"""A testbed: a running topology, found by its name.

Everything that a testbed has on this machine is in one folder (the compose file, sockets, a lock) and in one
compose project (containers, network, volumes, all labelled with its name). `down` removes both.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from harness import compose, images
from harness.chain import RPC_PORT, Chain
from harness.containers import ContainerError, Containers
from harness.errors import TestbedError
from harness.homes import state_home
from harness.image_recipes import VERSIONS
from harness.lsp import CLI as LSP_CLI
from harness.lsp import Lsp, service_name
from harness.nodes import BY_IMPLEMENTATION
from harness.nodes.base import Node, Payment
from harness.topology import ASYNCPAY, ComponentSpec, Implementation, NodeSpec, Topology
from harness.waits import Predicate, WaitTimeoutError, wait_for

Report = Callable[[str], None]
PROJECT_PREFIX = "testbed-"
LOCK_SECONDS = 120
"""How long `down` waits for an `up` that still starts containers, be it one whose parent was killed."""


class Testbed:
    """One testbed. Made by `prepare`, found again by `attach`.

    Its nodes by name: `testbed["LSP_a"]`; the component beside one: `testbed.lsp("LSP_a")`.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, name: str, topology: Topology, folder: Path) -> None:
        self.name = name
        self.topology = topology
        self.folder = folder
        self.containers = Containers(PROJECT_PREFIX + name, folder / "compose.yaml")
        self.nodes: dict[str, Node] = {
            node: BY_IMPLEMENTATION[spec.implementation](node, spec, self.containers, folder / "sockets" / node)
            for node, spec in topology.nodes.items()
        }
        self.lsps: dict[str, Lsp] = {node: Lsp(node, self.containers) for node in topology.components}

    @classmethod
    def prepare(cls, topology: Topology, name: str | None = None, report: Report = lambda _: None) -> "Testbed":
        """Make the images and the compose file; nothing runs yet.

        Raises TestbedError if a testbed of this name is there already, ImageUnavailableError.
        """
        name = name or topology.name
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
            raise TestbedError(f"{name!r} is no name for a testbed: lower-case letters, digits, - and _")
        references = _images(topology, report)
        folder = state_home() / name
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise TestbedError(
                f"a testbed named {name} is there already; remove it with `testbed down --testbed {name}`, "
                "or give this one another --name"
            ) from None
        for node in topology.nodes:
            (folder / "sockets" / node).mkdir(parents=True)
        content = compose.render(topology, PROJECT_PREFIX + name, references, secrets.token_hex(16), folder / "sockets")
        compose.write(content, folder / "compose.yaml")
        return cls(name, topology, folder)

    @classmethod
    def attach(cls, name: str | None = None) -> "Testbed":
        """The testbed of this name; without a name, the only one there is. Raises TestbedError."""
        there = names()
        if name is None and len(there) != 1:
            raise TestbedError(
                f"several testbeds are up: choose one with --testbed ({', '.join(there)})"
                if there
                else "no testbed is up; start one with `testbed up line`"
            )
        name = name or there[0]
        if name not in there:
            raise TestbedError(f"there is no testbed named {name} (up: {', '.join(there) or 'none'})")
        folder = state_home() / name
        return cls(name, compose.topology_of(folder / "compose.yaml"), folder)

    def __getitem__(self, node: str) -> Node:
        try:
            return self.nodes[node]
        except KeyError:
            known = ", ".join(self.nodes)
            raise TestbedError(f"testbed {self.name} has no node {node} (nodes: {known})") from None

    def lsp(self, node: str) -> Lsp:
        """The component beside this node. Raises TestbedError if there is none."""
        try:
            return self.lsps[node]
        except KeyError:
            known = ", ".join(self.lsps) or "no node"
            raise TestbedError(
                f"testbed {self.name} has no component beside {node} (but beside: {known}); "
                f"start it with `testbed up --set {node}.component={ASYNCPAY}`"
            ) from None

    @property
    def services(self) -> list[str]:
        """Every container's name: bitcoind, the miner, the nodes, the components."""
        return ["bitcoind", "miner", *self.nodes, *(lsp.name for lsp in self.lsps.values())]

    @cached_property
    def chain(self) -> Chain:
        """The testbed's bitcoind."""
        password = compose.password_of(self.containers.compose_file)
        return Chain(self.containers.address("bitcoind", RPC_PORT), password)

    def start(self) -> None:
        """Start every container, in the compose file's order. Raises ContainerError."""
        with self._locked() as lock:
            self.containers.compose("up", "--detach", "--pull", "never", inherit=[lock])

    def pay(self, payer: str, payee: str, amount_msat: int) -> Payment:
        """A plain payment: `payee` makes an invoice, `payer` pays it. Raises PaymentError, NodeError."""
        description = f"testbed {self.name}: {payer} pays {payee}"
        return self[payer].pay(self[payee].create_invoice(amount_msat, description))

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks and wait until every running node has followed; the new height."""
        height_blocks = self.chain.mine(blocks)
        wait_for(self.at_height(height_blocks))
        return height_blocks

    def cli(self, service: str) -> tuple[str, ...]:
        """A node's own command line (or bitcoind's, or a component's) inside its container, ready for arguments."""
        if service == "bitcoind":
            return compose.bitcoin_cli(compose.password_of(self.containers.compose_file))
        if service in (lsp.name for lsp in self.lsps.values()):
            return LSP_CLI
        return self[service].cli

    def running(self) -> list[Node]:
        """The nodes whose containers run."""
        states = self.containers.states()
        return [node for node in self.nodes.values() if states.get(node.name) == "running"]

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
        """Remove everything of this testbed, whatever state it is in. Raises ContainerError if something stays."""
        with self._locked():
            remove_project(self.containers)
        self.forget()

    def forget(self) -> None:
        """Remove the testbed's folder, once its containers are gone."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the testbed's lock. A child that inherits the descriptor holds it on when we are killed."""
        descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            wait_for(Predicate("no_other_command_at_work", lambda: _lock(descriptor, self.name)), LOCK_SECONDS)
            yield descriptor
        finally:
            os.close(descriptor)


def names() -> list[str]:
    """The testbeds on this machine, by name."""
    return sorted(file.parent.name for file in state_home().glob("*/compose.yaml"))


def remove_project(containers: Containers) -> None:
    """Stop and remove a project's containers, network and volumes. Raises ContainerError if something stays."""
    containers.compose("down", "--volumes", "--remove-orphans", "--timeout", "0")
    try:
        wait_for(Predicate("all_removed", lambda: ", ".join(containers.leftovers()) or None), 20)
    except WaitTimeoutError as error:
        raise ContainerError(str(error)) from None


def _lock(descriptor: int, name: str) -> str | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"another command still starts or removes containers of {name}"
    return None


def _images(topology: Topology, report: Report) -> dict[str, str]:
    """The image for each service of the compose file, present on the engine when this returns."""
    components = topology.components
    kinds = {spec.implementation.value for spec in topology.nodes.values() if not (spec.image or spec.version)}
    kinds |= {"bitcoind"} if not topology.chain.image else set()
    kinds |= {"asyncpay"} if any(component.image == ASYNCPAY for component in components.values()) else set()
    made = images.ensure(sorted(kinds), report)
    if topology.chain.image:
        made["bitcoind"] = images.ensure_reference(topology.chain.image, report)

    def image_of(spec: NodeSpec) -> str:
        if spec.image:
            return images.ensure_reference(spec.image, report)
        if spec.version:
            return images.ensure_reference(_of_version(spec.implementation, spec.version), report)
        return made[spec.implementation.value]

    def image_of_component(spec: ComponentSpec) -> str:
        return made["asyncpay"] if spec.image == ASYNCPAY else images.ensure_reference(spec.image, report)

    return {
        "bitcoind": made["bitcoind"],
        **{name: image_of(spec) for name, spec in topology.nodes.items()},
        **{service_name(node): image_of_component(spec) for node, spec in components.items()},
    }


def _of_version(implementation: Implementation, version: str) -> str:
    """The official image of another version than the pinned one."""
    repository, _, _ = VERSIONS[f"{implementation.upper()}_OFFICIAL"].partition(":")
    return f"{repository}:{version}"
