"""When the chain decides. Each scenario has a testbed of its own, for it loses a channel or the chain's last blocks."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

import pytest
from bitcoinlib.transactions import Transaction

from harness.checks import balances
from harness.checks.scenario_table import Recorder
from harness.faults.failpoints import frozen_before
from harness.nodes.base import Channel, Node
from harness.pytest_plugin import running_testbed
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.topology import ChainSpec, Topology
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support.implementations import CLN_IN_FULL, all_on
from tests.support.payment_harness import Deal, Scene, restore

AMOUNT_MSAT = 1_000_000_000
FEES_SAT = 50_000
"""More than any of these closes costs, and far less than what is at stake."""
NODE_CLOSES_BLOCKS = 16
"""So long before its expiry LND goes on chain for an HTLC whose preimage it has; CLN does a block sooner."""
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
def scene(testbed: Testbed, record_property: Recorder) -> Scene:
    restore(testbed, testbed.phones.values())
    return Scene(testbed, balances.count(testbed), record=record_property)


@pytest.fixture(autouse=True)
def money_counted() -> None:
    """The money of a closed channel is on chain: each test counts it there."""


def wealth_sat(scene: Scene, name: str) -> int:
    """What a node has on chain and in its channels, HTLCs left out."""
    node = scene.testbed[name]
    return node.onchain_sat() + node.channel_balance_msat() // 1_000


def with_htlc(scene: Scene, name: str, peer_id: str | None = None) -> Channel:
    """The node's channel (with this peer) that the payment is in."""
    channels = [each for each in scene.testbed[name].channels() if each.htlcs and peer_id in (None, each.peer_id)]
    [channel] = channels
    return channel


def locked_in(scene: Scene, name: str, peer_id: str) -> Predicate:
    """The payment's HTLC is in both commitments of a channel with this peer, as far as the node knows."""

    def missing() -> str | None:
        channels = [each for each in scene.testbed[name].channels() if each.peer_id == peer_id]
        return None if sum(each.htlcs_locked_in for each in channels) == 1 else f"{channels}"

    return Predicate("locked_in", missing)


def spending(scene: Scene, txid: str, output: int, since_height: int, blocks: int = 10) -> Transaction:
    """The transaction that spends this output, once it is mined: at most so many blocks later.

    Before each block the nodes have a while to publish what the last one allows.
    """
    chain = scene.testbed.chain
    spent = Predicate("spent", lambda: None if chain.spender(txid, output, since_height) else "not spent")
    for _ in range(blocks):
        with suppress(WaitTimeoutError):
            wait_for(spent, BETWEEN_BLOCKS_SECONDS)
        found = chain.spender(txid, output, since_height)
        if found is not None and found.txid not in chain.mempool():
            return found
        scene.testbed.mine()
    raise AssertionError(f"{txid}:{output} is not spent {blocks} blocks later")


def closing(scene: Scene, channel: Channel, since_height: int) -> Transaction:
    """The mined commitment transaction of a channel."""
    txid, output = channel.funding.split(":")
    commitment = spending(scene, txid, int(output), since_height)
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


def mine_until_wealth(scene: Scene, name: str, least_sat: int) -> None:
    """Let the node's claims mature and confirm."""

    def missing() -> str | None:
        if (has := wealth_sat(scene, name)) >= least_sat:
            return None
        return f"{name} has {has} sat of {least_sat} at block {scene.testbed.mine()}"

    wait_for(Predicate("wealth", missing), 120, interval_seconds=0.5)


def mine_until(scene: Scene, deal: Deal, state: str) -> None:
    """Let the chain bury what has become of the payment, until the payer's node takes it for certain."""

    def missing() -> str | None:
        payment = scene.a.wallet.payment(deal.payment_hash)
        if payment is not None and payment["state"] == state:
            return None
        return f"not {state} at block {scene.testbed.mine()}: {payment}"

    wait_for(Predicate("decided", missing), 120, interval_seconds=0.5)


def part_of(scene: Scene, deal: Deal) -> dict[str, int]:
    """The payment's only part, as the payer's LSP has it."""
    block = scene.block(deal)
    assert block is not None
    [part] = block["parts"]
    found: dict[str, int] = part
    return found


def test_payer_away_until_its_deadline(scene: Scene) -> None:
    """The LSP has the preimage and nobody to give it to: it takes the HTLC on chain, and its wallet has the money."""
    deal, chain = scene.deal(AMOUNT_MSAT), scene.testbed.chain
    lsp_before, b_before = wealth_sat(scene, "LSP"), wealth_sat(scene, "B")
    with scene.b.disconnected():
        deal.hand_over("--slack-blocks=10")
        channel, height = with_htlc(scene, "LSP"), chain.height_blocks
        scene.a.disconnect()
        scene.fault("payer away until its deadline")
    deal.wait_until_paid()
    part = part_of(scene, deal)

    scene.testbed.mine(part["incoming_expiry"] - NODE_CLOSES_BLOCKS - chain.height_blocks)
    commitment = closing(scene, channel, height)
    output = htlc_output(commitment, part["amount_msat"])
    claim = spending(scene, commitment.txid, output, height)
    assert chain.height_blocks < part["incoming_expiry"], "from there on the payer could have taken it back"

    payment = deal.wait_until("settled")  # its node sees the preimage on chain
    assert payment["preimage"] == preimage_in(claim, deal.payment_hash)
    assert any(abs(each.value - commitment.outputs[output].value) <= FEES_SAT for each in claim.outputs)
    mine_until_wealth(scene, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(scene, "B") == b_before + AMOUNT_MSAT // 1_000
    scene.outcome("claimed on chain")


@pytest.mark.full
def test_payer_closes_its_channel_while_the_payment_is_held(scene: Scene) -> None:
    """What is not surely to be had any more is never released; the payer takes it back when it has expired."""
    deal, chain = scene.deal(AMOUNT_MSAT), scene.testbed.chain
    a_before, lsp_before, b_before = (wealth_sat(scene, name) for name in ("A", "LSP", "B"))
    with scene.b.disconnected():
        deal.hand_over("--slack-blocks=10")
        channel, height, part = with_htlc(scene, "A"), chain.height_blocks, part_of(scene, deal)
        scene.testbed["A"].force_close(channel)
        scene.fault("payer closes its channel")
        scene.testbed.mine(CLOSE_CONFIRMATIONS)
        scene.wait_for_block(deal, "failed back")

    def missing() -> str | None:
        states = [each["state"] for each in scene.b.wallet.announced()]
        return None if states == ["too late"] else f"B says {states}"

    wait_for(Predicate("payee_knows", missing), 60)
    assert scene.htlcs("B") == 0
    commitment = closing(scene, channel, height)
    scene.testbed.mine(max(0, part["incoming_expiry"] - chain.height_blocks))
    claim = spending(scene, commitment.txid, htlc_output(commitment, part["amount_msat"]), height)
    assert claim.locktime == part["incoming_expiry"], "not what takes an HTLC back when it has expired"
    assert preimage_in(claim, deal.payment_hash) is None
    mine_until(scene, deal, "failed")
    mine_until_wealth(scene, "A", a_before - FEES_SAT)
    mine_until_wealth(scene, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(scene, "B") == b_before
    scene.outcome("returned on chain")


def balance_is(node: Node, msat: int) -> Predicate:
    """The node has so much in its channels, by its own account."""

    def missing() -> str | None:
        seen = node.channel_balance_msat()
        return None if seen == msat else f"{node.name} has {seen} msat, not {msat}"

    return Predicate("balance", missing)


@contextmanager
def about_to_be_let_go(scene: Scene, deal: Deal) -> Iterator[None]:
    """The payee has released the payment, and the LSP has not told its node: it does at the end of the `with` block."""
    lsp = scene.testbed.lsp("LSP")
    scene.b.disconnect()
    deal.hand_over()
    with frozen_before(scene.testbed, lsp, "ResolveHtlc") as store:
        scene.b.reconnect()
        wait_for(store.frozen, 60)
        yield


@pytest.mark.full
def test_payees_channel_closed_after_the_release(scene: Scene) -> None:
    """The HTLC is on its way to a payee that stands still; with the channel it is gone, and the payer has it back."""
    deal, testbed = scene.deal(AMOUNT_MSAT), scene.testbed
    lsp_before, b_before = wealth_sat(scene, "LSP"), wealth_sat(scene, "B")
    with about_to_be_let_go(scene, deal):
        scene.b.freeze()
        scene.fault("payee frozen")
    scene.wait_for_block(deal, "released")
    [channel] = [each for each in testbed["LSP"].channels() if each.peer_id == scene.b.node.node_id]
    testbed["LSP"].force_close(channel)
    scene.fault("LSP closes the payee's channel")
    testbed.mine(CLOSE_CONFIRMATIONS)
    deal.wait_until("failed")
    wait_for(balance_is(testbed["A"], scene.before.channels_msat["A"]))
    scene.b.unfreeze()
    mine_until_wealth(scene, "LSP", lsp_before - FEES_SAT)
    mine_until_wealth(scene, "B", b_before - FEES_SAT)
    assert wealth_sat(scene, "B") <= b_before
    scene.outcome("returned in full")


@pytest.mark.full
def test_payees_channel_closed_with_the_htlc_locked_in(scene: Scene) -> None:
    """The payee has it and cannot answer, and its LSP closes the channel: the payee takes the money on chain, which
    shows the preimage, and with that the LSP takes its own.
    """
    deal, testbed, chain = scene.deal(AMOUNT_MSAT), scene.testbed, scene.testbed.chain
    lsp_before, b_before = wealth_sat(scene, "LSP"), wealth_sat(scene, "B")
    with about_to_be_let_go(scene, deal):
        scene.b.latency(SLOW_MS, Direction.DOWNSTREAM)
    wait_for(locked_in(scene, "LSP", scene.b.node.node_id), 60)
    scene.b.freeze()
    scene.fault("payee frozen")
    channel, height = with_htlc(scene, "LSP", scene.b.node.node_id), chain.height_blocks
    testbed["LSP"].force_close(channel)
    scene.fault("LSP closes the payee's channel")
    testbed.mine(CLOSE_CONFIRMATIONS)
    commitment = closing(scene, channel, height)
    scene.b.restore_link(wait=False)
    scene.b.unfreeze()

    claim = spending(scene, commitment.txid, htlc_output(commitment, AMOUNT_MSAT), height)
    payment = deal.wait_until("settled")
    assert payment["preimage"] == preimage_in(claim, deal.payment_hash)
    moved_msat = testbed["A"].channel_balance_msat() - scene.before.channels_msat["A"]
    assert moved_msat == -AMOUNT_MSAT - payment["fee_msat"]
    mine_until_wealth(scene, "LSP", lsp_before - FEES_SAT)
    mine_until_wealth(scene, "B", b_before + AMOUNT_MSAT // 1_000 - FEES_SAT)
    assert wealth_sat(scene, "B") <= b_before + AMOUNT_MSAT // 1_000
    scene.outcome("claimed on chain")


def released_while_the_payers_close_is_unconfirmed(scene: Scene, deal: Deal) -> None:
    """The payee is back, and gets its money; and the close, once mined, gives the LSP its own."""
    chain, channel, part = scene.testbed.chain, with_htlc(scene, "LSP"), part_of(scene, deal)
    height = chain.height_blocks
    lsp_before, b_before = wealth_sat(scene, "LSP"), wealth_sat(scene, "B")
    assert chain.mempool(), "the payer has not published its close"
    scene.fault("payer closes its channel")
    scene.b.reconnect()
    deal.wait_until_paid()
    assert chain.height_blocks == height, "the close may have been mined"
    commitment = closing(scene, channel, height)
    claim = spending(scene, commitment.txid, htlc_output(commitment, part["amount_msat"]), height)
    assert chain.height_blocks < part["incoming_expiry"], "from there on the payer could have taken it back"
    mine_until(scene, deal, "settled")
    payment = deal.wait_until("settled")
    assert payment["preimage"] == preimage_in(claim, deal.payment_hash)
    mine_until_wealth(scene, "LSP", lsp_before - FEES_SAT)
    assert wealth_sat(scene, "B") == b_before + AMOUNT_MSAT // 1_000
    scene.outcome("claimed on chain")


@pytest.mark.full
def test_released_while_the_close_of_a_payer_that_is_away_is_unconfirmed(scene: Scene) -> None:
    """Its LSP cannot know of it: it lets the payment go, or pays it, as for any payer that is away."""
    deal = scene.deal(AMOUNT_MSAT)
    scene.b.disconnect()
    deal.hand_over()
    scene.a.disconnect()
    scene.testbed["A"].force_close(with_htlc(scene, "A"))
    released_while_the_payers_close_is_unconfirmed(scene, deal)


@pytest.mark.full
@pytest.mark.parametrize("topology", ["lnd"], indirect=True)
def test_released_while_the_close_of_a_payer_that_is_there_is_unconfirmed(scene: Scene) -> None:
    """LND tells its peer nothing of it, and so the payment is forwarded. Core Lightning offers to close together first,
    at which the LSP returns the payment: that is `test_payer_closes_its_channel_while_the_payment_is_held`.
    """
    deal = scene.deal(AMOUNT_MSAT)
    scene.b.disconnect()
    deal.hand_over()
    scene.testbed["A"].force_close(with_htlc(scene, "A"))
    released_while_the_payers_close_is_unconfirmed(scene, deal)


def test_three_blocks_replaced_while_held(scene: Scene) -> None:
    deal = scene.deal(AMOUNT_MSAT)
    with scene.b.disconnected():
        deal.hand_over("--slack-blocks=10")
        scene.testbed.mine(4)
        height = scene.testbed.chain.reorganise(3)
        scene.fault("reorg of 3 blocks")
        wait_for(scene.testbed.at_height(height))
        scene.wait_for_htlcs(A=1, LSP=1, B=0)
    deal.wait_until_paid()
    scene.assert_paid(deal)
