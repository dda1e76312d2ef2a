"""What every simulation has: one clock, one chain, nodes and channels between them, LSPs and phones beside them."""

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
    """Subclasses make the nodes, channels and processes, and say what happens. Must be closed.

    decode: what nodes read in BOLT 11 texts. phones: by node id. lsp_of: by a phone's name. clients: of the LSPs.
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
        """Throw it away."""
        for process in self.processes.values():
            process.kill()
        self.disks.close()

    # --- for subclasses ---

    def add_node(self, name: str, implementation: str) -> SimNode:
        """A node without connections."""
        node = SimNode(self.kernel, self.chain, self.network, self.onions, name, IMPLEMENTATIONS[implementation])
        self.nodes[name] = node
        return node

    def connect(self, one: SimNode, other: SimNode, channels: int) -> Connection:
        """Make them peers, with so many channels; `one` dials."""
        connection = self.network.connect(one, other)
        for _ in range(channels):
            scid = ShortChannelId.parse(f"100x{len(self.chain.channels) + 1}x0")
            channel = Channel(self.kernel, connection, scid, {one.name: BALANCE_MSAT, other.name: BALANCE_MSAT})
            connection.channels.append(channel)
            self.chain.channels.append(channel)
        return connection

    def find_routes(self) -> None:
        """From every node to every other, once all are connected."""
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
        """Along which `source` pays the payee; first_hop: where the order says so."""
        by_id = {each.id: each for each in self.chain.nodes}
        route = self.routes[source.id, payee]
        source.payments.routes[payee, first_hop] = [by_id[each] for each in route]

    def add_lsp(self, node: SimNode, policy: LspPolicy) -> LspProcess:
        """The component beside an LSP's node."""
        node.intercepts = True
        lsp = LspProcess(node, self.disks.disk(node.name), policy, self.messenger, self.decode, self._push)
        lsp.on_notify = self._notified
        self.processes[node.name] = lsp
        return lsp

    def add_phone(
        self, node: SimNode, lsp: LspProcess, policy: PayerPolicy, *, wakes_after: float | None, stays: float
    ) -> Phone:
        """A phone with its wallet, a client of this LSP."""
        disk = self.disks.disk(f"{node.name}-wallet")
        wallet = WalletProcess(node, disk, policy, self.onions, self.messenger, self.decode)
        phone = self.phones[node.id] = Phone(node, wallet, wakes_after=wakes_after, stays=stays)
        self.lsp_of[node.name] = lsp
        self.processes[wallet.name] = wallet
        return phone

    def start_all(self) -> None:
        """Everybody dials, and every process runs."""
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
        """Let time pass."""
        end = self.kernel.now + seconds
        while self.kernel.next_at() <= end:
            self.kernel.step()
        self.kernel.now = end

    # --- by name ---

    def connection(self, name: str) -> Connection | None:
        """By its name; None where there is none."""
        return next((each for each in self.network.connections if each.name == name), None)

    def phone(self, name: str) -> Phone | None:
        """The phone with this node; None if it is no phone's."""
        node = self.nodes.get(name)
        return None if node is None else self.phones.get(node.id)

    # --- what onlookers see ---

    def worth(self, node: SimNode) -> int:
        """What a node's channels would pay it if every HTLC of its own came back to it."""
        return sum(
            channel.balance_msat[node.name]
            + sum(htlc.amount_msat for htlc in channel.htlcs if htlc.offerer is node and not htlc.gone)
            for channel in node.channels()
        )


def register(lsp: LspProcess, client: SimNode) -> None:
    """The client's device is to be notified."""
    lsp.enqueue(lsp_io.WebhookSet(client.id, "phone", f"https://push.example/{client.name}"))
