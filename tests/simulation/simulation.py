"""The simulated sim: a payer, a payee, their LSPs, a router between them and a stranger beside them.

    A ══ LSP_a ── router ── LSP_b ── B          A ══ LSP_a ── B     (shared)
           │                                          │
           C                                          C

A has two channels. C is a client of LSP_a like A, and the attacker. What each kind of node does
is in node.py, what the engines' processes do in lsp.py and wallet.py; this file puts them together.
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256

from asyncpay.engine.lsp import events as on
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Block
from asyncpay.engine.payer.planning import LspTerms, PayOptions
from asyncpay.engine.payer.policy import PayerPolicy
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import State
from asyncpay.lightning import HtlcKey, Invoice, NodeId, ShortChannelId
from asyncpay.wire.messages import unblock_hash

from .attacker import Attacker, FairShare
from .channels import Chain, Channel, SimHtlc
from .collusion import Colluders
from .implementations import IMPLEMENTATIONS
from .invariants import Checker
from .invoices import SimInvoice
from .kernel import Injector, Kernel
from .lsp import LspProcess
from .network import Connection, Network
from .node import NETWORK_NAME, SimNode
from .onions import Messenger, Onions
from .phone import Phone
from .process import Disks
from .setup import Setup
from .wallet import Order, WalletProcess

AMOUNT_MSAT = 100_000_000
BALANCE_MSAT = 10_000_000_000
LSP_POLICY = LspPolicy(on_behalf_margin_blocks=40, on_behalf_min_part_msat=1_000_000)
INVOICE_SECONDS = 14 * 86_400
MIN_FINAL_BLOCKS = 24
PID = sha256(b"pid").digest()
PREIMAGE = sha256(b"preimage").digest()
HASH = sha256(PREIMAGE).digest()


class Simulation:
    """Everything there is. Must be closed."""

    a: SimNode
    line: list[SimNode]
    attacker: Attacker
    processes: "dict[str, LspProcess | WalletProcess]"

    def __init__(self, setup: Setup, injector: Injector, *, with_trace: bool = False) -> None:
        self.setup = setup
        self.kernel = Kernel(trace=[] if with_trace else None)
        self.chain = Chain(self.kernel)
        self.onions = Onions()
        self.network = Network(self.kernel, self.onions)
        self.disks = Disks(on_disk=setup.on_disk)
        self.decode: dict[str, Invoice] = {}
        self._routes: dict[tuple[NodeId, NodeId], list[NodeId]] = {}
        self.payment_hash: bytes = HASH
        self.pid: bytes = PID
        self.preimage: bytes = PREIMAGE
        self.colluders: Colluders | None = None
        self.plugin_died: set[HtlcKey] = set()
        self.released_at: dict[bytes, int] = {}
        self.ended_at: dict[bytes, float] = {}
        self.cancelled = False
        self.checked_handover = False
        self.closed_channel = False
        self._has_left = False
        self._build_nodes(setup)
        self._build_processes(setup)
        self._begin(setup)
        self.balances_at_start = {node.name: self.worth(node) for node in self.chain.nodes}
        self.fair_share = FairShare(self)
        self.lsp_b.on_answer = self.fair_share.answered
        self.watch = Checker(self)
        self.kernel.injector = injector

    def close(self) -> None:
        """Throw it away."""
        for process in self.processes.values():
            process.kill()
        self.disks.close()

    # --- how it is made ---

    def _build_nodes(self, setup: Setup) -> None:
        def node(name: str, implementation: str) -> SimNode:
            return SimNode(self.kernel, self.chain, self.network, self.onions, name, IMPLEMENTATIONS[implementation])

        self.a, self.b = node("A", setup.payer), node("B", setup.payee)
        self.lsp_a_node = node("LSP_a", setup.payer_lsp)
        self.lsp_b_node = self.lsp_a_node if setup.shared else node("LSP_b", setup.payee_lsp)
        self.c = node("C", "LND")
        self._scid = 0
        self.a_link = self._connect(self.a, self.lsp_a_node, 2)
        if setup.shared:
            self.line = [self.a, self.lsp_a_node, self.b]
        else:
            router = node("router", "LND")
            self.line = [self.a, self.lsp_a_node, router, self.lsp_b_node, self.b]
            self._connect(self.lsp_a_node, router, 1)
            self._connect(self.lsp_b_node, router, 1)
        self.b_link = self._connect(self.b, self.lsp_b_node, 1)
        self._connect(self.c, self.lsp_a_node, 1)
        for each in self.chain.nodes:
            self._find_routes(each)
        for channel in self.chain.channels:
            channel.first_id = setup.first_htlc_id
        self.lsp_a_node.replays = self.lsp_b_node.replays = setup.replays
        self.a.payments.parts, self.a.payments.sends_anew = setup.parts, setup.sends_anew
        self.a.payments.slow_seconds = setup.slow_seconds
        by_id = {each.id: each for each in self.chain.nodes}
        for source, through in ((self.a, self.lsp_a_node.id), (self.lsp_a_node, None), (self.c, None)):
            route = self._routes[source.id, self.b.id]
            source.payments.routes[self.b.id, through] = [by_id[each] for each in route]
        self.nodes = {each.name: each for each in self.chain.nodes} | {"LSP_b": self.lsp_b_node}

    def _connect(self, one: SimNode, other: SimNode, channels: int) -> Connection:
        connection = self.network.connect(one, other)
        for _ in range(channels):
            self._scid += 1
            scid = ShortChannelId.parse(f"100x{self._scid}x0")
            channel = Channel(self.kernel, connection, scid, {one.name: BALANCE_MSAT, other.name: BALANCE_MSAT})
            connection.channels.append(channel)
            self.chain.channels.append(channel)
        return connection

    def _find_routes(self, source: SimNode) -> None:
        routes: dict[NodeId, list[NodeId]] = {source.id: []}
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for peer, connection in node.connections.items():
                if peer not in routes:
                    routes[peer] = [*routes[node.id], peer]
                    queue.append(connection.other(node))
        self._routes.update({(source.id, target): route for target, route in routes.items()})

    def _build_processes(self, setup: Setup) -> None:
        messenger = self.messenger = Messenger(self.onions, self._routes)
        policy = PayerPolicy(slack_blocks=setup.slack_blocks, return_blocks=setup.return_blocks)
        self.most_msat = AMOUNT_MSAT + policy.fee_base_msat + AMOUNT_MSAT * policy.fee_per_million // 1_000_000

        def lsp(node: SimNode) -> LspProcess:
            node.intercepts = True
            disk = self.disks.disk(node.name)
            return LspProcess(node, disk, LSP_POLICY, messenger, self.decode, self._push)

        def phone(node: SimNode, wakes_after: float | None, stays: float) -> Phone:
            wallet = WalletProcess(
                node, self.disks.disk(f"{node.name}-wallet"), policy, self.onions, messenger, self.decode
            )
            return Phone(node, wallet, wakes_after=wakes_after, stays=stays)

        self.lsp_a = lsp(self.lsp_a_node)
        self.lsp_b = self.lsp_a if setup.shared else lsp(self.lsp_b_node)
        self.lsps = [self.lsp_a] if setup.shared else [self.lsp_a, self.lsp_b]
        self.phone_a = phone(self.a, setup.payer_wakes_after, 60.0)
        self.phone_b = phone(self.b, setup.payee_wakes_after, setup.payee_stays)
        self.phones = {self.a.id: self.phone_a, self.b.id: self.phone_b}
        self.lsp_of = {self.a.name: self.lsp_a, self.b.name: self.lsp_b}
        self.phone_a.wallet.on_payment = self._payer_leaves
        self.attacker = Attacker(self.c, self.lsp_a_node, messenger, HASH)
        self.processes = {"LSP_a": self.lsp_a, "LSP_b": self.lsp_b}
        self.processes |= {phone.wallet.name: phone.wallet for phone in self.phones.values()}

    def _push(self, client: NodeId, method: str, report: "object") -> None:
        phone = self.phones.get(client)
        if phone is not None:
            phone.push(method, report)  # type: ignore[arg-type]

    def _begin(self, setup: Setup) -> None:
        """Everybody is there; then the payee goes, and the payer pays."""
        for connection in self.network.connections:
            connection.dial_soon(0)
        for lsp in self.lsps:
            lsp.start()
        for phone in self.phones.values():
            phone.wallet.start()
        self.lsp_a.enqueue(on.WebhookSet(self.a.id, "phone", "https://push.example/a"))
        self.lsp_a.enqueue(on.WebhookSet(self.c.id, "phone", "https://push.example/c"))
        self.lsp_b.enqueue(on.WebhookSet(self.b.id, "phone", "https://push.example/b"))
        self.run_for(1.0)
        self.invoice = self._invoice()
        if not setup.payee_willing:
            self.invoice.cancelled = True
        if not setup.payee_awake:
            self.phone_b.sleep()
        self.run_for(1.0)
        if setup.collusion is None:
            self._order(setup)
        else:
            self.colluders = Colluders(self, setup.collusion)
            self.colluders.begin()

    def _invoice(self) -> SimInvoice:
        invoice = Invoice(
            text="lnbcrt1",
            payment_hash=HASH,
            payee=self.b.id,
            amount_msat=AMOUNT_MSAT,
            network=NETWORK_NAME,
            expires_at=int(self.kernel.now) + INVOICE_SECONDS,
            min_final_cltv_expiry=MIN_FINAL_BLOCKS,
            payment_secret=sha256(b"the payment secret").digest(),
        )
        self.decode[invoice.text] = invoice
        return self.b.invoices.add(invoice, PREIMAGE)

    def _order(self, setup: Setup) -> None:
        offer = self.lsp_a.policy
        self.phone_a.wallet.pay(
            Order(
                lsp=self.lsp_a_node,
                route_to_payee=tuple(each.id for each in self.line[1:]),
                invoice=self.invoice.invoice,
                pid=PID,
                terms=LspTerms(
                    max_amount_msat=offer.max_amount_msat,
                    max_hold_seconds=offer.max_hold_seconds,
                    max_hold_blocks=offer.max_hold_blocks,
                    min_margin_blocks=offer.min_margin_blocks,
                ),
                wishes=PayOptions(hold_for_seconds=setup.hold_seconds),
                private=setup.private,
                literal=setup.literal,
                courier=setup.courier,
                careless_blocks=setup.careless_blocks,
            )
        )
        if setup.hands_over_early is not None:
            self.kernel.call_later(setup.hands_over_early, self.hands_over_early)
        if setup.payer_leaves_early is not None:
            self.kernel.call_later(setup.payer_leaves_early, self.phone_a.sleep)

    def _payer_leaves(self, payment: OutgoingPayment) -> None:
        """What the wallet tells its user after the handover: you may switch the phone off."""
        if payment.state is State.HANDED_OVER and not self._has_left and self.setup.payer_leaves is not None:
            self._has_left = True
            self.kernel.call_later(self.setup.payer_leaves, self.phone_a.sleep, self.phone_a.node.lifetime)

    # --- how it goes on ---

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        end = self.kernel.now + seconds
        while self.kernel.next_at() <= end:
            self.kernel.step()
        self.kernel.now = end

    # --- what people do ---

    def cancels(self) -> None:
        """A's user wants the payment back."""
        self.cancelled = True
        self.phone_a.wallet.cancel(HASH)

    def hands_over_early(self) -> None:
        """A's wallet sends B the pid before the parts are held."""
        payment = self.phone_a.wallet.payment(HASH)
        if payment is not None and self.a.running:
            self.network.send_onion(self.a, self.lsp_a_node.id, payment.pending)

    def if_blocked(self, deed: Callable[[bytes], None]) -> None:
        """Do it with the name of A's block, if that stands."""
        if self.blocks():
            deed(unblock_hash(PID))

    def connection(self, name: str) -> Connection | None:
        """By its name; None where there is no router."""
        if self.setup.shared:
            name = name.replace("LSP_b", "LSP_a")
        return next((each for each in self.network.connections if each.name == name), None)

    def phone(self, name: str) -> Phone:
        """A's or B's."""
        return self.phone_a if name == "A" else self.phone_b

    # --- what onlookers see ---

    def blocks(self) -> list[Block]:
        """A's blocks, as LSP_a has stored them."""
        return [block for block in self.lsp_a.records(Block) if block.client == self.a.id]

    def sent(self) -> list[SimHtlc]:
        """Every HTLC that A's node ever sent for the payment."""
        if self.colluders is not None:
            return self.colluders.sent
        payment = self.a.payments.known.get(HASH)
        return [] if payment is None else payment.htlcs

    def parts(self) -> list[SimHtlc]:
        """Those that LSP_a has."""
        return [htlc for htlc in self.sent() if htlc.arrived]

    def worth(self, node: SimNode) -> int:
        """What a node's channels would pay it if every HTLC of its own came back to it."""
        return sum(
            channel.balance_msat[node.name]
            + sum(htlc.amount_msat for htlc in channel.htlcs if htlc.offerer is node and not htlc.gone)
            for channel in node.channels()
        )
