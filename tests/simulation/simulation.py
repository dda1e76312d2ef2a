"""One payment in a simulation: a payer, a payee, their LSPs, a router between them and an attacker.

    A ══ LSP_a ── router ── LSP_b ── B          A ══ LSP_a ── B     (shared)
           │                                          │
           C                                          C

A has two channels. C is a client of LSP_a like A, and the attacker. The behaviour of nodes is in node.py, that of the
engines' processes in lsp.py and wallet.py; this file combines them.
"""

from collections.abc import Callable
from hashlib import sha256

from asyncpay.engine.lsp.records import Block
from asyncpay.engine.payer.planning import PayOptions
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import State
from asyncpay.engine.policy import LspPolicy, PayerPolicy, describe
from asyncpay.lightning import Invoice
from asyncpay.wire.messages import unblock_hash

from .attacker import Attacker, FairShare
from .channels import SimHtlc
from .collusion import Colluders
from .environment import Environment, register
from .invariants import Checker
from .invoices import SimInvoice
from .kernel import Injector
from .network import Connection
from .node import NETWORK_NAME, SimNode
from .setup import Setup
from .wallet import Order

AMOUNT_MSAT = 100_000_000
BALANCE_MSAT = 10_000_000_000
LSP_POLICY = LspPolicy(on_behalf_margin_blocks=40, on_behalf_min_part_msat=1_000_000)
INVOICE_SECONDS = 14 * 86_400
MIN_FINAL_BLOCKS = 24
PID = sha256(b"pid").digest()
PREIMAGE = sha256(b"preimage").digest()
HASH = sha256(PREIMAGE).digest()


class Simulation(Environment):
    """The complete simulation of one payment. Must be closed."""

    a: SimNode
    line: list[SimNode]
    attacker: Attacker

    def __init__(self, setup: Setup, injector: Injector, *, with_trace: bool = False) -> None:
        super().__init__(on_disk=setup.on_disk, with_trace=with_trace)
        self.setup = setup
        self.payment_hash: bytes = HASH
        self.pid: bytes = PID
        self.preimage: bytes = PREIMAGE
        self.colluders: Colluders | None = None
        self.released_at: dict[bytes, int] = {}
        self.ended_at: dict[bytes, float] = {}
        self.cancelled = False
        self.checked_handover = False
        self._has_left = False
        self._build_nodes(setup)
        self._build_processes(setup)
        self._begin(setup)
        self.balances_at_start = {node.name: self.worth(node) for node in self.chain.nodes}
        self.fair_share = FairShare(self)
        self.lsp_b.on_answer = self.fair_share.answered
        self.watch = Checker(self)
        self.kernel.injector = injector

    # --- construction ---

    def _build_nodes(self, setup: Setup) -> None:
        self.a, self.b = self.add_node("A", setup.payer), self.add_node("B", setup.payee)
        self.lsp_a_node = self.add_node("LSP_a", setup.payer_lsp)
        self.lsp_b_node = self.lsp_a_node if setup.shared else self.add_node("LSP_b", setup.payee_lsp)
        self.c = self.add_node("C", "LND")
        self.a_link = self.connect(self.a, self.lsp_a_node, 2)
        if setup.shared:
            self.line = [self.a, self.lsp_a_node, self.b]
        else:
            router = self.add_node("router", "LND")
            self.line = [self.a, self.lsp_a_node, router, self.lsp_b_node, self.b]
            self.connect(self.lsp_a_node, router, 1)
            self.connect(self.lsp_b_node, router, 1)
        self.b_link = self.connect(self.b, self.lsp_b_node, 1)
        self.connect(self.c, self.lsp_a_node, 1)
        self.find_routes()
        for channel in self.chain.channels:
            channel.first_id = setup.first_htlc_id
        self.lsp_a_node.replays = self.lsp_b_node.replays = setup.replays
        self.a.payments.parts, self.a.payments.sends_anew = setup.parts, setup.sends_anew
        self.a.payments.slow_seconds = setup.slow_seconds
        for source, first_hop in ((self.a, self.lsp_a_node.id), (self.lsp_a_node, None), (self.c, None)):
            self.add_route(source, self.b.id, first_hop)
        self.nodes["LSP_b"] = self.lsp_b_node
        self.clients = self.a.id, self.b.id, self.c.id

    def _build_processes(self, setup: Setup) -> None:
        policy = PayerPolicy(slack_blocks=setup.slack_blocks, return_blocks=setup.return_blocks)
        self.most_msat = AMOUNT_MSAT + policy.fee_base_msat + AMOUNT_MSAT * policy.fee_per_million // 1_000_000
        self.lsp_a = self.add_lsp(self.lsp_a_node, LSP_POLICY)
        self.lsp_b = self.lsp_a if setup.shared else self.add_lsp(self.lsp_b_node, LSP_POLICY)
        self.processes["LSP_b"] = self.lsp_b
        self.lsps = [self.lsp_a] if setup.shared else [self.lsp_a, self.lsp_b]
        self.phone_a = self.add_phone(self.a, self.lsp_a, policy, wakes_after=setup.payer_wakes_after, stays=60.0)
        self.phone_b = self.add_phone(
            self.b, self.lsp_b, policy, wakes_after=setup.payee_wakes_after, stays=setup.payee_stays
        )
        self.phone_a.wallet.on_payment = self._payer_leaves
        self.attacker = Attacker(self.c, self.lsp_a_node, self.messenger, HASH)

    def _begin(self, setup: Setup) -> None:
        """Connect all nodes; then the payee goes offline, and the payer pays."""
        self.start_all()
        register(self.lsp_a, self.a)
        register(self.lsp_a, self.c)
        register(self.lsp_b, self.b)
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
        self.phone_a.wallet.pay(
            Order(
                lsp=self.lsp_a_node,
                route_to_payee=tuple(each.id for each in self.line[1:]),
                invoice=self.invoice.invoice,
                pid=PID,
                terms=describe(self.lsp_a.policy, self.lsp_a.node.implementation.capabilities),
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
        """After the handover the user switches the phone off."""
        if payment.state is State.HANDED_OVER and not self._has_left and self.setup.payer_leaves is not None:
            self._has_left = True
            self.kernel.call_later(self.setup.payer_leaves, self.phone_a.sleep, self.phone_a.node.lifetime)

    # --- actions of users ---

    def cancels(self) -> None:
        """A's user cancels the payment."""
        self.cancelled = True
        self.phone_a.wallet.cancel(HASH)

    def hands_over_early(self) -> None:
        """A's wallet sends B the pid before the parts are held."""
        payment = self.phone_a.wallet.payment(HASH)
        if payment is not None and self.a.running:
            self.network.send_onion(self.a, self.lsp_a_node.id, payment.pending)

    def if_blocked(self, deed: Callable[[bytes], None]) -> None:
        """Call `deed` with the name of A's block, if the block exists."""
        if self.blocks():
            deed(unblock_hash(PID))

    def connection(self, name: str) -> Connection | None:
        """Return the connection with this name; None if there is no router."""
        return super().connection(name.replace("LSP_b", "LSP_a") if self.setup.shared else name)

    # --- for checks ---

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
        """Return the parts that LSP_a has."""
        return [htlc for htlc in self.sent() if htlc.arrived]
