"""The payer is offline when the payee releases: the LSP pays on its behalf and claims the held parts. Never twice, and
never at a loss.

LND forwards no HTLC of an offline payer. So if the LSP has received the invoice, it pays that itself.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Invoice, PaymentStatus
from asyncpay.nodes.base import BLINDED_PATHS_REFUSED, Payment
from asyncpay.wire.messages import BlockState, BlockStatus
from harness.checks import balances
from harness.checks.balances import Balances
from harness.errors import NodeError
from harness.nodes.base import ChannelPolicy
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.testbed import Testbed
from harness.topology import load
from harness.waits import Predicate, wait_for
from tests.support.component_crashes import ATTACH_SECONDS, crash_before, restart, wait_for_death
from tests.support.implementations import TOPOLOGIES
from tests.support.scripted_peer import SLACK_BLOCKS, Hold, ScriptedPeer

pytestmark = pytest.mark.seconds(10)

AMOUNT_MSAT = 36_000_000
"""Each of three parts is large enough (policy on_behalf_min_part_msat)."""


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(load(TOPOLOGIES / "on-behalf.yaml"), request.config) as running:
        yield running


@pytest.fixture
def via(testbed: Testbed) -> list[bytes]:
    """The nodes between B and A's LSP."""
    return [bytes.fromhex(testbed["router"].node_id)]


def held(
    a: ScriptedPeer, invoice: Invoice, /, parts: int = 1, slack_blocks: int = SLACK_BLOCKS, **changes: Any
) -> Hold:
    """A payment from A whose parts the LSP holds, and whose invoice it knows."""
    hold = Hold(a, "LSP", invoice, **{"invoice": invoice.text} | changes)
    return hold.ask().pay(parts, slack_blocks=slack_blocks).update(BlockState.HELD, parts)


def lncli(testbed: Testbed, node: str, *arguments: str) -> Any:
    """Return the output of the node's own CLI. Raises NodeError, which waits tolerate, if it fails."""
    said = testbed.engine.output(node, [*testbed.cli(node), *arguments])
    if not said.stdout:
        raise NodeError(f"{node}: lncli {arguments[0]}: {said.stderr}")
    return json.loads(said.stdout)


def own_payment(testbed: Testbed, hold: Hold) -> str | None:
    """Return the status of the LSP's own payment of this hash, of which there is one at most; None if there is none."""
    payments = lncli(testbed, "LSP", "listpayments", "--include_incomplete")["payments"]
    found = [payment["status"] for payment in payments if payment["payment_hash"] == hold.invoice.payment_hash.hex()]
    assert len(found) <= 1
    return next(iter(found), None)


def own_payment_is(testbed: Testbed, hold: Hold, status: str) -> Predicate:
    """The LSP's own payment has this status."""

    def missing() -> str | None:
        seen = own_payment(testbed, hold)
        return None if seen == status else f"it is {seen}"

    return Predicate(f"own_payment_{status}", missing)


def logged(lsp: Lsp, hold: Hold, what: str) -> Predicate:
    """The LSP's event log has this event of the payment."""
    payment_hash = hold.invoice.payment_hash.hex()

    def missing() -> str | None:
        said = [event["what"] for event in lsp.events() if payment_hash in event.get("payment_hashes", ())]
        return None if what in said else f"it says {said}"

    return Predicate(f"noted_{what.replace(' ', '_')}", missing)


def router_policy(testbed: Testbed) -> ChannelPolicy:
    """Return the router's fees for a payment to B, as the LSP knows them."""
    (channel,) = testbed["B"].channels()
    return testbed["LSP"].policies()[channel.short_channel_id, testbed["router"].node_id]


def assert_paid_once(testbed: Testbed, before: Balances, hold: Hold) -> None:
    """A has the preimage. B has the amount, the router its fee for one payment, the LSP the rest, which is a gain."""
    result = hold.outcome()
    assert result.status is PaymentStatus.SUCCEEDED
    router_fee_msat = router_policy(testbed).fee_msat(AMOUNT_MSAT)
    moved = balances.count(testbed).moved_since(before)
    assert moved == {
        "A": -AMOUNT_MSAT - result.fee_msat,
        "LSP": result.fee_msat - router_fee_msat,
        "router": router_fee_msat,
        "B": AMOUNT_MSAT,
    }
    assert moved["LSP"] > 0
    hold.ask().update(BlockState.SETTLED, hold.parts)


def assert_returned(testbed: Testbed, before: Balances, hold: Hold) -> None:
    """The payment failed, and all balances are as before."""
    assert hold.outcome().status is PaymentStatus.FAILED
    assert balances.count(testbed) == before
    hold.ask().update(BlockState.FAILED_BACK, hold.parts)


@pytest.mark.parametrize("parts", [1, 3])
def test_b_is_paid_while_a_is_away(
    testbed: Testbed, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances, parts: int
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT), parts)
    with a.away():
        hold.release(b, via).wait_for_state(State.CLAIMED)
        assert own_payment(testbed, hold) == "SUCCEEDED"

    assert_paid_once(testbed, before, hold)


def test_killed_before_it_pays(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT))
    crash_before(testbed, lsp, "PayOnBehalf")
    with a.away():
        hold.show_pid(b, via)
        wait_for_death(testbed, lsp)
        assert own_payment(testbed, hold) is None
        restart(lsp)
        hold.wait_for_state(State.CLAIMED)

    assert_paid_once(testbed, before, hold)


def test_killed_while_it_pays(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    slow = HoldInvoicePayee(b)
    hold = held(a, slow.invoice)
    with a.away():
        hold.release(b, via)
        slow.wait_until_accepted()
        lsp.kill()
        slow.settle()
        wait_for(own_payment_is(testbed, hold, "SUCCEEDED"))
        restart(lsp)
        hold.wait_for_state(State.CLAIMED)

    assert_paid_once(testbed, before, hold)


def test_its_node_is_killed_while_it_pays(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    slow = HoldInvoicePayee(b)
    hold = held(a, slow.invoice, parts=2)
    with a.away():
        hold.release(b, via)
        slow.wait_until_accepted()
        testbed.kill("LSP")
        slow.settle()
        testbed.start_and_wait("LSP")
        wait_for(interceptor_attached(lsp), ATTACH_SECONDS)
        hold.wait_for_state(State.CLAIMED)
        wait_for(htlcs_held(lsp, 0))  # LND offers them again only when A is back

    assert_paid_once(testbed, before, hold)


def test_killed_after_it_paid_and_before_it_claims(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT), parts=3)
    crash_before(testbed, lsp, "ResolveHtlc", 2)
    wait_for(htlcs_held(lsp, 3))
    with a.away():
        hold.show_pid(b, via)
        wait_for_death(testbed, lsp)
        assert own_payment(testbed, hold) == "SUCCEEDED"
        restart(lsp)

    assert_paid_once(testbed, before, hold)


def test_its_node_is_killed_after_it_claimed(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT))
    with a.away():
        hold.release(b, via).wait_for_state(State.CLAIMED)
        testbed.kill("LSP")
        testbed.start_and_wait("LSP")
        wait_for(interceptor_attached(lsp), ATTACH_SECONDS)

    assert_paid_once(testbed, before, hold)


def test_nothing_goes_back_while_its_own_payment_may_succeed(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    slow = HoldInvoicePayee(b)
    hold = held(a, slow.invoice, release_by_height=testbed.chain.height_blocks + 1)
    with a.away():
        hold.release(b, via)
        slow.wait_until_accepted()
        mine(testbed, lsp, 2)
        hold.wait_for_state(State.PAYING)
        wait_for(htlcs_held(lsp, 1))
        slow.cancel()
        hold.wait_for_state(State.FAILED_BACK)
        assert own_payment(testbed, hold) == "FAILED"

    assert_returned(testbed, before, hold)


def test_its_own_payment_fails_and_a_does_not_come_in_time(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    slow = HoldInvoicePayee(b)
    hold = held(a, slow.invoice, release_by_height=testbed.chain.height_blocks + 1)
    slow.cancel()
    with a.away():
        hold.release(b, via)
        wait_for(own_payment_is(testbed, hold, "FAILED"))
        hold.wait_for_state(State.DUE)
        mine(testbed, lsp)
        wait_for(htlcs_held(lsp, 1))
        mine(testbed, lsp)
        hold.wait_for_state(State.FAILED_BACK)

    assert_returned(testbed, before, hold)


def test_its_own_payment_fails_and_a_comes_back(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    slow = HoldInvoicePayee(b)
    hold = held(a, slow.invoice)
    slow.cancel()
    with a.away():
        hold.release(b, via)
        wait_for(own_payment_is(testbed, hold, "FAILED"))
        hold.wait_for_state(State.DUE)
        wait_for(htlcs_held(lsp, 1))

    hold.wait_for_state(State.RETURNED)  # B itself has refused it
    assert_returned(testbed, before, hold)


def test_too_dear_a_way_is_not_taken_and_the_payment_waits_for_a(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT))
    usual = router_policy(testbed)
    with a.away():  # if A received the new fee, it would keep paying it: the reset is not sent to A
        set_router_fee(testbed, ChannelPolicy(usual.fee_base_msat + 1, usual.fee_ppm))
        hold.release(b, via)
        wait_for(logged(lsp, hold, "payment on behalf failed"))
        hold.wait_for_state(State.DUE)
        wait_for(htlcs_held(lsp, 1))
        assert own_payment(testbed, hold) is None
        set_router_fee(testbed, usual)

    assert_paid_once(testbed, before, hold)


def test_without_the_invoice_the_payment_waits_for_a(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    hold = held(a, b.invoice(AMOUNT_MSAT), parts=2, invoice=None)
    with a.away():
        hold.release(b, via).wait_for_state(State.DUE)
        mine(testbed, lsp)
        wait_for(htlcs_held(lsp, 2))
        hold.wait_for_state(State.DUE)
        assert own_payment(testbed, hold) is None

    assert hold.outcome().status is PaymentStatus.SUCCEEDED
    moved = balances.count(testbed).moved_since(before)
    assert (moved["B"], moved["A"]) == (AMOUNT_MSAT, -AMOUNT_MSAT - hold.outcome().fee_msat)
    assert moved["LSP"] > 0


def test_an_invoice_with_a_blinded_path_is_refused_and_nobody_pays(
    testbed: Testbed, a: ScriptedPeer, b: ScriptedPeer, before: Balances
) -> None:
    """LND applies no limit to the final CLTV delta of such a path. Tested on behalf, and with a direct payment."""
    path = ["--blind", "--min_real_blinded_hops=0", "--num_blinded_hops=0", "--cltv_expiry_delta=1000"]
    text = lncli(testbed, "B", "addinvoice", f"--amt_msat={AMOUNT_MSAT}", *path)["payment_request"]
    invoice = a.run(a.node.decode_invoice(text))
    assert invoice.has_blinded_paths
    hold = Hold(a, "LSP", invoice, invoice=text).ask(BlockStatus.BAD_VALUE)
    height_blocks = testbed.chain.height_blocks

    order = Payment(invoice=invoice, amount_msat=AMOUNT_MSAT, fee_limit_msat=AMOUNT_MSAT)
    for limited in (
        replace(order, slack_blocks=10),
        replace(order, cltv_limit_blocks=200),
        replace(order, latest_expiry=height_blocks + 200),
    ):
        result = a.run(a.node.pay(limited))
        assert (result.status, result.failure) == (PaymentStatus.FAILED, BLINDED_PATHS_REFUSED)

    assert own_payment(testbed, hold) is None
    assert a.run(a.node.look_up_payment(invoice.payment_hash)).status is PaymentStatus.UNKNOWN
    assert balances.count(testbed) == before


def test_a_route_that_locks_too_long_is_not_sent(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, via: list[bytes], before: Balances
) -> None:
    """A's HTLC leaves fewer blocks than the margin plus the route to B: nothing is sent, and the LSP waits for A."""
    hold = held(a, b.invoice(AMOUNT_MSAT), slack_blocks=80)
    with a.away():
        hold.release(b, via)
        wait_for(logged(lsp, hold, "payment on behalf failed"))
        hold.wait_for_state(State.DUE)
        assert own_payment(testbed, hold) is None

    assert_paid_once(testbed, before, hold)


class HoldInvoicePayee:
    """A payee that accepts a payment, and settles or cancels it later (LND: a hold invoice)."""

    def __init__(self, payee: ScriptedPeer) -> None:
        self._testbed, self._name = payee.testbed, payee.name
        self._preimage = secrets.token_bytes(32)
        self._hash = sha256(self._preimage).hexdigest()
        said = lncli(self._testbed, self._name, "addholdinvoice", f"--amt_msat={AMOUNT_MSAT}", self._hash)
        self.invoice = payee.run(payee.node.decode_invoice(said["payment_request"]))

    def wait_until_accepted(self) -> None:
        def missing() -> str | None:
            state = lncli(self._testbed, self._name, "lookupinvoice", self._hash)["state"]
            return None if state == "ACCEPTED" else f"it is {state}"

        wait_for(Predicate("payment_accepted", missing))

    def settle(self) -> None:
        lncli(self._testbed, self._name, "settleinvoice", self._preimage.hex())

    def cancel(self) -> None:
        lncli(self._testbed, self._name, "cancelinvoice", self._hash)


def mine(testbed: Testbed, lsp: Lsp, blocks: int = 1) -> None:
    """Mine blocks, and return when the LSP has handled them."""
    height_blocks = testbed.mine(blocks)

    def missing() -> str | None:
        seen = lsp.status()["node"]["height_blocks"]
        return None if seen == height_blocks else f"it is at {seen} of {height_blocks}"

    wait_for(Predicate("lsp_has_seen_blocks", missing))


def set_router_fee(testbed: Testbed, policy: ChannelPolicy) -> None:
    """Set the router's fees, and return when the LSP knows them."""
    fees = [f"--base_fee_msat={policy.fee_base_msat}", f"--fee_rate_ppm={policy.fee_ppm}", "--time_lock_delta=80"]
    lncli(testbed, "router", "updatechanpolicy", *fees)

    def missing() -> str | None:
        known = router_policy(testbed)
        return None if known == policy else f"the LSP knows {known}"

    wait_for(Predicate("router_fee_known", missing))
