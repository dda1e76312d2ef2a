"""The LSP has paid on the payer's behalf, its LND forgets the claim, and the payer stays offline: nothing is lost.

LND fails such an HTLC when its payer comes back between 21 and 17 blocks before its expiry: closing.py in
asyncpay/nodes/lnd says why, tests/e2e/adapter/test_settlements.py shows it. So the LSP force-closes the channel first.
"""

from collections.abc import Iterator

import pytest

from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import PaymentStatus
from harness.nodes.predicates import no_htlcs
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, interceptor_attached
from harness.testbed import Testbed
from harness.topology import load
from harness.waits import Predicate, wait_for
from tests.support.component_crashes import ATTACH_SECONDS, restart
from tests.support.implementations import TOPOLOGIES
from tests.support.scripted_peer import Hold, ScriptedPeer

from .test_on_behalf import held, lncli, mine

AMOUNT_SAT = 1_000_000
CLOSES_BLOCKS = LspPolicy().settle_force_close_blocks
LATE_BLOCKS = 21
"""Blocks before its expiry at which LND fails an HTLC of a returning payer."""
FEES_SAT = 20_000
"""More than the cost of such a close, and far less than the amount at stake."""


@pytest.fixture
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """A separate testbed, because it loses a channel."""
    with running_testbed(load(TOPOLOGIES / "on-behalf.yaml"), request.config) as running:
        yield running


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """Disabled: the money of a closed channel is on chain, where each test counts it."""


def wealth_sat(testbed: Testbed, name: str) -> int:
    """Return a node's balance on chain and in its channels, without HTLCs."""
    node = testbed[name]
    return node.onchain_sat() + node.channel_balance_msat() // 1_000


def part_of(lsp: Lsp, hold: Hold) -> dict[str, int]:
    """Return the payment's only part, as the LSP reports it."""
    unblock_hash = hold.request.unblock_hash.hex()
    [block] = [each for each in lsp.status()["blocks"] if each["unblock_hash"] == unblock_hash]
    part: dict[str, int]
    [part] = block["parts"]
    return part


def open_with_a(testbed: Testbed) -> list[str]:
    """Return the channels with A that the LSP's node lists as open."""
    peer = testbed["A"].node_id
    return [each["channel_point"] for each in lncli(testbed, "LSP", "listchannels", f"--peer={peer}")["channels"]]


def force_closes(lsp: Lsp) -> list[str]:
    """Return the logged reasons of the LSP's force-closes."""
    return [event["because"] for event in lsp.events() if event["what"] == "force-close"]


def claimed_on_chain(testbed: Testbed, least_sat: int) -> Predicate:
    """The LSP's wallet has at least this amount. Each poll mines a block until then."""

    def missing() -> str | None:
        if (has := wealth_sat(testbed, "LSP")) >= least_sat:
            return None
        return f"the LSP has {has} sat of {least_sat} at block {testbed.mine()}"

    return Predicate("claimed_on_chain", missing)


@pytest.mark.parametrize(
    "component", ["stays", pytest.param("is down until it is almost too late", marks=pytest.mark.full)]
)
def test_a_claim_that_its_node_forgot_is_taken_on_chain(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, component: str
) -> None:
    before = {name: wealth_sat(testbed, name) for name in ("A", "LSP", "router", "B")}
    via = [bytes.fromhex(testbed["router"].node_id)]
    hold = held(a, b.invoice(AMOUNT_SAT * 1_000))
    with a.away():
        hold.release(b, via).wait_for_state(State.CLAIMED)
        wait_for(no_htlcs([testbed["router"], testbed["B"]]))
        testbed.kill("LSP")
        testbed.start_and_wait("LSP")
        wait_for(interceptor_attached(lsp), ATTACH_SECONDS)
        part = part_of(lsp, hold)
        expiry = part["incoming_expiry"]

        mine(testbed, lsp, expiry - CLOSES_BLOCKS - 1 - testbed.chain.height_blocks)
        [channel] = open_with_a(testbed)
        assert force_closes(lsp) == []
        if component == "stays":
            mine(testbed, lsp)
        else:
            lsp.kill()
            testbed.mine(expiry - LATE_BLOCKS - 1 - testbed.chain.height_blocks)
            restart(lsp)
        still_open = Predicate("channel_closing", lambda: f"{channel} is open" if open_with_a(testbed) else None)
        wait_for(still_open)
        fee_sat = part["amount_msat"] // 1_000 - AMOUNT_SAT
        wait_for(claimed_on_chain(testbed, before["LSP"] - FEES_SAT), 120)
        assert testbed.chain.height_blocks < expiry, "from then on A could have taken it back"
        left_blocks = CLOSES_BLOCKS if component == "stays" else LATE_BLOCKS + 1
        [because] = force_closes(lsp)
        assert because.endswith(f"is claimed and expires in {left_blocks} blocks")

    following = a.start(a.node.track_payment(hold.invoice.payment_hash))
    wait_for(Predicate("decided", lambda: None if following.done() else f"not by block {testbed.mine()}"), 120)
    assert following.result().status is PaymentStatus.SUCCEEDED  # A's node has read the preimage from the chain
    assert before["LSP"] - FEES_SAT <= wealth_sat(testbed, "LSP") <= before["LSP"] + fee_sat
    assert wealth_sat(testbed, "B") == before["B"] + AMOUNT_SAT
    assert force_closes(lsp) == [because]
