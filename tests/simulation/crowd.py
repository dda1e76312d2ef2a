"""Many concurrent payments: phones at two LSPs pay one another, hundreds of payments interleaved.

    P0 P1 ... ══ LSP_0 ── router ── LSP_1 ══ ... P38 P39

Each LSP serves payers and payees; payer and payee may share one. execution.py tests properties of one payment; this
module tests interactions of payments, clients and channels: which set a part is counted for, which client a limit
applies to, and what remains after all payments have ended. A number always names the same run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from asyncpay.engine.payer.planning import PayOptions
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import FINISHED, State
from asyncpay.engine.policy import LspPolicy, PayerPolicy, describe
from asyncpay.lightning import Invoice

from .channels import SimHtlc
from .disturbances import (
    APART_SECONDS,
    DOWN_SECONDS,
    LATE_SECONDS,
    MESSAGE_FAULTS,
    Crash,
    Cut,
    Disturbance,
    Mine,
    NodeCrash,
    Rename,
    Sleep,
    Wake,
)
from .environment import Environment, register
from .invoices import SimInvoice
from .kernel import Failpoint
from .lsp import LspProcess
from .network import Delayed, Duplicated, Lost, Rejected
from .node import NETWORK_NAME, SimNode
from .phone import Phone
from .schedule import is_message
from .simulation import MIN_FINAL_BLOCKS
from .wallet import Order

MOST_PARTS = 3
MOST_PAYMENTS = 4
"""The limit for one payer, with which neither its requests nor its parts exceed the LSP's limits."""
MAX_HOLDS = MOST_PARTS * MOST_PAYMENTS
INVOICE_SECONDS = 2 * 86_400
CHANCES = (0.0, 0.001, 0.003, 0.01)
"""The chance of a disturbance at any failpoint; one of these for a whole run."""
MOST_DISTURBANCES = 150
LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdSetup:
    """phones: per LSP. payments: in total. within_seconds: the time in which they start. lsps: implementations."""

    phones: int
    payments: int
    within_seconds: float
    turbulence_seconds: float
    lsps: tuple[str, str]
    chance: float

    @classmethod
    def draw(cls, random: Random, payments: int) -> "CrowdSetup":
        """Draw any crowd with this number of payments."""
        return cls(
            phones=max(3, payments // random.choice([3, 4, 6])),
            payments=payments,
            within_seconds=random.choice([5.0, 60.0, 200.0]),
            turbulence_seconds=random.choice([60.0, 300.0, 900.0]),
            lsps=(random.choice(["LND", "CLN"]), random.choice(["LND", "CLN"])),
            chance=random.choice(CHANCES),
        )


@dataclass(eq=False, slots=True)
class CrowdPayment:
    """One planned payment. cancelled: its user cancels it. willing: the invoice can be paid."""

    number: int
    payer: Phone
    payee: Phone
    lsp: LspProcess
    pid: bytes
    preimage: bytes
    invoice: SimInvoice
    most_msat: int
    willing: bool
    cancelled: bool = False
    ordered: bool = False

    @property
    def payment_hash(self) -> bytes:
        return self.invoice.invoice.payment_hash

    @property
    def stored(self) -> OutgoingPayment | None:
        """In the payer's wallet."""
        return self.payer.wallet.payment(self.payment_hash)

    def htlcs(self) -> list[SimHtlc]:
        """Every HTLC that the payer's node ever sent for it."""
        known = self.payer.node.payments.known.get(self.payment_hash)
        return [] if known is None else known.htlcs


@dataclass
class CrowdInjector:
    """Disturbs a crowd. `injected`: the disturbances with their failpoints. `calm`: inject no more."""

    random: Random
    chance: float
    calm: bool = False
    injected: list[tuple[Failpoint, Disturbance]] = field(default_factory=list)
    crowd: "Crowd | None" = None

    def __call__(self, failpoint: Failpoint) -> list[Any]:
        if self.crowd is None or self.calm or len(self.injected) >= MOST_DISTURBANCES:
            return []
        if self.random.random() >= self.chance:
            return []
        disturbance = self._draw(failpoint.name, self.crowd)
        self.injected.append((failpoint, disturbance))
        self.crowd.kernel.log("!", "just before %s: %s", failpoint, disturbance)
        if isinstance(disturbance, MESSAGE_FAULTS):
            return [disturbance]
        disturbance.apply(self.crowd)  # type: ignore[arg-type]
        return []

    def _draw(self, failpoint: str, crowd: "Crowd") -> Disturbance:
        random = self.random
        faults: list[Disturbance] = [Lost(), Delayed(random.choice(LATE_SECONDS))]
        if failpoint.startswith("push to"):
            return random.choice([*faults, Rejected()])
        if is_message(failpoint):
            return random.choice([*faults, Duplicated()])
        phone, lsp = random.choice(list(crowd.phones.values())), random.choice(crowd.lsps).name
        link, channel = random.choice(crowd.network.connections).name, random.randrange(len(crowd.chain.channels))
        makers: list[Callable[[], Disturbance]] = [
            lambda: Crash(lsp, random.choice(DOWN_SECONDS)),
            lambda: Crash(phone.wallet.name, random.choice(DOWN_SECONDS)),
            lambda: NodeCrash(random.choice([lsp, "router", phone.name]), random.choice(DOWN_SECONDS)),
            lambda: Cut(link, random.choice(APART_SECONDS), random.choice([0, 1, 2])),
            lambda: Sleep(phone.name, random.random() < 0.4),
            lambda: Wake(phone.name, LOOK_SECONDS),
            lambda: Mine(random.choice([1, 2, 5])),
            lambda: Rename(channel),
        ]
        return random.choice(makers)()


class Crowd(Environment):
    """Phones, two LSPs, and the actions of their users. payments: by payment hash. hurried: users switch a phone off
    as soon as it has handed over.
    """

    def __init__(self, setup: CrowdSetup, random: Random, *, with_trace: bool = False) -> None:
        super().__init__(with_trace=with_trace)
        self.setup = setup
        self.payments: dict[bytes, CrowdPayment] = {}
        self.hurried = True
        self._random = random
        self._policy = PayerPolicy(slack_blocks=random.choice([40, 80]), return_blocks=20)
        self._build(setup)
        self.start_all()
        for phone in self.phones.values():
            register(self.lsp_of[phone.name], phone.node)
        self.run_for(1.0)
        for number in range(setup.payments):
            self._plan(number)
        self.run_for(1.0)
        for phone in self.phones.values():
            phone.sleep()
        self.balances_at_start = {node.name: self.worth(node) for node in self.chain.nodes}

    def _build(self, setup: CrowdSetup) -> None:
        random = self._random
        lsp_nodes = [self.add_node(f"LSP_{number}", kind) for number, kind in enumerate(setup.lsps)]
        router = self.add_node("router", "LND")
        homes: list[tuple[SimNode, int]] = []
        for number in range(2 * setup.phones):
            node = self.add_node(f"P{number}", random.choice(["LND", "CLN"]))
            self.connect(node, lsp_nodes[number % len(lsp_nodes)], random.choice([1, 1, 2]))
            node.payments.parts = random.randint(1, MOST_PARTS)
            homes.append((node, number % len(lsp_nodes)))
        for node in lsp_nodes:
            self.connect(node, router, 2)
        self.find_routes()
        policy = LspPolicy(max_holds=MAX_HOLDS, on_behalf_margin_blocks=40, on_behalf_min_part_msat=1_000_000)
        self.lsps = [self.add_lsp(node, policy) for node in lsp_nodes]
        for node, home in homes:
            wakes_after = random.choice([2.0, 2.0, 40.0, None])
            self.add_phone(
                node, self.lsps[home], self._policy, wakes_after=wakes_after, stays=random.choice([20.0, 60.0])
            )
        self.clients = tuple(self.phones)

    def _plan(self, number: int) -> None:
        """Plan a payment of a payer with fewer than MOST_PAYMENTS, starting at some time."""
        random = self._random
        begun = [payment.payer for payment in self.payments.values()]
        payers = [phone for phone in self.phones.values() if begun.count(phone) < MOST_PAYMENTS]
        payer = random.choice(payers)
        payee = random.choice([phone for phone in self.phones.values() if phone is not payer])
        preimage = sha256(b"preimage %d" % number).digest()
        amount_msat = 10_000_000 + 1_000 * random.randrange(20_000) + number
        invoice = Invoice(
            text=f"lnbcrt{number}",
            payment_hash=sha256(preimage).digest(),
            payee=payee.node.id,
            amount_msat=amount_msat,
            network=NETWORK_NAME,
            expires_at=int(self.kernel.now) + INVOICE_SECONDS,
            min_final_cltv_expiry=MIN_FINAL_BLOCKS,
            payment_secret=sha256(b"secret %d" % number).digest(),
        )
        self.decode[invoice.text] = invoice
        payment = CrowdPayment(
            number=number,
            payer=payer,
            payee=payee,
            lsp=self.lsp_of[payer.name],
            pid=sha256(b"pid %d" % number).digest(),
            preimage=preimage,
            invoice=payee.node.invoices.add(invoice, preimage),
            most_msat=amount_msat + self._policy.fee_base_msat + amount_msat * self._policy.fee_per_million // 10**6,
            willing=random.random() < 0.9,
        )
        payment.invoice.cancelled = not payment.willing
        self.payments[payment.payment_hash] = payment
        payer.wallet.on_payment = lambda _: self._leave_soon(payer)
        at = 2.0 + random.random() * self.setup.within_seconds
        self.kernel.call_later(at, lambda: self._begin(payment))
        if random.random() < 0.05:
            self.kernel.call_later(at + random.choice([1.0, 30.0, 300.0]), lambda: self._cancel(payment))

    def _begin(self, payment: CrowdPayment) -> None:
        """The user wakes the phone and pays; the node needs a moment to connect to its LSP."""
        payment.payer.wake(LOOK_SECONDS)
        self.kernel.call_later(1.0, lambda: self._order(payment), payment.payer.node.lifetime)

    def _order(self, payment: CrowdPayment) -> None:
        payer, lsp = payment.payer, payment.lsp
        if not payer.wallet.running:
            return
        for source, first_hop in ((payer.node, lsp.node.id), (lsp.node, None)):
            self.add_route(source, payment.payee.node.id, first_hop)
        payment.ordered = True
        payer.wallet.pay(
            Order(
                lsp=lsp.node,
                route_to_payee=tuple(self.routes[payer.node.id, payment.payee.node.id]),
                invoice=payment.invoice.invoice,
                pid=payment.pid,
                terms=describe(lsp.policy, lsp.node.implementation.capabilities),
                wishes=PayOptions(hold_for_seconds=self._random.choice([600, 20_000, 20_000])),
                private=self._random.random() < 0.3,
            )
        )

    def _cancel(self, payment: CrowdPayment) -> None:
        if payment.ordered:
            payment.cancelled = True
            payment.payer.wallet.cancel(payment.payment_hash)

    def _leave_soon(self, payer: Phone) -> None:
        """The user switches the phone off once all its payments are handed over or have ended."""
        theirs = [payment.stored for payment in self.payments.values() if payment.payer is payer and payment.ordered]
        if self.hurried and all(each is not None and each.state in (State.HANDED_OVER, *FINISHED) for each in theirs):
            self.kernel.call_later(1.0, payer.sleep, payer.node.lifetime)
