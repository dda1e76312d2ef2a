"""When the chain decides. Each scenario has a testbed of its own, for it loses a channel or the chain's last blocks."""

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
from harness.topology import ChainSpec, Topology
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support.implementations import CLN_IN_FULL, all_on, capabilities
from tests.support.payment_harness import PaymentCase, PaymentHarness, restore

pytestmark = pytest.mark.seconds(60)

AMOUNT_MSAT = 1_000_000_000
FEES_SAT = 50_000
"""More than any of these closes costs, and far less than what is at stake."""
NODE_CLOSES_BLOCKS = 16
"""So long before its expiry LND goes on chain for an HTLC whose preimage it has; CLN does a block sooner.

The LSP's component force-closes earlier than that where its node may forget a SETTLE (settle_force_close_blocks).
"""
CLOSE_CONFIRMATIONS = 3
"""Until then LND takes a channel that was closed for open: the close may yet be undone."""
BETWEEN_BLOCKS_SECONDS = 3
SLOW_MS = 10_000
"""What a peer says comes so much later: time enough to freeze it before it hears the next thing."""


RELAY_ANYTHING = "-minrelaytxfee=0.00000100"
"""In BTC for 1000 virtual bytes. To claim an HTLC on its peer's commitment, CLN 26.06 pays 149 sat for 156 vbytes
at the lowest feerate, the only one that it knows on regtest: less than a bitcoind before version 30 relays."""


@pytest.fixture(params=CLN_IN_FULL)
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
    """The money of a closed channel is on chain: each test counts it there."""


def wealth_sat(payments: PaymentHarness, name: str) -> int:
    """What a node has on chain and in its channels, HTLCs left out."""
    node = payments.testbed[name]
    return node.onchain_sat() + node.channel_balance_msat() // 1_000


def with_htlc(payments: PaymentHarness, name: str, peer_id: str | None = None) -> Channel:
    """The node's channel (with this peer) that the payment is in."""
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
    """The transaction that spends this output, once it is mined: at most so many blocks later.

    Before each block the nodes have a while to publish what the last one allows.
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
    """Which output of the commitment holds the payment."""
    [output] = [each.output_n for each in commitment.outputs if each.value == amount_msat // 1_000]
    return int(output)


def preimage_in(transaction: Transaction, payment_hash: str) -> str | None:
    """The preimage that a transaction shows to the world, if any.

    bitcoinlib keeps no witness that it takes for one of another kind, so it is looked for in the bytes.
    """
    raw: bytes = transaction.rawtx
    windows = (raw[start : start + 32] for start in range(len(raw) - 31))
    return next((each.hex() for each in windows if sha256(each).hexdigest() == payment_hash), None)


def mine_until_wealth(payments: PaymentHarness, name: str, least_sat: int) -> None:
    """Let the node's claims mature and confirm."""

    def missing() -> str | None:
        if (has := wealth_sat(payments, name)) >= least_sat:
            return None
        return f"{name} has {has} sat of {least_sat} at block {payments.testbed.mine()}"

    wait_for(Predicate("wealth", missing), 120, interval_seconds=0.5)


def mine_until(payments: PaymentHarness, case: PaymentCase, state: str) -> None:
    """Let the chain bury what has become of the payment, until the payer's node takes it for certain."""

    def missing() -> str | None:
        payment = payments.a.wallet.payment(case.payment_hash)
        if payment is not None and payment["state"] == state:
            return None
        return f"not {state} at block {payments.testbed.mine()}: {payment}"

    wait_for(Predicate("decided", missing), 120, interval_seconds=0.5)


def part_of(payments: PaymentHarness, case: PaymentCase) -> dict[str, int]:
    """The payment's only part, as the payer's LSP has it."""
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

    # Not a block more before the commitment is seen: LND raises the fees of its claim with every one.
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
    """What is not surely to be had any more is never released; the payer takes it back when it has expired."""
    case, chain = payments.new_case(AMOUNT_MSAT), payments.testbed.chain
    a_before, lsp_before, b_before = (wealth_sat(payments, name) for name in ("A", "LSP", "B"))
    with payments.b.disconnected():
        case.hand_over("--slack-blocks=10")
        channel, height, part = with_htlc(payments, "A"), chain.height_blocks, part_of(payments, case)
        payments.testbed["A"].force_close(channel)
        payments.record_fault("payer closes its channel")
        payments.testbed.mine(CLOSE_CONFIRMATIONS)
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
    """The node has so much in its channels, by its own account."""

    def missing() -> str | None:
        seen = node.channel_balance_msat()
        return None if seen == msat else f"{node.name} has {seen} msat, not {msat}"

    return Predicate("balance", missing)


@contextmanager
def about_to_be_let_go(payments: PaymentHarness, case: PaymentCase) -> Iterator[None]:
    """The payee has released the payment, and the LSP has not told its node: it does at the end of the `with` block."""
    lsp = payments.testbed.lsp("LSP")
    payments.b.disconnect()
    case.hand_over()
    with frozen_before(payments.testbed, lsp, "ResolveHtlc") as store:
        payments.b.reconnect()
        wait_for(store.frozen, 60)
        yield


@pytest.mark.full
def test_payees_channel_closed_after_the_release(payments: PaymentHarness) -> None:
    """The HTLC is on its way to a frozen payee; it ends with the channel, and the payer has it back."""
    case, testbed = payments.new_case(AMOUNT_MSAT), payments.testbed
    lsp_before, b_before = wealth_sat(payments, "LSP"), wealth_sat(payments, "B")
    with about_to_be_let_go(payments, case):
        payments.b.freeze()
        payments.record_fault("payee frozen")
    payments.wait_for_block(case, "released")
    [channel] = [each for each in testbed["LSP"].channels() if each.peer_id == payments.b.node.node_id]
    testbed["LSP"].force_close(channel)
    payments.record_fault("LSP closes the payee's channel")
    testbed.mine(CLOSE_CONFIRMATIONS)
    case.wait_until("failed")
    wait_for(balance_is(testbed["A"], payments.before.channels_msat["A"]))
    payments.b.unfreeze()
    mine_until_wealth(payments, "LSP", lsp_before - FEES_SAT)
    mine_until_wealth(payments, "B", b_before - FEES_SAT)
    assert wealth_sat(payments, "B") <= b_before
    payments.record_outcome("returned in full")


@pytest.mark.full
def test_payees_channel_closed_with_the_htlc_locked_in(payments: PaymentHarness) -> None:
    """The payee has it and cannot answer, and its LSP closes the channel: the payee takes the money on chain, which
    shows the preimage, and with that the LSP takes its own.
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
    testbed.mine(CLOSE_CONFIRMATIONS)
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


def released_while_the_payers_close_is_unconfirmed(payments: PaymentHarness, case: PaymentCase) -> None:
    """The payee is back, and gets its money; and the close, once mined, gives the LSP its own."""
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
    payments.record_outcome("claimed on chain")


@pytest.mark.full
def test_released_while_the_close_of_a_payer_that_is_away_is_unconfirmed(payments: PaymentHarness) -> None:
    """Its LSP cannot know of it: it lets the payment go, or pays it, as for any payer that is away."""
    case = payments.new_case(AMOUNT_MSAT)
    payments.b.disconnect()
    case.hand_over()
    payments.a.disconnect()
    payments.testbed["A"].force_close(with_htlc(payments, "A"))
    released_while_the_payers_close_is_unconfirmed(payments, case)


@pytest.mark.full
@pytest.mark.parametrize("topology", ["lnd"], indirect=True)
def test_released_while_the_close_of_a_payer_that_is_there_is_unconfirmed(payments: PaymentHarness) -> None:
    """LND tells its peer nothing of it, and so the payment is forwarded. Core Lightning offers to close together first,
    at which the LSP returns the payment: that is `test_payer_closes_its_channel_while_the_payment_is_held`.
    """
    case = payments.new_case(AMOUNT_MSAT)
    payments.b.disconnect()
    case.hand_over()
    payments.testbed["A"].force_close(with_htlc(payments, "A"))
    released_while_the_payers_close_is_unconfirmed(payments, case)


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
