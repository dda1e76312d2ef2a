"""The conditions of a phone's link, each verified at both ends."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from harness.checks import balances
from harness.errors import NodeError
from harness.nodes.base import Payment
from harness.nodes.predicates import peer_gone
from harness.services.phone import Phone
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.component_log import resumed, resumed_since

AMOUNT_MSAT = 3_000_000


def paying(testbed: Testbed, invoice: str) -> "Future[Payment]":
    """Start a payment from the sender, without waiting for it."""
    pool = ThreadPoolExecutor(max_workers=1)
    payment = pool.submit(testbed["sender"].pay, invoice, 60)
    pool.shutdown(wait=False)
    return payment


def in_flight(testbed: Testbed, **htlcs: int) -> Predicate:
    """Each of these nodes has this number of HTLCs on its channels."""

    def missing() -> str | None:
        seen = {name: sum(channel.htlcs for channel in testbed[name].channels()) for name in htlcs}
        return None if seen == htlcs else f"HTLCs {seen}, not {htlcs}"

    return Predicate("in_flight", missing)


def followed(testbed: Testbed, height_blocks: int, *names: str) -> Predicate:
    """These nodes are synced to this height."""

    def missing() -> str | None:
        behind = [name for name in names if testbed[name].info().height_blocks < height_blocks]
        return f"{behind} are behind block {height_blocks}" if behind else None

    return Predicate("followed", missing)


def connections(testbed: Testbed, phone: Phone) -> tuple[bool, bool]:
    """Return whether the LSP, and whether the phone, lists the other as connected."""
    lsp = testbed["LSP"]
    return phone.node.node_id in lsp.peers(), lsp.node_id in phone.node.peers()


def test_a_disconnected_phone_is_gone_at_both_ends_and_comes_back(testbed: Testbed, phone: Phone) -> None:
    before = balances.count(testbed)
    with phone.disconnected():
        assert phone.link().words == "disconnected"
        assert connections(testbed, phone) == (False, False)
        assert phone.node.info().synced  # the node itself works, and has its chain
    assert connections(testbed, phone) == (True, True)
    wait_for(testbed.channels_usable("A"), 60)
    testbed.pay("sender", "A", AMOUNT_MSAT)
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_nothing_passes_a_black_hole_and_nobody_notices(testbed: Testbed, phone: Phone) -> None:
    invoice = phone.node.create_invoice(AMOUNT_MSAT)
    before, resumed_before = balances.count(testbed), resumed(testbed.lsp("LSP"))
    with phone.blackholed():
        payment = paying(testbed, invoice)
        # The LSP regards the phone as connected, so it does not hold the HTLC: it has sent it, without success.
        wait_for(resumed_since(testbed.lsp("LSP"), resumed_before))
        wait_for(followed(testbed, testbed.chain.mine(1), "sender", "LSP"))  # time for messages that could pass
        assert not payment.done()
        assert connections(testbed, phone) == (True, True)
        wait_for(in_flight(testbed, sender=1, A=0))
        assert testbed.lsp("LSP").status()["waiting_for_a_client"] == []
    payment.result(60)
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_a_slow_link_delays_each_way(testbed: Testbed, phone: Phone) -> None:
    def seconds() -> float:
        began = time.monotonic()
        testbed.pay("sender", "A", AMOUNT_MSAT)
        return time.monotonic() - began

    with phone.latency_ms(300):
        assert phone.link().words == "latency 300 ms"
        assert connections(testbed, phone) == (True, True)
        # Before the preimage can come back, an HTLC takes three messages, each only after the one before (BOLT 2).
        assert seconds() > 4 * 0.3
        phone.latency(1)  # replaces the other
        assert phone.link().words == "latency 1 ms"
    with phone.bandwidth_kilobytes(1):
        assert phone.link().words == "1 kB/s"
        assert seconds() > 1.4  # the onion alone has 1366 bytes
    assert phone.link().words == "normal"


def test_a_connection_that_is_reset_does_not_last(testbed: Testbed, phone: Phone) -> None:
    with phone.resetting():
        assert phone.link().words == "reset"
        wait_for(peer_gone(phone.node, testbed["LSP"]))
        with pytest.raises(NodeError):
            testbed.connect("A", "LSP")
        wait_for(peer_gone(testbed["LSP"], phone.node))
    assert connections(testbed, phone) == (True, True)


def test_faults_may_be_had_together_and_are_undone_together(testbed: Testbed, phone: Phone) -> None:
    phone.latency(5)
    phone.disconnect()
    phone.sleep()
    phone.wake()
    assert connections(testbed, phone) == (False, False)
    phone.freeze()
    phone.restore()
    assert phone.link().words == "normal"
    assert connections(testbed, phone) == (True, True)
