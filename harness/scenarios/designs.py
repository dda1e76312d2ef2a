"""Two designs by which A pays B while the two are never online together, behind one interface: asyncpay's protocol, and
LDK's own (BOLT 12 static invoices; the payer's LSP holds the HTLC). Both run on LDK nodes, with the same phones.
"""

from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Any, ClassVar

from harness.errors import NodeError, TestbedError
from harness.nodes.ldk import LdkNode
from harness.scenarios.async_payment import AMOUNT_MSAT, ROLES
from harness.services.lsp import interceptor_attached
from harness.services.wallet import FAILED, HANDED_OVER, SETTLED
from harness.testbed import Testbed
from harness.timeline import steps
from harness.topology import Topology, load
from harness.waits import Predicate, wait_for

READY_SECONDS = 60
LINE = (ROLES.payer, ROLES.payer_lsp, "router", ROLES.payee_lsp, ROLES.payee)
FAIL_BACK_BLOCKS = 39
"""How long before its outgoing expiry LDK fails an HTLC that it holds (HTLC_FAIL_BACK_BUFFER, channelmonitor.rs)."""


class Design(ABC):
    """One design on its testbed, with one payment at a time. Its methods raise NodeError like nodes and wallets."""

    name: ClassVar[str]

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.a, self.b = testbed.phone(ROLES.payer), testbed.phone(ROLES.payee)

    @classmethod
    @abstractmethod
    def topology(cls) -> Topology:
        """Return the topology that the design runs on."""

    @abstractmethod
    def prepare(self) -> None:
        """Prepare both phones; return once they can pay and be paid."""

    @abstractmethod
    def request(self) -> str:
        """Return the payment request that B gives A. B must be online."""

    @abstractmethod
    def pay(self, request: str) -> None:
        """Start the payment from A; return immediately."""

    @abstractmethod
    def missing_to_be_handed_over(self) -> str | None:
        """Return None once A's own software reports that its LSP has the payment, so the phone may go offline."""

    def handed_over_seconds(self) -> float | None:
        """Return the seconds from order to hand-over by A's own log; None if polling every 0.05 s is more exact."""
        return None

    @abstractmethod
    def missing_to_wait_for_b(self) -> str | None:
        """Return None once B's LSP stores the message of this payment for B."""

    @abstractmethod
    def missing_to_be_paid(self) -> str | None:
        """Return None once B's own software reports that it has the money."""

    @abstractmethod
    def ended(self) -> bool | None:
        """Return the outcome that A's own software reports: True for paid, False for returned, None for neither yet."""

    @abstractmethod
    def payment_hash(self) -> str:
        """Return the payment's hash, once it is handed over."""

    @abstractmethod
    def fee_msat(self) -> int:
        """Return what A has paid in addition to the amount, by its own account."""

    @abstractmethod
    def gives_up_at(self) -> int:
        """Return the first height at which LSP_a fails the payment that it holds, back to A."""

    @abstractmethod
    def crash(self, lsp: str) -> None:
        """Kill all processes of an LSP."""

    @abstractmethod
    def start_and_wait(self, lsp: str) -> None:
        """Start the LSP again; return when it works as before."""

    def node(self, name: str) -> LdkNode:
        """Return an LDK node, for data that only LDK provides. Raises TestbedError for another implementation."""
        node = self.testbed[name]
        if not isinstance(node, LdkNode):
            raise TestbedError(f"{name} is a node of {node.implementation}. Use a testbed whose nodes are all of LDK")
        return node

    def onion_messages_sent(self) -> dict[str, int]:
        """Return the onion messages that each node has sent since its start. Each hop of a message counts once."""
        return {name: self.node(name).onion_messages()[0] for name in LINE}


class Asyncpay(Design):
    """The protocol of docs/protocol.md."""

    name = "asyncpay"

    def __init__(self, testbed: Testbed) -> None:
        super().__init__(testbed)
        self._hash = ""
        self._paying: Future[dict[str, Any]] | None = None

    @classmethod
    def topology(cls) -> Topology:
        """See Design.topology."""
        return load("line", dict.fromkeys(LINE, "ldk"))

    def prepare(self) -> None:
        """See Design.prepare."""
        for phone in (self.a, self.b):
            wait_for(phone.wallet.ready(), READY_SECONDS)

    def request(self) -> str:
        """See Design.request: a BOLT 11 invoice."""
        invoice = self.b.wallet.receive(AMOUNT_MSAT)
        self._hash = invoice["payment_hash"]
        return str(invoice["invoice"])

    def pay(self, request: str) -> None:
        """See Design.pay."""
        self._paying = self.a.wallet.paying(request)

    def _state(self) -> str:
        payment = self.a.wallet.payment(self._hash)
        return "unknown" if payment is None else str(payment["state"])

    def missing_to_be_handed_over(self) -> str | None:
        """See Design.missing_to_be_handed_over. A WalletError states why a wallet refuses to pay."""
        if self._paying is not None and self._paying.done():
            self._paying.result()
        state = self._state()
        return None if state in (HANDED_OVER, SETTLED) else f"A says {state}"

    def handed_over_seconds(self) -> float | None:
        """See Design.handed_over_seconds: the order is a process, and starting it takes longer than all the rest."""
        payment = self.a.wallet.payment(self._hash)
        if payment is None:
            return None
        names = self._hash, payment["unblock_hash"]
        reached = {each.step.number: each.time for each in steps.of_payment(self.testbed, ROLES, *names)}
        return round(reached[4] - reached[1], 2) if {1, 4} <= reached.keys() else None

    def missing_to_wait_for_b(self) -> str | None:
        """See Design.missing_to_wait_for_b."""
        waiting = self.testbed.lsp(ROLES.payee_lsp).status()["mailbox"]
        return None if self.b.node.node_id in waiting else f"{ROLES.payee_lsp} keeps messages for {list(waiting)}"

    def missing_to_be_paid(self) -> str | None:
        """See Design.missing_to_be_paid."""
        states = [each["state"] for each in self.b.wallet.announced() if self._hash in each["payment_hashes"]]
        return None if "paid" in states else f"B says {states}"

    def ended(self) -> bool | None:
        """See Design.ended."""
        return {SETTLED: True, FAILED: False}.get(self._state())

    def payment_hash(self) -> str:
        """See Design.payment_hash: the invoice's."""
        return self._hash

    def fee_msat(self) -> int:
        """See Design.fee_msat."""
        payment = self.a.wallet.payment(self._hash)
        return 0 if payment is None else int(payment["fee_msat"])

    def gives_up_at(self) -> int:
        """See Design.gives_up_at: the block after the one by which B must release."""
        blocks = self.testbed.lsp(ROLES.payer_lsp).status()["blocks"]
        found = next((each for each in blocks if self._hash in each["payment_hashes"]), None)
        if found is None:
            raise NodeError(f"{ROLES.payer_lsp} knows no block of {self._hash}")
        return int(found["release_by_height"]) + 1

    def crash(self, lsp: str) -> None:
        """See Design.crash: the component and its node."""
        self.testbed.lsp(lsp).kill()
        self.testbed.kill(lsp)

    def start_and_wait(self, lsp: str) -> None:
        """See Design.start_and_wait."""
        self.testbed.start_and_wait(lsp)
        self.testbed.lsp(lsp).start()
        wait_for(interceptor_attached(self.testbed.lsp(lsp)), READY_SECONDS)


class LdkNative(Design):
    """LDK's own async payments; the wallets of the phones are not used."""

    name = "ldk-native"

    def __init__(self, testbed: Testbed) -> None:
        super().__init__(testbed)
        self._payer, self._payee = self.node(ROLES.payer), self.node(ROLES.payee)
        self._lsp_a, self._lsp_b = self.node(ROLES.payer_lsp), self.node(ROLES.payee_lsp)
        self._offer = self._payment_id = ""

    @classmethod
    def topology(cls) -> Topology:
        """See Design.topology."""
        return load("line-ldk-native")

    def prepare(self) -> None:
        """See Design.prepare: wait for B's first offer, whose static invoice is at LSP_b."""
        for name in (ROLES.payer, ROLES.payee):
            wait_for(self.testbed.channels_usable(name), READY_SECONDS)
        self._payee.set_static_invoice_server(self._lsp_b.static_invoice_paths(self._payee))
        wait_for(Predicate("offer_made", self._missing_offer), READY_SECONDS)

    def _missing_offer(self) -> str | None:
        self._offer = self._payee.async_offer()  # raises NodeError while there is none: the wait continues
        return None

    def request(self) -> str:
        """See Design.request: the offer, which is the same for all payments."""
        return self._offer

    def pay(self, request: str) -> None:
        """See Design.pay."""
        self._payment_id = self._payer.pay_offer(request, AMOUNT_MSAT)

    def _payment(self) -> dict[str, Any]:
        return self._payer.offer_payment(self._payment_id)

    def missing_to_be_handed_over(self) -> str | None:
        """See Design.missing_to_be_handed_over: LDK reports only that the HTLC is locked in."""
        payment = self._payment()
        locked_in = payment["locked_in"] or payment["status"] == "succeeded"
        return None if locked_in else f"A says {payment['status']} {payment['failure']}"

    def missing_to_wait_for_b(self) -> str | None:
        """See Design.missing_to_wait_for_b. The HTLC must be locked in at both ends, too.

        A alone cannot see that (`missing_to_be_handed_over`). If A goes offline before, LSP_a forwards when A is back.
        """
        if not any(channel.htlcs_locked_in for channel in self._lsp_a.channels()):
            return f"the HTLC is not locked in at {ROLES.payer_lsp}"
        return None if self._lsp_b.stored_onion_messages(self._payee) else f"{ROLES.payee_lsp} keeps no message for B"

    def missing_to_be_paid(self) -> str | None:
        """See Design.missing_to_be_paid."""
        return None if self.payment_hash() in self._payee.offer_receipts() else "B has no such receipt"

    def ended(self) -> bool | None:
        """See Design.ended."""
        return {"succeeded": True, "failed": False}.get(self._payment()["status"])

    def payment_hash(self) -> str:
        """See Design.payment_hash: chosen by A, whose node reports it also while the phone is offline."""
        return str(self._payment()["payment_hash"])

    def fee_msat(self) -> int:
        """See Design.fee_msat."""
        return int(self._payment()["fee_msat"])

    def gives_up_at(self) -> int:
        """See Design.gives_up_at: LDK's own margin before the expiry of the outgoing HTLC."""
        expiry = self._lsp_a.incoming_expiry(self.payment_hash())
        if expiry is None:
            raise NodeError(f"{ROLES.payer_lsp} has no HTLC of {self.payment_hash()}")
        return expiry - self._lsp_a.cltv_delta_blocks() - FAIL_BACK_BLOCKS

    def crash(self, lsp: str) -> None:
        """See Design.crash."""
        self.testbed.kill(lsp)

    def start_and_wait(self, lsp: str) -> None:
        """See Design.start_and_wait."""
        self.testbed.start_and_wait(lsp)


DESIGNS: tuple[type[Design], ...] = (Asyncpay, LdkNative)
