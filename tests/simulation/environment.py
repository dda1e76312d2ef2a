"""The common parts of all simulations: one clock, one chain, nodes and channels, and their LSPs and phones."""

from collections import deque
from collections.abc import Callable

from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.policy import LspPolicy, PayerPolicy
from asyncpay.lightning import HtlcKey, Invoice, NodeId, ShortChannelId

from .channels import Chain, Channel
from .implementations import IMPLEMENTATIONS
from .kernel import Kernel
from .lsp import LspProcess
from .network import Connection, Network
from .node import SimNode
from .onions import Messenger, Onions
from .phone import Phone
from .process import Disks, Process
from .wallet import WalletProcess

BALANCE_MSAT = 10_000_000_000


class Environment:
    """Subclasses create the nodes, channels and processes, and the events. Must be closed.

    decode: invoices by BOLT 11 text. phones: by node id. lsp_of: by a phone's name. clients: of the LSPs.
    """

    lsps: list[LspProcess]
    clients: tuple[NodeId, ...]

    def __init__(self, *, on_disk: bool = False, with_trace: bool = False) -> None:
        self.kernel = Kernel(trace=[] if with_trace else None)
        self.chain = Chain(self.kernel)
        self.onions = Onions()
        self.network = Network(self.kernel, self.onions)
        self.disks = Disks(on_disk=on_disk)
        self.decode: dict[str, Invoice] = {}
        self.routes: dict[tuple[NodeId, NodeId], list[NodeId]] = {}
        self.messenger = Messenger(self.onions, self.routes)
        self.nodes: dict[str, SimNode] = {}
        self.phones: dict[NodeId, Phone] = {}
        self.lsp_of: dict[str, LspProcess] = {}
        self.processes: dict[str, Process] = {}
        self.plugin_died: set[HtlcKey] = set()
        self.closed_channel = False

    def close(self) -> None:
        """Delete its stores."""
        for process in self.processes.values():
            process.kill()
        self.disks.close()

    # --- for subclasses ---

    def add_node(self, name: str, implementation: str) -> SimNode:
        """Add a node without connections."""
        node = SimNode(self.kernel, self.chain, self.network, self.onions, name, IMPLEMENTATIONS[implementation])
        self.nodes[name] = node
        return node

    def connect(self, one: SimNode, other: SimNode, channels: int) -> Connection:
        """Make two nodes peers, with this number of channels; `one` dials."""
        connection = self.network.connect(one, other)
        for _ in range(channels):
            scid = ShortChannelId.parse(f"100x{len(self.chain.channels) + 1}x0")
            channel = Channel(self.kernel, connection, scid, {one.name: BALANCE_MSAT, other.name: BALANCE_MSAT})
            connection.channels.append(channel)
            self.chain.channels.append(channel)
        return connection

    def find_routes(self) -> None:
        """Find the routes between all nodes, once all are connected."""
        for source in self.chain.nodes:
            routes: dict[NodeId, list[NodeId]] = {source.id: []}
            queue = deque([source])
            while queue:
                node = queue.popleft()
                for peer, connection in node.connections.items():
                    if peer not in routes:
                        routes[peer] = [*routes[node.id], peer]
                        queue.append(connection.other(node))
            self.routes.update({(source.id, target): route for target, route in routes.items()})

    def add_route(self, source: SimNode, payee: NodeId, first_hop: NodeId | None) -> None:
        """Add the route along which `source` pays the payee; first_hop: if the order names it."""
        by_id = {each.id: each for each in self.chain.nodes}
        route = self.routes[source.id, payee]
        source.payments.routes[payee, first_hop] = [by_id[each] for each in route]

    def add_lsp(self, node: SimNode, policy: LspPolicy) -> LspProcess:
        """Add the component of an LSP's node."""
        node.intercepts = True
        lsp = LspProcess(node, self.disks.disk(node.name), policy, self.messenger, self.decode, self._push)
        lsp.on_notify = self._notified
        self.processes[node.name] = lsp
        return lsp

    def add_phone(
        self, node: SimNode, lsp: LspProcess, policy: PayerPolicy, *, wakes_after: float | None, stays: float
    ) -> Phone:
        """Add a phone with its wallet, a client of this LSP."""
        disk = self.disks.disk(f"{node.name}-wallet")
        wallet = WalletProcess(node, disk, policy, self.onions, self.messenger, self.decode)
        phone = self.phones[node.id] = Phone(node, wallet, wakes_after=wakes_after, stays=stays)
        self.lsp_of[node.name] = lsp
        self.processes[wallet.name] = wallet
        return phone

    def start_all(self) -> None:
        """Start every process, and connect all nodes."""
        for connection in self.network.connections:
            connection.dial_soon(0)
        for process in self.processes.values():
            process.start()

    def _notified(self, client: NodeId, method: str, connected_at: float) -> None:
        phone = self.phones.get(client)
        if phone is not None:
            phone.notified(method, connected_at)

    def _push(self, client: NodeId, method: str, report: Callable[[bool], None]) -> None:
        phone = self.phones.get(client)
        if phone is not None:
            phone.push(method, report)

    # --- how it goes on ---

    def run_for(self, seconds: float) -> None:
        """Advance virtual time."""
        end = self.kernel.now + seconds
        while self.kernel.next_at() <= end:
            self.kernel.step()
        self.kernel.now = end

    # --- by name ---

    def connection(self, name: str) -> Connection | None:
        """Return the connection with this name; None if there is none."""
        return next((each for each in self.network.connections if each.name == name), None)

    def phone(self, name: str) -> Phone | None:
        """Return the phone with this node; None if the node is not a phone's."""
        node = self.nodes.get(name)
        return None if node is None else self.phones.get(node.id)

    # --- for checks ---

    def worth(self, node: SimNode) -> int:
        """Return a node's balance in its channels if all HTLCs that it offered were returned."""
        return sum(
            channel.balance_msat[node.name]
            + sum(htlc.amount_msat for htlc in channel.htlcs if htlc.offerer is node and not htlc.gone)
            for channel in node.channels()
        )


def register(lsp: LspProcess, client: SimNode) -> None:
    """Register a webhook for the client's device."""
    lsp.enqueue(lsp_io.WebhookSet(client.id, "phone", f"https://push.example/{client.name}"))
