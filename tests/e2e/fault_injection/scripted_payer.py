"""What no wallet would send: the payer's wallet is off, or a stranger speaks, and the test plays it by hand."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asyncpay.lightning import Invoice, PaymentStatus
from asyncpay.wire import blinding, messages, onion
from asyncpay.wire.messages import PaymentPending
from asyncpay.wire.onion import LARGE_ROOM, Payload
from harness.checks import balances, scenario_table
from harness.services.phone_container import WALLET
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import Scene
from tests.support.scripted_peer import Hold, ScriptedPeer


@dataclass(frozen=True)
class ByHand:
    """The payer A, played by the test; B and its wallet are real."""

    scene: Scene
    a: ScriptedPeer

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
        moved = balances.count(self.scene.testbed).moved_since(self.scene.before)
        assert moved.pop("A") == -amount_msat - sum(result.fee_msat for result in results)
        assert moved.pop("B") == amount_msat
        assert all(gain >= 0 for gain in moved.values()), f"somebody on the way has lost: {moved}"
        self.scene.outcome(scenario_table.PAID)

    def assert_returned(self, *holds: Hold) -> None:
        """None of these was paid, and everybody has what they had."""
        assert [hold.result(120).status for hold in holds] == [PaymentStatus.FAILED] * len(holds)
        assert balances.count(self.scene.testbed) == self.scene.before
        self.scene.outcome(scenario_table.RETURNED)


@contextmanager
def payer_by_hand(scene: Scene) -> Iterator[ByHand]:
    """A's wallet gives way to the test; the scene's end starts it again."""
    scene.a.container.do_to_app(WALLET, "stop")
    with ScriptedPeer(scene.testbed, "A") as a:
        a.forget_failures()
        yield ByHand(scene, a)


def announcement(payment_hash: bytes, amount_msat: int, payment_secret: bytes | None = None) -> PaymentPending:
    """Of a payment that nobody makes; it proves to have the invoice only with the payment secret."""
    pid = secrets.token_bytes(32)
    proof = None if payment_secret is None else messages.invoice_proof(pid, (payment_hash,), (payment_secret,))
    return PaymentPending(
        pid=pid,
        payment_hashes=(payment_hash,),
        amount_msat=amount_msat,
        release_by_height=2_000,
        hold_until=4_000_000_000,
        invoice_proof=proof,
    )


def wait_until_read(scene: Scene, message: PaymentPending) -> None:
    """B's wallet has decided on this announcement."""
    name = messages.unblock_hash(message.pid).hex()
    read = Predicate(
        "announcement_read", lambda: None if any(e.get("block") == name for e in scene.b.events()) else "not yet"
    )
    wait_for(read, 60)


def send_raw(sender: ScriptedPeer, hops: list[bytes], content: bytes) -> None:
    path = blinding.build(sender.hops(*hops), secrets.token_bytes(32))
    room = (LARGE_ROOM,) if len(content) > 1_000 else (onion.SMALL_ROOM,)
    sender.send_onion(hops[0], onion.build(path, Payload(async_payment=content), secrets.token_bytes(32), rooms=room))
