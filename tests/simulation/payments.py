"""What a simulated node pays: split into parts, each of which is remembered for ever."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncpay.lightning import NodeId, PaymentResult, PaymentStatus
from asyncpay.nodes.base import Payment

from .channels import DELTA_BLOCKS, FEE_MSAT, SimHtlc, Step
from .kernel import Life

if TYPE_CHECKING:
    from .node import SimNode

BETWEEN_PARTS_SECONDS = 0.01
MOST_RETRIES = 2

Report = Callable[[PaymentResult], None]


@dataclass(eq=False)
class SimPayment:
    """One payment, known by its hash.

    amounts: of its parts, by number. sent: numbers of those that have left. sending: the life of who sends them.
    """

    order: Payment
    began_at: float
    amounts: list[int]
    sent: set[int] = field(default_factory=set)
    htlcs: list[SimHtlc] = field(default_factory=list)
    retries: int = 0
    failure: str = ""
    sending: Life = field(default_factory=Life)
    waiting: list[tuple[Life, Report]] = field(default_factory=list)

    @property
    def nothing_sent(self) -> bool:
        """Whoever was to send its parts has died before the first."""
        return not self.sent and self.sending.over

    def result(self) -> PaymentResult:
        """Where it stands now."""
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

    parts: into how many it splits. sends_anew: whether a failed part is retried. slow_seconds: to find a way for one.
    """

    def __init__(self, node: "SimNode") -> None:
        self.parts = 1
        self.sends_anew = False
        self.slow_seconds = 0.0
        self.ways: dict[tuple[NodeId, NodeId | None], list[SimNode]] = {}
        self.known: dict[bytes, SimPayment] = {}
        self._node = node

    def pay(self, order: Payment, life: Life, report: Report) -> None:
        """See Node.pay. `life`: of whoever waits for the report."""
        node, payment_hash = self._node, order.invoice.payment_hash
        payment = self.known.get(payment_hash)
        if payment is None:
            payment = SimPayment(order, node.kernel.now, self._split(order))
            self.known[payment_hash] = payment
            payment.sending = node.life if node.implementation.pays_in_one_call else life
            self._later(payment)
        elif not node.implementation.pays_in_one_call and payment.sending.over:
            payment.sending = life
            self._later(payment)
        payment.waiting.append((life, report))
        self._conclude(payment)

    def track(self, payment_hash: bytes, life: Life, report: Report) -> None:
        """See Node.track_payment."""
        payment = self.known.get(payment_hash)
        if payment is None or (payment.nothing_sent and not self._node.implementation.pays_in_one_call):
            report(PaymentResult(status=PaymentStatus.UNKNOWN))
        else:
            payment.waiting.append((life, report))
            self._conclude(payment)

    def look_up(self, payment_hash: bytes) -> PaymentResult:
        """See Node.look_up_payment."""
        payment = self.known.get(payment_hash)
        return PaymentResult(status=PaymentStatus.UNKNOWN) if payment is None else payment.result()

    def part_done(self, htlc: SimHtlc) -> None:
        """A part was settled or failed."""
        payment = self.known.get(htlc.payment_hash)
        if payment is None:
            return  # C's own doing
        if htlc.preimage is None and self._may_send_anew(payment):
            payment.retries += 1
            self._send(payment, self._number_of(payment, htlc))
        self._conclude(payment)

    def _later(self, payment: SimPayment) -> None:
        """Part after part: by LND itself after one call, by CLN's adapter in as many."""
        pause = max(self.slow_seconds, BETWEEN_PARTS_SECONDS)
        self._node.kernel.later(
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
        """Send one part, or say why not: LND and CLN both end a payment for which there is no way."""
        payment.sent.add(number)
        htlc = self._htlc(payment.order, payment.amounts[number])
        if htlc is None:
            payment.failure = "no route"
            return
        payment.htlcs.append(htlc)
        htlc.channel.add(htlc)

    def _htlc(self, order: Payment, amount_msat: int) -> SimHtlc | None:
        node = self._node
        way = self.ways[order.invoice.payee, order.through]
        hops = len(way) - 1
        final = node.height + order.invoice.min_final_cltv_expiry + order.slack_blocks
        final += node.implementation.final_extra_blocks
        steps = [
            Step(each.id, amount_msat + (hops - place) * FEE_MSAT, final + (hops - place) * DELTA_BLOCKS)
            for place, each in enumerate(way)
        ]
        first, *rest = steps
        fees_so_far = sum(htlc.amount_msat - _delivered(htlc) for htlc in self.known_htlcs(order) if not htlc.gone)
        if first.expiry - node.height > order.cltv_limit_blocks:
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
            way=tuple(rest),
            total_msat=order.amount_msat,
        )

    def known_htlcs(self, order: Payment) -> list[SimHtlc]:
        """Every HTLC that was ever sent for this payment."""
        payment = self.known.get(order.invoice.payment_hash)
        return [] if payment is None else payment.htlcs

    def _conclude(self, payment: SimPayment) -> None:
        result = payment.result()
        unsent = len(payment.sent) < len(payment.amounts) and not payment.failure and not payment.sending.over
        if result.status is PaymentStatus.IN_FLIGHT or unsent or not self._node.running:
            return
        waiting, payment.waiting = payment.waiting, []
        for life, report in waiting:
            self._node.kernel.later(0.001, lambda report=report: report(result), life)  # type: ignore[misc]


def _delivered(htlc: SimHtlc) -> int:
    """What a part brings the payee."""
    return htlc.way[-1].amount_msat if htlc.way else htlc.amount_msat
