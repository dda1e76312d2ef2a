"""Held payments from A to B through one LSP, both ends scripted: make, end and check them."""

from dataclasses import dataclass
from typing import Any

from asyncpay.lightning import PaymentStatus
from asyncpay.wire.messages import (
    UNSIGNED,
    CancelRequest,
    Message,
    PaymentRefused,
    PaymentRelease,
    ReleaseReply,
    ReleaseStatus,
    unblock_hash,
)
from harness.checks import balances
from harness.checks.balances import Balances
from harness.services.lsp import Lsp
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.scripted_peer import Hold, ScriptedPeer

AMOUNT_MSAT = 16_000_000


@dataclass(frozen=True)
class HoldHarness:
    """The payer A, the payee B, the LSP between them, and the balances when the test began."""

    testbed: Testbed
    lsp: Lsp
    a: ScriptedPeer
    b: ScriptedPeer
    before: Balances

    def hold(self, **changes: Any) -> Hold:
        """Prepare a payment from A to B that the LSP does not know of yet; `changes` to its block_request."""
        return Hold(self.a, "LSP", self.b.invoice(AMOUNT_MSAT), **changes)

    def release(self, hold: Hold, pid: bytes | None = None) -> ReleaseStatus:
        """Send a pid from B to the LSP, by default the right one. Return the LSP's answer."""
        return self._answer(hold, PaymentRelease(pid=pid or hold.pid))

    def refuse(self, hold: Hold) -> ReleaseStatus:
        """Send B's refusal to release to the LSP. Return the LSP's answer."""
        return self._answer(hold, PaymentRefused(pid=hold.pid, reason="not mine"))

    def _answer(self, hold: Hold, message: PaymentRelease | PaymentRefused) -> ReleaseStatus:
        name = unblock_hash(message.pid)

        def replies() -> list[ReleaseReply]:
            return [each for each in self.b.inbox if isinstance(each, ReleaseReply) and each.unblock_hash == name]

        earlier = len(replies())
        self.b.send(hold.lsp_id, message, reply_to_me=True)
        wait_for(Predicate("release_reply", lambda: None if len(replies()) > earlier else f"{earlier} before"))
        return replies()[-1].status

    def mine_to(self, height_blocks: int) -> None:
        """Mine until the chain has this height, and the LSP has handled it."""
        self.testbed.mine(height_blocks - self.testbed.chain.height_blocks)

        def missing() -> str | None:
            seen = self.lsp.status()["node"]["height_blocks"]
            return None if seen == height_blocks else f"{self.lsp.name} is at block {seen} of {height_blocks}"

        wait_for(Predicate("lsp_at_height", missing))

    def block(self, hold: Hold) -> dict[str, Any]:
        """Return the hold's block in the LSP's status."""
        blocks: list[dict[str, Any]] = self.lsp.status()["blocks"]
        return next(each for each in blocks if each["unblock_hash"] == hold.request.unblock_hash.hex())

    def logged(self, what: str) -> list[dict[str, Any]]:
        """Return the events with this name in the LSP's event log."""
        return [event for event in self.lsp.events() if event["what"] == what]

    def failed_back(self, hold: Hold) -> dict[str, Any]:
        """Return the only event of the event log with which the LSP failed this hold's parts back."""

        def events() -> list[dict[str, Any]]:
            return [each for each in self.logged("failed back") if each["block"] == hold.request.unblock_hash.hex()]

        wait_for(Predicate("failed_back_noted", lambda: None if events() else "it is not in the event log"))
        (event,) = events()
        return event

    def assert_held(self, hold: Hold, parts: int) -> None:
        """The LSP holds these parts, undecided, and no other HTLC is in flight to the LSP or to B."""
        in_flight = {"A": parts, "LSP": parts, "B": 0}

        def missing() -> str | None:
            nodes = self.testbed.nodes.items()
            htlcs = {name: sum(channel.htlcs for channel in node.channels()) for name, node in nodes}
            if htlcs != in_flight:
                return f"HTLCs {htlcs}, not {in_flight}"
            seen = self.block(hold)["parts"]
            undecided = [part for part in seen if part["intercepted"] and part["resolution"] is None]
            return None if len(seen) == len(undecided) == parts else f"the LSP has {seen}"

        wait_for(Predicate("held_and_nothing_else_in_flight", missing))

    def assert_paid(self, *holds: Hold) -> None:
        """All of these were paid, at the cost that the payer's node reports, and nothing else was."""
        results = [hold.result() for hold in holds]
        assert [result.status for result in results] == [PaymentStatus.SUCCEEDED] * len(holds)
        amount_msat = sum(hold.invoice.amount_msat or 0 for hold in holds)
        fees_msat = sum(result.fee_msat for result in results)
        moved = balances.count(self.testbed).moved_since(self.before)
        assert moved == {"A": -amount_msat - fees_msat, "LSP": fees_msat, "B": amount_msat}

    def assert_returned(self, *holds: Hold) -> None:
        """None of these was paid, and all balances are as before."""
        assert [hold.result().status for hold in holds] == [PaymentStatus.FAILED] * len(holds)
        assert balances.count(self.testbed) == self.before

    def assert_turned_away(self, hold: Hold) -> None:
        """Its block has ended, so every further part of this payment fails at the LSP."""
        earlier = len(self.logged("resolve fail"))
        self.assert_returned(hold.pay(parts=2))
        noted = Predicate("answer_noted", lambda: None if len(self.logged("resolve fail")) > earlier else "it is not")
        wait_for(noted)

    def clear(self) -> None:
        """Cancel payments that a failed test has left held, for the following tests."""
        if not any(channel.htlcs for channel in self.testbed["A"].channels()):
            return
        lsp_id = bytes.fromhex(self.testbed["LSP"].node_id)
        for block in self.lsp.status()["blocks"]:
            request = CancelRequest(unblock_hash=bytes.fromhex(block["unblock_hash"]), signature=UNSIGNED)
            for phone in (self.a, self.b):
                phone.send(lsp_id, phone.signed(request, lsp_id))


def wait_until_got(phone: ScriptedPeer, times: int, message: Message) -> None:
    """Wait until the phone has received exactly this message this number of times."""

    def missing() -> str | None:
        count = phone.inbox.count(message)
        return None if count == times else f"{phone.name} got it {count} times"

    wait_for(Predicate(f"got_{times}_times", missing))
