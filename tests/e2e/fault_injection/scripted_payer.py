"""A payer whose wallet is stopped and whose messages are scripted: messages that no wallet would send."""

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
from tests.support.payment_harness import PaymentHarness
from tests.support.scripted_peer import Hold, ScriptedPeer


@dataclass(frozen=True)
class ScriptedPayer:
    """The payer A, scripted by the test; B and its wallet are real."""

    payments: PaymentHarness
    a: ScriptedPeer

    def invoice(self, amount_msat: int, *options: str) -> Invoice:
        """Return an invoice of B's wallet, decoded by A's node."""
        made = self.payments.b.wallet.receive(amount_msat, *options)
        return self.a.run(self.a.node.decode_invoice(made["invoice"]))

    def hold(self, invoice: Invoice, **changes: Any) -> Hold:
        """Prepare a payment that is not announced yet; `changes` to its block_request."""
        return Hold(self.a, self.payments.a.lsp.name, invoice, **changes)

    @property
    def payee(self) -> bytes:
        """B's node id, 33 bytes."""
        return bytes.fromhex(self.payments.b.node.node_id)

    def assert_paid(self, *holds: Hold) -> None:
        """A has proof of each payment and paid once, fees included; B has the amount; no forwarding node has lost."""
        results = [hold.result(120) for hold in holds]
        assert [result.status for result in results] == [PaymentStatus.SUCCEEDED] * len(holds)
        amount_msat = sum(hold.invoice.amount_msat or 0 for hold in holds)
        moved = balances.count(self.payments.testbed).moved_since(self.payments.before)
        assert moved.pop("A") == -amount_msat - sum(result.fee_msat for result in results)
        assert moved.pop("B") == amount_msat
        assert all(gain >= 0 for gain in moved.values()), f"a forwarding node has lost: {moved}"
        self.payments.record_outcome(scenario_table.PAID)

    def assert_returned(self, *holds: Hold) -> None:
        """None of these was paid, and all balances are as before."""
        assert [hold.result(120).status for hold in holds] == [PaymentStatus.FAILED] * len(holds)
        assert balances.count(self.payments.testbed) == self.payments.before
        self.payments.record_outcome(scenario_table.RETURNED)


@contextmanager
def scripted_payer(payments: PaymentHarness) -> Iterator[ScriptedPayer]:
    """Stop A's wallet and script A; the fixture `payments` starts the wallet again."""
    payments.a.container.do_to_app(WALLET, "stop")
    with ScriptedPeer(payments.testbed, "A") as a:
        a.forget_failures()
        yield ScriptedPayer(payments, a)


def announcement(payment_hash: bytes, amount_msat: int, payment_secret: bytes | None = None) -> PaymentPending:
    """Make the announcement of a payment that does not exist; only the payment secret proves to have the invoice."""
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


def wait_until_read(payments: PaymentHarness, message: PaymentPending) -> None:
    """Wait until B's wallet has decided on this announcement."""
    name = messages.unblock_hash(message.pid).hex()
    read = Predicate(
        "announcement_read", lambda: None if any(e.get("block") == name for e in payments.b.events()) else "not yet"
    )
    wait_for(read, 60)


def send_raw(sender: ScriptedPeer, hops: list[bytes], content: bytes) -> None:
    path = blinding.build(sender.hops(*hops), secrets.token_bytes(32))
    room = (LARGE_ROOM,) if len(content) > 1_000 else (onion.SMALL_ROOM,)
    sender.send_onion(hops[0], onion.build(path, Payload(async_payment=content), secrets.token_bytes(32), rooms=room))
