"""A testbed: a running topology, found by its name.

Everything that a testbed has on this machine is in one folder (the compose file, sockets, a lock) and in one
compose project (containers, network, volumes, all labelled with its name). `down` removes both.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path

from harness import compose, service_images
from harness.authority import Authority
from harness.chain import RPC_PORT, Chain
from harness.containers import ContainerError, Containers
from harness.errors import NodeError, PaymentError, TestbedError
from harness.homes import state_home
from harness.lsp import CLI as LSP_CLI
from harness.lsp import Lsp
from harness.nodes import BY_IMPLEMENTATION
from harness.nodes.base import Node, Payment
from harness.phone import Phone
from harness.phone_container import WALLET_CLI, wallet_name
from harness.push import NAME as PUSH
from harness.push import PushGateway
from harness.topology import ASYNCPAY, Role, Topology
from harness.toxiproxy import NAME as TOXIPROXY
from harness.waits import Predicate, WaitTimeoutError, wait_for

Report = Callable[[str], None]
COMPOSE_FILE, LOCK, NODE_IDS, SOCKETS = "compose.yaml", "lock", "node-ids.json", "sockets"
"""What is in a testbed's folder."""
PART = ".part"
"""Ends the name of a file that is not written whole yet."""
PROJECT_PREFIX = "testbed-"
LOCK_SECONDS = 120
"""How long `down` waits for an `up` that still starts containers, be it one whose parent was killed."""


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
        self.containers = Containers(PROJECT_PREFIX + name, folder / COMPOSE_FILE)
        self.nodes: dict[str, Node] = {
            node: BY_IMPLEMENTATION[spec.implementation](node, spec, self.containers, folder / SOCKETS / node)
            for node, spec in topology.nodes.items()
        }
        self.lsps: dict[str, Lsp] = {node: Lsp(node, self.containers) for node in topology.components}
        self.phones: dict[str, Phone] = {
            name: Phone(self.nodes[name], self.nodes[proxies.lsp], proxies, self.containers)
            for name, proxies in compose.proxies_of(topology).items()
        }
        self._recall_node_ids()

    @classmethod
    def prepare(cls, topology: Topology, name: str | None = None, report: Report = lambda _: None) -> "Testbed":
        """Make the images and the compose file; nothing runs yet.

        Raises TestbedError if a testbed of this name is there already, ImageUnavailableError.
        """
        name = name or topology.name
        folder = folder_of(name)
        _make_home()
        references = service_images.ensure(topology, report)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            refuse_foreign(folder)
            raise TestbedError(
                f"a testbed named {name} is there already; remove it with `testbed down --testbed {name}`, "
                "or give this one another --name"
            ) from None
        except OSError as error:
            raise _unwritable(error) from None
        for node in topology.nodes:
            (folder / SOCKETS / node).mkdir(parents=True)
        content = compose.render(
            topology,
            PROJECT_PREFIX + name,
            references,
            secrets.token_hex(16),
            folder / SOCKETS,
            Authority.for_server(PUSH),
        )
        compose.write(content, folder / COMPOSE_FILE)
        return cls(name, topology, folder)

    @classmethod
    def attach(cls, name: str | None = None) -> "Testbed":
        """The testbed of this name; without a name, the only one there is. Raises TestbedError."""
        name = choose(name)
        file = folder_of(name) / COMPOSE_FILE
        try:
            topology = compose.topology_of(file)
        except TestbedError as error:
            raise TestbedError(
                f"testbed {name} cannot be used: {error}. Remove it with `testbed down --testbed {name}`"
            ) from None
        return cls(name, topology, file.parent)

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
        return PushGateway(self.containers, compose.ca_of(self.containers.compose_file))

    @property
    def services(self) -> list[str]:
        """Every container's name: bitcoind, the miners, the nodes, the components, what phones need."""
        for_phones = [TOXIPROXY, PUSH] if self.phones else []
        slow_miner = [compose.SLOW_MINER] if self.topology.chain.keep_fresh else []
        return ["bitcoind", "miner", *slow_miner, *self.nodes, *(lsp.name for lsp in self.lsps.values()), *for_phones]

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
        """Write down who each node is, so that it is known while the node sleeps."""
        part = self._node_ids_file.with_name(NODE_IDS + PART)
        part.write_text(json.dumps({name: node.node_id for name, node in self.nodes.items()}))
        part.replace(self._node_ids_file)

    def _recall_node_ids(self) -> None:
        if self._node_ids_file.exists():
            for name, node_id in json.loads(self._node_ids_file.read_text()).items():
                self.nodes[name].node_id = node_id

    @property
    def _node_ids_file(self) -> Path:
        return self.folder / NODE_IDS

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks and wait until every running node has followed; the new height."""
        height_blocks = self.chain.mine(blocks)
        wait_for(self.at_height(height_blocks), 30 + blocks)  # CLN starts a bitcoin-cli for each of them
        return height_blocks

    def cli(self, name: str) -> tuple[str, ...]:
        """The own command line of a node, bitcoind, a component or a wallet in its container, ready for arguments."""
        if name == "bitcoind":
            return compose.bitcoin_cli(compose.password_of(self.containers.compose_file))
        if name in (lsp.name for lsp in self.lsps.values()):
            return LSP_CLI
        return WALLET_CLI if name in self._wallets else self[name].cli

    def logs(self, name: str) -> bytes:
        """What a container printed; of a wallet the events that it and its phone's init wrote.

        Raises ContainerError.
        """
        return self.containers.logs(self.service_of(name), stderr=name not in self._wallets)

    def service_of(self, name: str) -> str:
        """The container in which that command line is: a wallet's is its phone's, all others have their own."""
        return self._wallets.get(name, name)

    @property
    def _wallets(self) -> dict[str, str]:
        return {wallet_name(phone): phone for phone in self.phones}

    def running(self) -> list[Node]:
        """The nodes that can answer: their containers run, and no phone around them sleeps or is frozen."""
        states = self.containers.states()
        running = [node for node in self.nodes.values() if states.get(node.name) == "running"]
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

    def forget(self) -> None:
        """Remove the testbed's folder, once its containers are gone. Raises TestbedError."""
        _remove_folder(self.folder)

    def _locked(self) -> AbstractContextManager[int]:
        return _locked(self.name, self.folder)


def folder_of(name: str) -> Path:
    """Where a testbed of this name keeps its files. Raises TestbedError if that is no name for one."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise TestbedError(f"{name!r} is no name for a testbed: lower-case letters, digits, - and _")
    return state_home() / name


def _make_home() -> None:
    """Make the folder of all testbeds, before anything that takes long. Raises TestbedError."""
    try:
        state_home().mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(error) from None


def _unwritable(error: OSError) -> TestbedError:
    return TestbedError(
        f"{error.filename} cannot be made: {error.strerror}. Set TESTBED_STATE to a folder that you may write to"
    )


def names() -> list[str]:
    """The testbeds on this machine, by name, those included of which an interrupted `up` or `down` left only a part."""
    home = state_home()
    return sorted(folder.name for folder in home.iterdir() if _is_testbed(folder)) if home.is_dir() else []


def choose(name: str | None) -> str:
    """This name, or that of the only testbed there is. Raises TestbedError if there is none of it."""
    there = names()
    if name is None and len(there) != 1:
        raise TestbedError(
            f"several testbeds are up: choose one with --testbed ({', '.join(there)})"
            if there
            else "no testbed is up; start one with `testbed up line`"
        )
    name = there[0] if name is None else name
    if name not in there:
        refuse_foreign(folder_of(name))
        raise TestbedError(f"there is no testbed named {name} (up: {', '.join(there) or 'none'})")
    return name


def remove(name: str) -> None:
    """Remove a testbed, or what is left of one, whatever its compose file says.

    Raises TestbedError if there is none of this name, ContainerError if something stays.
    """
    folder = folder_of(choose(name))
    with _locked(name, folder):
        remove_project(Containers(PROJECT_PREFIX + name, folder / COMPOSE_FILE))
    _remove_folder(folder)


def refuse_foreign(folder: Path) -> None:
    """Raise TestbedError if a folder is there that is not a testbed's: its files are left alone."""
    if folder.exists() and not _is_testbed(folder):
        raise TestbedError(
            f"{folder} is not a testbed's folder. Move it away, give the testbed another --name, or set TESTBED_STATE "
            "to a folder that is for testbeds alone"
        )


def _is_testbed(folder: Path) -> bool:
    """Nothing is in it but what `Testbed.prepare` makes."""
    if not folder.is_dir():
        return False
    made = {COMPOSE_FILE, COMPOSE_FILE + PART, LOCK, NODE_IDS, NODE_IDS + PART, SOCKETS}
    file = folder / COMPOSE_FILE
    ours = not file.exists() or f"{compose.EXTENSION}:" in file.read_text(encoding="utf-8", errors="replace")
    return ours and {path.name for path in folder.iterdir()} <= made


@contextmanager
def _locked(name: str, folder: Path) -> Iterator[int]:
    """Hold a testbed's lock. A child that inherits the descriptor holds it on when we are killed."""
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        wait_for(Predicate("no_other_command_at_work", lambda: _lock(descriptor, name)), LOCK_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TestbedError(f"{error.filename} cannot be removed: {error.strerror}. Remove {folder} by hand") from None


def remove_project(containers: Containers) -> None:
    """Stop and remove a project's containers, network and volumes, by its name. Raises ContainerError if some stay."""
    containers.compose("down", "--volumes", "--remove-orphans", "--timeout", "0", by_name=True)
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
