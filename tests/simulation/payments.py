"""The payments of a simulated node: split into parts, each of which is stored permanently."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncpay.lightning import NodeId, PaymentResult, PaymentStatus
from asyncpay.nodes.base import Payment

from .channels import DELTA_BLOCKS, FEE_MSAT, HopPayload, SimHtlc
from .kernel import Lifetime
from .network import Delayed

if TYPE_CHECKING:
    from .node import SimNode

BETWEEN_PARTS_SECONDS = 0.01
MOST_RETRIES = 2
ORDER_SECONDS = 0.001

Report = Callable[[PaymentResult], None]


@dataclass(eq=False)
class SimPayment:
    """One payment, known by its hash.

    amounts: of its parts, by number. sent: numbers of the sent ones. sending: the lifetime of the sending process.
    """

    order: Payment
    began_at: float
    amounts: list[int]
    sent: set[int] = field(default_factory=set)
    htlcs: list[SimHtlc] = field(default_factory=list)
    retries: int = 0
    failure: str = ""
    sending: Lifetime = field(default_factory=Lifetime)
    waiting: list[tuple[Lifetime, Report]] = field(default_factory=list)

    @property
    def nothing_sent(self) -> bool:
        """Whether the process that should send its parts has died before the first."""
        return not self.sent and self.sending.over

    def result(self) -> PaymentResult:
        """Return its current state."""
        flying = [htlc for htlc in self.htlcs if not htlc.gone]
        taken = [htlc for htlc in self.htlcs if htlc.gone and htlc.preimage is not None]
        if flying:
            return PaymentResult(
                status=PaymentStatus.IN_FLIGHT,
                parts_in_flight=len(flying),
                in_flight_msat=sum(_delivered(htlc) for htlc in flying),
            )
        if taken:
            fee = sum(htlc.amount_msat - _delivered(htlc) for htlc in taken)
            return PaymentResult(status=PaymentStatus.SUCCEEDED, preimage=taken[0].preimage, fee_msat=fee)
        return PaymentResult(status=PaymentStatus.FAILED, failure=self.failure or "every part was failed")


class Payments:
    """The payments of one node.

    parts: the number of parts. sends_anew: whether a failed part is retried. slow_seconds: to find a route for one.
    blinded_blocks: by an invoice's text, the CLTV delta of the only hop of its blinded path.
    """

    def __init__(self, node: "SimNode") -> None:
        self.parts = 1
        self.sends_anew = False
        self.slow_seconds = 0.0
        self.routes: dict[tuple[NodeId, NodeId | None], list[SimNode]] = {}
        self.known: dict[bytes, SimPayment] = {}
        self.blinded_blocks: dict[str, int] = {}
        self._node = node

    def pay(self, order: Payment, lifetime: Lifetime, report: Report) -> None:
        """See Node.pay. `lifetime`: of the process that waits for the report.

        Like the adapters: a payment that the node knows is tracked. Any other is ordered, and an order may be in
        transit for a long time: in the buffer of a socket, or in a suspended node.
        """
        node, payment_hash = self._node, order.invoice.payment_hash
        payment = self.known.get(payment_hash)
        if payment is None and node.implementation.pays_in_one_call:
            connection = node.lifetime
            node.kernel.call_later(ORDER_SECONDS, lambda: self._arrive(order, connection, lifetime, report))
            return
        if payment is None:
            payment = self._begin(order, lifetime)
        elif not node.implementation.pays_in_one_call and payment.sending.over:
            payment.sending = lifetime
            self._later(payment)
        payment.waiting.append((lifetime, report))
        self._conclude(payment)

    def _arrive(self, order: Payment, connection: Lifetime, lifetime: Lifetime, report: Report) -> None:
        """LND executes an order even if the process that sent it has died meanwhile, because it uses its own context:
        SendPaymentV2 in lnrpc/routerrpc/router_server.go.
        """
        node, late = self._node, 0.0
        if not connection.over:
            faults = node.kernel.failpoint(f"{node.name} is told to pay")
            late = max((fault.seconds for fault in faults if isinstance(fault, Delayed)), default=0.0)  # it comes once
        node.kernel.call_later(late, lambda: self._register(order, connection, lifetime, report))

    def _register(self, order: Payment, connection: Lifetime, lifetime: Lifetime, report: Report) -> None:
        """A payment that is paid or in flight is not paid again, but a failed one is: paymentsdb's
        payment_status.go: initializable. If LND has died before, the call ends with an error, which says nothing of the
        payment.
        """
        if connection.over:
            lost = PaymentResult(status=PaymentStatus.IN_FLIGHT)
            self._node.kernel.call_later(0.0, lambda: report(lost), lifetime)
            return
        payment = self.known.get(order.invoice.payment_hash)
        if payment is None:
            payment = self._begin(order, self._node.lifetime)
        elif payment.result().status is PaymentStatus.FAILED and not self._unsent(payment):
            self._begin_anew(payment, order)
        payment.waiting.append((lifetime, report))
        self._conclude(payment)

    def _begin(self, order: Payment, sending: Lifetime) -> SimPayment:
        payment = SimPayment(order, self._node.kernel.now, self._split(order), sending=sending)
        self.known[order.invoice.payment_hash] = payment
        self._later(payment)
        return payment

    def _begin_anew(self, payment: SimPayment, order: Payment) -> None:
        """All earlier parts have been returned; they are stored with the new ones."""
        payment.order, payment.amounts, payment.began_at = order, self._split(order), self._node.kernel.now
        payment.sent, payment.retries, payment.failure, payment.sending = set(), 0, "", self._node.lifetime
        self._later(payment)

    def track(self, payment_hash: bytes, lifetime: Lifetime, report: Report) -> None:
        """See Node.track_payment."""
        payment = self.known.get(payment_hash)
        if payment is None or (payment.nothing_sent and not self._node.implementation.pays_in_one_call):
            report(PaymentResult(status=PaymentStatus.UNKNOWN))
        else:
            payment.waiting.append((lifetime, report))
            self._conclude(payment)

    def look_up(self, payment_hash: bytes) -> PaymentResult:
        """See Node.look_up_payment."""
        payment = self.known.get(payment_hash)
        return PaymentResult(status=PaymentStatus.UNKNOWN) if payment is None else payment.result()

    def part_done(self, htlc: SimHtlc) -> None:
        """A part was settled or failed."""
        payment = self.known.get(htlc.payment_hash)
        if payment is None:
            return  # a payment of C
        if htlc.preimage is None and self._may_send_anew(payment):
            payment.retries += 1
            self._send(payment, self._number_of(payment, htlc))
        self._conclude(payment)

    def _later(self, payment: SimPayment) -> None:
        """Send part after part: by LND itself after one call, by CLN's adapter in one call for each."""
        pause = max(self.slow_seconds, BETWEEN_PARTS_SECONDS)
        self._node.kernel.call_later(
            pause if payment.sent else self.slow_seconds, lambda: self._next(payment), payment.sending
        )

    def _next(self, payment: SimPayment) -> None:
        missing = [number for number in range(len(payment.amounts)) if number not in payment.sent]
        if missing and not payment.failure:
            self._send(payment, missing[0])
            self._later(payment)
        else:
            self._conclude(payment)

    def _split(self, order: Payment) -> list[int]:
        count = min(self.parts, order.max_parts)
        share = order.amount_msat // count
        return [share] * (count - 1) + [order.amount_msat - share * (count - 1)]

    def _number_of(self, payment: SimPayment, htlc: SimHtlc) -> int:
        return payment.amounts.index(_delivered(htlc))

    def _may_send_anew(self, payment: SimPayment) -> bool:
        in_time = self._node.kernel.now < payment.began_at + payment.order.timeout_seconds
        return (
            self.sends_anew and self._node.implementation.retries_parts and in_time and payment.retries < MOST_RETRIES
        )

    def _send(self, payment: SimPayment, number: int) -> None:
        """Send one part, or say why not: LND and CLN both end a payment for which there is no route."""
        payment.sent.add(number)
        htlc = self._htlc(payment.order, payment.amounts[number])
        if htlc is None:
            payment.failure = "no route"
            return
        payment.htlcs.append(htlc)
        htlc.channel.add(htlc)

    def _htlc(self, order: Payment, amount_msat: int) -> SimHtlc | None:
        node = self._node
        route = self.routes[order.invoice.payee, order.first_hop]
        hops = len(route) - 1
        blinded_blocks = self._beyond_the_limit(order)
        final = node.height + order.invoice.min_final_cltv_expiry + order.slack_blocks
        final += node.implementation.final_extra_blocks + blinded_blocks
        steps = [
            HopPayload(each.id, amount_msat + (hops - place) * FEE_MSAT, final + (hops - place) * DELTA_BLOCKS)
            for place, each in enumerate(route)
        ]
        first, *rest = steps
        fees_so_far = sum(htlc.amount_msat - _delivered(htlc) for htlc in self.known_htlcs(order) if not htlc.gone)
        if first.expiry - node.height - blinded_blocks > order.cltv_limit_blocks:
            return None
        if order.latest_expiry is not None and first.expiry > order.latest_expiry:
            return None
        if fees_so_far + first.amount_msat - amount_msat > order.fee_limit_msat:
            return None
        channels = [each for each in node.channels(first.to) if each.usable_by(node)]
        if not channels:
            return None
        return SimHtlc(
            channel=channels[len(self.known_htlcs(order)) % len(channels)],
            number=0,
            offerer=node,
            payment_hash=order.invoice.payment_hash,
            amount_msat=first.amount_msat,
            expiry=first.expiry,
            route=tuple(rest),
            total_msat=order.amount_msat,
        )

    def _beyond_the_limit(self, order: Payment) -> int:
        """Return a blinded path's blocks beyond the limit: see Implementation.ignores_limit_of_blinded_path."""
        asked = self.blinded_blocks.get(order.invoice.text)
        if asked is None or not self._node.implementation.ignores_limit_of_blinded_path:
            return 0
        return asked - order.invoice.min_final_cltv_expiry

    def known_htlcs(self, order: Payment) -> list[SimHtlc]:
        """Every HTLC that was ever sent for this payment."""
        payment = self.known.get(order.invoice.payment_hash)
        return [] if payment is None else payment.htlcs

    @staticmethod
    def _unsent(payment: SimPayment) -> bool:
        return len(payment.sent) < len(payment.amounts) and not payment.failure and not payment.sending.over

    def _conclude(self, payment: SimPayment) -> None:
        result = payment.result()
        if result.status is PaymentStatus.IN_FLIGHT or self._unsent(payment) or not self._node.running:
            return
        waiting, payment.waiting = payment.waiting, []
        for lifetime, report in waiting:
            self._node.kernel.call_later(0.001, lambda report=report: report(result), lifetime)  # type: ignore[misc]


def _delivered(htlc: SimHtlc) -> int:
    """Return the amount of a part that reaches the payee."""
    return htlc.route[-1].amount_msat if htlc.route else htlc.amount_msat
