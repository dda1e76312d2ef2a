"""An HTLC on a link that passes messages in one direction only: it stops in the middle of the exchange of
commitments, at which the two ends have different states.

    giver    update_add_htlc, commitment_signed  -->             taker
             <--  revoke_and_ack, commitment_signed
             revoke_and_ack  -->                                 only now the HTLC is locked in
"""

from collections.abc import Callable
from dataclasses import dataclass

from harness.nodes.base import Channel, Node
from harness.waits import Predicate
from tests.support.component_log import resumed
from tests.support.payment_harness import PaymentCase, PaymentHarness


@dataclass(frozen=True)
class HalfWay:
    """An HTLC on a phone's channel. given: whether the giver reports that it has sent it."""

    giver: Node
    taker: Node
    given: Callable[[], bool]

    def reached(self, arrives: bool) -> Predicate:
        """The giver has signed for the HTLC, and nothing more has been exchanged.

        arrives: the taker receives it, and its answer is lost; otherwise the taker does not receive it.
        """

        def missing() -> str | None:
            taken, kept = _between(self.taker, self.giver), _between(self.giver, self.taker)
            if self.given() and taken.htlcs == arrives and not taken.htlcs_locked_in and not kept.htlcs_locked_in:
                return None
            return f"given: {self.given()}; {_told(self.taker, taken)}, {_told(self.giver, kept)}"

        return Predicate("commitments_half_way", missing)


def from_payer(payments: PaymentHarness, case: PaymentCase) -> HalfWay:
    """The payment's own HTLC, from the payer to its LSP."""
    return HalfWay(payments.a.node, payments.a.lsp, lambda: payments.a.node.parts_in_flight(case.payment_hash) == 1)


def to_payee(payments: PaymentHarness, _: PaymentCase) -> HalfWay:
    """The HTLC from the payee's LSP to the payee. It is sent once the LSP's component has resumed it."""
    component = payments.testbed.lsp(payments.b.lsp.name)
    before = resumed(component)
    return HalfWay(payments.b.lsp, payments.b.node, lambda: resumed(component) > before)


def _between(node: Node, peer: Node) -> Channel:
    """Return the channel as the node lists it."""
    return next(channel for channel in node.channels() if channel.peer_id == peer.node_id)


def _told(node: Node, channel: Channel) -> str:
    return f"{node.name} has {channel.htlcs} HTLCs, {channel.htlcs_locked_in} of them locked in"
