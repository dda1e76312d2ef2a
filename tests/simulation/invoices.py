"""The invoices of a simulated node, and the sets of parts that pay them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncpay.lightning import Invoice, OwnInvoice
from asyncpay.node_events import InvoicePaid

from .channels import SimHtlc

if TYPE_CHECKING:
    from .node import SimNode

LEAST_FINAL_BLOCKS = 18


@dataclass(eq=False)
class SimInvoice:
    """An invoice of this node. `set_`: parts that wait for the others."""

    invoice: Invoice
    preimage: bytes
    paid_msat: int = 0
    times_paid: int = 0
    cancelled: bool = False
    set_: list[SimHtlc] = field(default_factory=list)


class Invoices:
    """The invoices of one node."""

    def __init__(self, node: "SimNode") -> None:
        self.known: dict[bytes, SimInvoice] = {}
        self._node = node

    def add(self, invoice: Invoice, preimage: bytes) -> SimInvoice:
        """Add a new invoice."""
        self.known[invoice.payment_hash] = SimInvoice(invoice, preimage)
        return self.known[invoice.payment_hash]

    def look_up(self, payment_hash: bytes) -> OwnInvoice | None:
        """See Node.look_up_invoice."""
        known = self.known.get(payment_hash)
        if known is None:
            return None
        return OwnInvoice(
            payment_hash=payment_hash,
            amount_msat=known.invoice.amount_msat,
            expires_at=known.invoice.expires_at,
            payable=not known.times_paid and not known.cancelled,
            paid=bool(known.times_paid),
            payment_secret=known.invoice.payment_secret,
        )

    def start(self) -> None:
        """Handle a restart of the node: the sets still exist, and their timeouts start again."""
        for known in self.known.values():
            if known.set_:
                self._give_up_later(known)

    def take(self, htlc: SimHtlc) -> None:
        """Handle an HTLC that ends here: a part of an invoice, or an unknown one."""
        node, known = self._node, self.known.get(htlc.payment_hash)
        wrong = (
            known is None
            or known.times_paid
            or known.cancelled
            or node.kernel.now > known.invoice.expires_at
            or htlc.total_msat < (known.invoice.amount_msat or 0)
            or htlc.expiry - node.height < LEAST_FINAL_BLOCKS
        )
        if known is None or wrong:
            htlc.channel.resolve(htlc, None)
            return
        known.set_.append(htlc)
        if sum(each.amount_msat for each in known.set_) >= htlc.total_msat:
            self._settle(known)
        elif len(known.set_) == 1:
            self._give_up_later(known)

    def _settle(self, known: SimInvoice) -> None:
        parts, known.set_ = known.set_, []
        known.times_paid += 1
        known.paid_msat += sum(each.amount_msat for each in parts)
        self._node.kernel.log(self._node.name, "is paid %d msat in %d parts", known.paid_msat, len(parts))
        for each in parts:
            each.channel.resolve(each, known.preimage)
        self._node.report(InvoicePaid(known.invoice.payment_hash, known.paid_msat))

    def _give_up_later(self, known: SimInvoice) -> None:
        node = self._node
        node.kernel.call_later(
            node.implementation.mpp_timeout_seconds, self._give_up(known, known.set_[0]), node.lifetime
        )

    def _give_up(self, known: SimInvoice, first: SimHtlc) -> Callable[[], None]:
        def give_up() -> None:
            if known.set_ and known.set_[0] is first:
                parts, known.set_ = known.set_, []
                for each in parts:
                    each.channel.resolve(each, None)

        return give_up
