"""Every shipped topology comes up, and a payment in each direction is exact to the millisatoshi on each hop."""

from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import load, shipped

LINE = ["A", "LSP_a", "router", "LSP_b", "B"]
AMOUNT_MSAT = 123_456_789


@pytest.fixture(scope="module", params=[path.stem for path in shipped()])
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(load(request.param), request.config) as running:
        yield running


def fee_msat(testbed: Testbed, forwarder: str, to: str, forwarded_msat: int) -> int:
    """Return a node's fee for forwarding to its neighbour, as the neighbour knows it."""
    channel = next(c for c in testbed[to].channels() if c.peer_id == testbed[forwarder].node_id)
    policy = testbed[to].policies()[channel.short_channel_id, testbed[forwarder].node_id]
    return policy.fee_msat(forwarded_msat)


def expected_on_each_hop(testbed: Testbed, path: list[str]) -> list[int]:
    """Return the amounts of the HTLCs from payer to payee, calculated backwards from the fees along the path."""
    amounts = [AMOUNT_MSAT]
    for forwarder, to in reversed(list(pairwise(path[1:]))):
        amounts.insert(0, amounts[0] + fee_msat(testbed, forwarder, to, amounts[0]))
    return amounts


@pytest.mark.parametrize("path", [LINE, LINE[::-1]], ids=["A to B", "B to A"])
def test_payment_moves_the_right_amount_over_each_hop(testbed: Testbed, path: list[str]) -> None:
    before = balances.count(testbed)
    expected = expected_on_each_hop(testbed, path)

    payment = testbed.pay(path[0], path[-1], AMOUNT_MSAT)

    moved = balances.count(testbed).moved_since(before)
    # In a line, the total loss of the first n nodes is the amount of the n-th hop.
    assert [-msat for msat in accumulate(moved[name] for name in path[:-1])] == expected
    assert moved[path[-1]] == AMOUNT_MSAT
    assert payment.fee_msat == expected[0] - AMOUNT_MSAT


def test_both_ends_of_each_channel_agree(testbed: Testbed) -> None:
    balances.count(testbed)
    for node in testbed.nodes.values():
        for mine in node.channels():
            peer = next(n for n in testbed.nodes.values() if n.node_id == mine.peer_id)
            theirs = next(c for c in peer.channels() if c.funding == mine.funding)
            together_msat = mine.local_msat + theirs.local_msat
            rounded_off_msat = (node.balance_unit_msat - 1) + (peer.balance_unit_msat - 1)
            assert 0 <= mine.capacity_sat * 1_000 - together_msat <= rounded_off_msat
            assert (mine.short_channel_id, mine.private) == (theirs.short_channel_id, theirs.private)


def test_channels_are_those_of_the_topology(testbed: Testbed) -> None:
    ids = {node.node_id: name for name, node in testbed.nodes.items()}
    standing = sorted(
        (*sorted((name, ids[channel.peer_id])), channel.capacity_sat, channel.private)
        for name, node in testbed.nodes.items()
        for channel in node.channels()
    )
    described = sorted(
        (*sorted((channel.opener, channel.peer)), channel.capacity_sat, channel.private)
        for channel in testbed.topology.channels
        for _ in ("at the opener", "at the peer")
    )
    assert standing == described
