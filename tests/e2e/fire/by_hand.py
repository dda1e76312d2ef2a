"""Payments that no wallet would make: the payer's wallet is off, and the test speaks the protocol in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from phone import Hold
from phone import Phone as HandMade

from asyncpay.lightning import Invoice, PaymentStatus
from harness import money, scenarios
from harness.phone_container import WALLET
from harness.scene import Scene


@dataclass(frozen=True)
class ByHand:
    """The payer A, played by the test; B and its wallet are real."""

    scene: Scene
    a: HandMade

    def invoice(self, amount_msat: int, *options: str) -> Invoice:
        """One of B's wallet, as A's node reads it."""
        made = self.scene.b.wallet.receive(amount_msat, *options)
        return self.a.run(self.a.node.decode_invoice(made["invoice"]))

    def hold(self, invoice: Invoice, **changes: Any) -> Hold:
        """A payment of which nobody knows yet; `changes` to its block_request."""
        return Hold(self.a, self.scene.a.lsp.name, invoice, **changes)

    @property
    def payee(self) -> bytes:
        """B's node id, 33 bytes."""
        return bytes.fromhex(self.scene.b.node.node_id)

    def assert_paid(self, *holds: Hold) -> None:
        """A has proof of each payment and has paid once, fees included; B has it all; nobody on the way has lost."""
        results = [hold.result(120) for hold in holds]
        assert [result.status for result in results] == [PaymentStatus.SUCCEEDED] * len(holds)
        amount_msat = sum(hold.invoice.amount_msat or 0 for hold in holds)
        moved = money.count(self.scene.testbed).moved_since(self.scene.before)
        assert moved.pop("A") == -amount_msat - sum(result.fee_msat for result in results)
        assert moved.pop("B") == amount_msat
        assert all(gain >= 0 for gain in moved.values()), f"somebody on the way has lost: {moved}"
        self.scene.outcome(scenarios.PAID)

    def assert_returned(self, *holds: Hold) -> None:
        """None of these was paid, and everybody has what they had."""
        assert [hold.result(120).status for hold in holds] == [PaymentStatus.FAILED] * len(holds)
        assert money.count(self.scene.testbed) == self.scene.before
        self.scene.outcome(scenarios.RETURNED)


@contextmanager
def payer_by_hand(scene: Scene) -> Iterator[ByHand]:
    """A's wallet gives way to the test; the scene's end starts it again."""
    scene.a.container.do_to_app(WALLET, "stop")
    with HandMade(scene.testbed, "A") as a:
        a.forget_failures()
        yield ByHand(scene, a)
