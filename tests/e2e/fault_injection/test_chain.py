"""On-chain outcomes. Each scenario has a separate testbed, because it loses a channel or the chain's last blocks."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

import pytest
from bitcoinlib.transactions import Transaction

from asyncpay.engine.policy import LspPolicy
from harness.checks import balances
from harness.checks.scenario_table import Recorder
from harness.faults.failpoints import frozen_before
from harness.nodes.base import Channel, Node
from harness.pytest_plugin import running_testbed
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.timeline import recording
from harness.timeline.model import Kind
from harness.timeline.story import tell
from harness.topology import ChainSpec, Topology
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support.implementations import CLN_IN_FULL, IMPLEMENTATIONS, all_on, capabilities
from tests.support.payment_harness import PaymentCase, PaymentHarness, restore

pytestmark = pytest.mark.seconds(60)

AMOUNT_MSAT = 1_000_000_000
FEES_SAT = 50_000
"""More than the cost of any of these closes, and far less than the amount at stake."""
NODE_CLOSES_BLOCKS = 16
"""Blocks before its expiry at which LND claims an HTLC on chain whose preimage it has; CLN does it one block earlier,
and LDK 20 blocks.

The LSP's component force-closes earlier if its node may forget a SETTLE (settle_force_close_blocks).
"""
CLOSE_CONFIRMATIONS = {"lnd": 3, "cln": 3, "ldk": 6}
"""Until then a reorg may undo the close: LND regards the channel as open, and LDK fails none of its HTLCs."""
MATURING_BLOCKS = {"lnd": 1, "cln": 1, "ldk": 4}
"""Mined at a time while claims mature. LND raises the fees of a claim with every block; LDK's claims mature for 144
blocks, and it looks for mature ones every 30 s."""
BETWEEN_BLOCKS_SECONDS = 3
SLOW_MS = 10_000
"""The delay of a peer's messages: long enough to freeze it before it receives the next message."""


RELAY_ANYTHING = "-minrelaytxfee=0.00000100"
"""In BTC per 1000 virtual bytes. To claim an HTLC on its peer's commitment, CLN 26.06 pays 149 sat for 156 vbytes
at the lowest feerate, the only one that it knows on regtest: below the minimum relay feerate of bitcoind before 30."""


@pytest.fixture(params=IMPLEMENTATIONS)
def topology(request: pytest.FixtureRequest) -> Topology:
    pocket = all_on(request.param, "pocket.yaml")
    return pocket.model_copy(update={"chain": ChainSpec(args=(RELAY_ANYTHING,))})


@pytest.fixture
def testbed(topology: Topology, pytestconfig: pytest.Config) -> Iterator[Testbed]:
    with running_testbed(topology, pytestconfig) as running:
        yield running


@pytest.fixture
def payments(testbed: Testbed, record_property: Recorder) -> PaymentHarness:
    restore(testbed.phones.values())
    return PaymentHarness(testbed, balances.count(testbed), record=record_property)


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """Disabled: the money of a closed channel is on chain, where each test counts it."""


def wealth_sat(payments: PaymentHarness, name: str) -> int:
    """Return a node's balance on chain and in its channels, without HTLCs."""
    node = payments.testbed[name]
    return node.onchain_sat() + node.channel_balance_msat() // 1_000


def implementation(payments: PaymentHarness) -> str:
    """Return the implementation of all nodes."""
    return payments.testbed.topology.nodes["LSP"].implementation


def confirm_close(payments: PaymentHarness) -> None:
    """Mine the commitment transaction, and so many blocks that no node expects a reorg to undo it."""
    payments.testbed.mine(CLOSE_CONFIRMATIONS[implementation(payments)])


def with_htlc(payments: PaymentHarness, name: str, peer_id: str | None = None) -> Channel:
    """Return the node's channel (with this peer) that has the payment's HTLC."""
    channels = [each for each in payments.testbed[name].channels() if each.htlcs and peer_id in (None, each.peer_id)]
    [channel] = channels
    return channel


def locked_in(payments: PaymentHarness, name: str, peer_id: str) -> Predicate:
    """The payment's HTLC is in both commitments of a channel with this peer, as far as the node knows."""

    def missing() -> str | None:
        channels = [each for each in payments.testbed[name].channels() if each.peer_id == peer_id]
        return None if sum(each.htlcs_locked_in for each in channels) == 1 else f"{channels}"

    return Predicate("locked_in", missing)


def spending(payments: PaymentHarness, txid: str, output: int, since_height: int, blocks: int = 10) -> Transaction:
    """Return the transaction that spends this output, once it is mined, within this number of blocks.

    Before each block the nodes have time to publish transactions that the last block has made valid.
    """
    chain = payments.testbed.chain
    spent = Predicate("spent", lambda: None if chain.spender(txid, output, since_height) else "not spent")
    for _ in range(blocks):
        with suppress(WaitTimeoutError):
            wait_for(spent, BETWEEN_BLOCKS_SECONDS)
        found = chain.spender(txid, output, since_height)
        if found is not None and found.txid not in chain.mempool():
            return found
        payments.testbed.mine()
    raise AssertionError(f"{txid}:{output} is not spent {blocks} blocks later")


def closing(payments: PaymentHarness, channel: Channel, since_height: int) -> Transaction:
    """The mined commitment transaction of a channel."""
    txid, output = channel.funding.split(":")
    commitment = spending(payments, txid, int(output), since_height)
    total_sat = sum(each.value for each in commitment.outputs)
    assert channel.capacity_sat - FEES_SAT < total_sat < channel.capacity_sat
    return commitment


def htlc_output(commitment: Transaction, amount_msat: int) -> int:
    """Return the index of the commitment's output with the payment."""
    [output] = [each.output_n for each in commitment.outputs if each.value == amount_msat // 1_000]
    return int(output)


def preimage_in(transaction: Transaction, payment_hash: str) -> str | None:
    """Return the preimage that a transaction reveals, if any.

    bitcoinlib drops witnesses that it does not recognize, so the preimage is searched in the raw bytes.
    """
    raw: bytes = transaction.rawtx
    windows = (raw[start : start + 32] for start in range(len(raw) - 31))
    return next((each.hex() for each in windows if sha256(each).hexdigest() == payment_hash), None)


def mine_until_wealth(payments: PaymentHarness, name: str, least_sat: int) -> None:
    """Mine until the node's claims are mature and confirmed."""
    blocks = MATURING_BLOCKS[implementation(payments)]

    def missing() -> str | None:
        if (has := wealth_sat(payments, name)) >= least_sat:
            return None
        return f"{name} has {has} sat of {least_sat} at block {payments.testbed.mine(blocks)}"

    wait_for(Predicate("wealth", missing), 240, interval_seconds=0.5)


def mine_until(payments: PaymentHarness, case: PaymentCase, state: str) -> None:
    """Mine until the payer's node regards the outcome of the payment as final."""

    def missing() -> str | None:
        payment = payments.a.wallet.payment(case.payment_hash)
        if payment is not None and payment["state"] == state:
            return None
        return f"not {state} at block {payments.testbed.mine()}: {payment}"

    wait_for(Predicate("decided", missing), 120, interval_seconds=0.5)


def part_of(payments: PaymentHarness, case: PaymentCase) -> dict[str, int]:
    """Return the payment's only part, as the payer's LSP reports it."""
    block = payments.block(case)
    assert block is not None
    [part] = block["parts"]
    found: dict[str, int] = part
    return found


def test_payer_away_until_its_deadline(payments: PaymentHarness) -> None:
    """The LSP has the preimage and the payer is offline: it claims the HTLC on chain, and its wallet has the money."""
    case, chain = payments.new_case(AMOUNT_MSAT), payments.testbed.chain
    lsp_before, b_before = wealth_sat(payments, "LSP"), wealth_sat(payments, "B")
    with payments.b.disconnected():
        case.hand_over("--slack-blocks=10")
        channel, height = with_htlc(payments, "LSP"), chain.height_blocks
        payments.a.disconnect()
        payments.record_fault("payer away until its deadline")
    case.wait_until_paid()
    part = part_of(payments, case)

    # Mine no block before the commitment is seen: LND raises the fees of its claim with every block.
    kept = capabilities(payments.testbed, "LSP").keeps_settlements
    closes_blocks = NODE_CLOSES_BLOCKS if kept else LspPolicy().settle_force_close_blocks
    payments.testbed.mine(part["incoming_expiry"] - closes_blocks - chain.height_blocks)
    commitment = closing(payments, channel, height)
    output = htlc_output(commitment, part["amount_msat"])
    claim = spending(payments, commitment.txid, output, height)
    assert chain.height_blocks < part["incoming_expiry"], "from there on the payer could have taken it back"

    payment = case.wait_until("settled")  # its node sees the preimage on chain
    assert payment["preimage"] == preimage_in(claim, case.payment_hash)
    assert any(abs(each.value - commitment.outputs[output].value) <= FEES_SAT for each in claim.outputs)
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(payments, "B") == b_before + AMOUNT_MSAT // 1_000
    payments.record_outcome("claimed on chain")


@pytest.mark.full
def test_payer_closes_its_channel_while_the_payment_is_held(payments: PaymentHarness) -> None:
    """A part that the LSP may not be able to claim is never released; the payer takes it back after its expiry."""
    case, chain = payments.new_case(AMOUNT_MSAT), payments.testbed.chain
    a_before, lsp_before, b_before = (wealth_sat(payments, name) for name in ("A", "LSP", "B"))
    with payments.b.disconnected():
        case.hand_over("--slack-blocks=10")
        channel, height, part = with_htlc(payments, "A"), chain.height_blocks, part_of(payments, case)
        payments.testbed["A"].force_close(channel)
        payments.record_fault("payer closes its channel")
        confirm_close(payments)
        payments.wait_for_block(case, "failed back")

    def missing() -> str | None:
        states = [each["state"] for each in payments.b.wallet.announced()]
        return None if states == ["too late"] else f"B says {states}"

    wait_for(Predicate("payee_knows", missing), 60)
    assert payments.htlcs("B") == 0
    commitment = closing(payments, channel, height)
    payments.testbed.mine(max(0, part["incoming_expiry"] - chain.height_blocks))
    claim = spending(payments, commitment.txid, htlc_output(commitment, part["amount_msat"]), height)
    assert claim.locktime == part["incoming_expiry"], "not what takes an HTLC back when it has expired"
    assert preimage_in(claim, case.payment_hash) is None
    mine_until(payments, case, "failed")
    mine_until_wealth(payments, "A", a_before - FEES_SAT)
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(payments, "B") == b_before
    payments.record_outcome("returned on chain")


def balance_is(node: Node, msat: int) -> Predicate:
    """The node reports this balance in its channels."""

    def missing() -> str | None:
        seen = node.channel_balance_msat()
        return None if seen == msat else f"{node.name} has {seen} msat, not {msat}"

    return Predicate("balance", missing)


@contextmanager
def about_to_be_let_go(payments: PaymentHarness, case: PaymentCase) -> Iterator[None]:
    """The payee has released the payment, and the LSP resumes it at its node only at the end of the `with` block."""
    lsp = payments.testbed.lsp("LSP")
    payments.b.disconnect()
    case.hand_over()
    with frozen_before(payments.testbed, lsp, "ResolveHtlc") as store:
        payments.b.reconnect()
        wait_for(store.frozen, 60)
        yield


@pytest.mark.full
def test_payees_channel_closed_after_the_release(payments: PaymentHarness) -> None:
    """The HTLC is in transit to a frozen payee; it ends with the channel, and is returned to the payer."""
    case, testbed = payments.new_case(AMOUNT_MSAT), payments.testbed
    lsp_before, b_before = wealth_sat(payments, "LSP"), wealth_sat(payments, "B")
    with about_to_be_let_go(payments, case):
        payments.b.freeze()
        payments.record_fault("payee frozen")
    payments.wait_for_block(case, "released")
    [channel] = [each for each in testbed["LSP"].channels() if each.peer_id == payments.b.node.node_id]
    testbed["LSP"].force_close(channel)
    payments.record_fault("LSP closes the payee's channel")
    confirm_close(payments)
    case.wait_until("failed")
    wait_for(balance_is(testbed["A"], payments.before.channels_msat["A"]))
    payments.b.unfreeze()
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    mine_until_wealth(payments, "B", b_before - FEES_SAT)
    assert wealth_sat(payments, "B") <= b_before
    payments.record_outcome("returned in full")


@pytest.mark.full
@pytest.mark.parametrize("topology", CLN_IN_FULL, indirect=True)
def test_payees_channel_closed_with_the_htlc_locked_in(payments: PaymentHarness) -> None:
    """The payee has the HTLC and cannot answer, and its LSP closes the channel: the payee claims the money on chain,
    which reveals the preimage, and the LSP claims its own incoming HTLC with it.

    Not on LDK: the payee reads the close with the HTLC's last messages, and has not claimed it (no PaymentClaimable).
    """
    case, testbed, chain = payments.new_case(AMOUNT_MSAT), payments.testbed, payments.testbed.chain
    lsp_before, b_before = wealth_sat(payments, "LSP"), wealth_sat(payments, "B")
    with about_to_be_let_go(payments, case):
        payments.b.latency(SLOW_MS, Direction.DOWNSTREAM)
    wait_for(locked_in(payments, "LSP", payments.b.node.node_id), 60)
    payments.b.freeze()
    payments.record_fault("payee frozen")
    channel, height = with_htlc(payments, "LSP", payments.b.node.node_id), chain.height_blocks
    testbed["LSP"].force_close(channel)
    payments.record_fault("LSP closes the payee's channel")
    confirm_close(payments)
    commitment = closing(payments, channel, height)
    payments.b.restore_link(wait=False)
    payments.b.unfreeze()

    claim = spending(payments, commitment.txid, htlc_output(commitment, AMOUNT_MSAT), height)
    payment = case.wait_until("settled")
    assert payment["preimage"] == preimage_in(claim, case.payment_hash)
    moved_msat = testbed["A"].channel_balance_msat() - payments.before.channels_msat["A"]
    assert moved_msat == -AMOUNT_MSAT - payment["fee_msat"]
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    mine_until_wealth(payments, "B", b_before + AMOUNT_MSAT // 1_000 - FEES_SAT)
    assert wealth_sat(payments, "B") <= b_before + AMOUNT_MSAT // 1_000
    payments.record_outcome("claimed on chain")


def released_while_the_payers_close_is_unconfirmed(payments: PaymentHarness, case: PaymentCase, first_end: str) -> None:
    """The payee is back and is paid; the close, once mined, gives the LSP its money.

    first_end: what ends the payer's HTLC first, according to the timeline.
    """
    chain, channel, part = payments.testbed.chain, with_htlc(payments, "LSP"), part_of(payments, case)
    height = chain.height_blocks
    lsp_before, b_before = wealth_sat(payments, "LSP"), wealth_sat(payments, "B")
    assert chain.mempool(), "the payer has not published its close"
    payments.record_fault("payer closes its channel")
    payments.b.reconnect()
    case.wait_until_paid()
    assert chain.height_blocks == height, "the close may have been mined"
    commitment = closing(payments, channel, height)
    claim = spending(payments, commitment.txid, htlc_output(commitment, part["amount_msat"]), height)
    assert chain.height_blocks < part["incoming_expiry"], "from there on the payer could have taken it back"
    mine_until(payments, case, "settled")
    payment = case.wait_until("settled")
    assert payment["preimage"] == preimage_in(claim, case.payment_hash)
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(payments, "B") == b_before + AMOUNT_MSAT // 1_000
    story = tell(recording.gather(payments.testbed))
    ends = [htlc.end for htlc in story.htlcs if htlc.payment_hash == case.payment_hash]
    assert ends == [first_end, "settled"], "from A to LSP, and from LSP to B"
    what = [event.what for event in story.events if event.kind is Kind.CHAIN]
    assert what == ["commitment transaction", "claimed on chain"]
    payments.record_outcome("claimed on chain")


@pytest.mark.full
def test_released_while_the_close_of_a_payer_that_is_away_is_unconfirmed(payments: PaymentHarness) -> None:
    """The LSP cannot know of the close: it releases the payment, or pays it, as for any offline payer."""
    case = payments.new_case(AMOUNT_MSAT)
    payments.b.disconnect()
    case.hand_over()
    payments.a.disconnect()
    payments.testbed["A"].force_close(with_htlc(payments, "A"))
    released_while_the_payers_close_is_unconfirmed(payments, case, "claimed on chain")


@pytest.mark.full
@pytest.mark.parametrize("topology", ["lnd"], indirect=True)
def test_released_while_the_close_of_a_payer_that_is_there_is_unconfirmed(payments: PaymentHarness) -> None:
    """LND does not notify its peer, so the payment is forwarded. Core Lightning first offers a cooperative close, on
    which the LSP returns the payment: that is `test_payer_closes_its_channel_while_the_payment_is_held`.
    """
    case = payments.new_case(AMOUNT_MSAT)
    payments.b.disconnect()
    case.hand_over()
    payments.testbed["A"].force_close(with_htlc(payments, "A"))
    released_while_the_payers_close_is_unconfirmed(payments, case, "settled")


def test_three_blocks_replaced_while_held(payments: PaymentHarness) -> None:
    case = payments.new_case(AMOUNT_MSAT)
    with payments.b.disconnected():
        case.hand_over("--slack-blocks=10")
        payments.testbed.mine(4)
        height = payments.testbed.chain.reorganise(3)
        payments.record_fault("reorg of 3 blocks")
        wait_for(payments.testbed.at_height(height))
        payments.wait_for_htlcs(A=1, LSP=1, B=0)
    case.wait_until_paid()
    payments.assert_paid(case)
