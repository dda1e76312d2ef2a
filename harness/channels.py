"""Coins and channels of a running testbed, in addition to those of its topology."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from harness.bringup import ANNOUNCEMENT_BLOCKS, FEE_RESERVE_SAT, policies_published
from harness.errors import NodeError, TestbedError
from harness.nodes.base import Channel, Node
from harness.progress import each
from harness.testbed import Testbed
from harness.topology import OPENER_RESERVE_SAT, ChannelSpec
from harness.waits import Predicate, wait_for

LEAST_FUNDING_SAT = 1_000
"""The smallest output above bitcoind's dust limit."""
USABLE_SECONDS = KNOWN_SECONDS = 60
CLOSE_BLOCKS = 6
"""The most confirmations after which any node regards a channel as closed. LND lists it as active until then."""


@dataclass(frozen=True)
class Funded:
    """Confirmed coins that were sent to a node."""

    node: str
    txid: str
    amount_sat: int
    onchain_sat: int
    """All confirmed coins of the node's wallet."""


@dataclass(frozen=True)
class Opened:
    """A new channel that both ends can use."""

    short_channel_id: str
    funding: str
    """The funding transaction's output, `txid:index`."""
    ends: tuple[str, str]
    """Who opened it, and the other one."""
    capacity_sat: int
    push_sat: int
    private: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the fields' names as keys."""
        return asdict(self)


@dataclass(frozen=True)
class Closed:
    """A channel whose closing transaction has CLOSE_BLOCKS confirmations."""

    short_channel_id: str
    ends: tuple[str, str]
    """Who closed it, and the other one."""
    closing_txid: str
    forced: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the fields' names as keys."""
        return asdict(self)


def fund(testbed: Testbed, name: str, amount_sat: int) -> Funded:
    """Send a node coins from the testbed's wallet, and return when it has them with one confirmation.

    Raises TestbedError for an amount below LEAST_FUNDING_SAT or above the testbed's balance, NodeError,
    WaitTimeoutError.
    """
    (node,) = _running(testbed, name)
    if amount_sat < LEAST_FUNDING_SAT:
        raise TestbedError(
            f"{name} cannot be funded with {amount_sat} sat: bitcoind relays no output that small. "
            f"Send {LEAST_FUNDING_SAT} sat or more"
        )
    wanted_sat = node.onchain_sat() + amount_sat
    txid = testbed.chain.send([(node.new_address(), amount_sat)])
    testbed.mine()

    def missing() -> str | None:
        seen_sat = node.onchain_sat()
        return None if seen_sat >= wanted_sat else f"{name} has {seen_sat} sat of {wanted_sat} sat confirmed"

    wait_for(Predicate("funded", missing))
    return Funded(name, txid, amount_sat, node.onchain_sat())


def open_channel(
    testbed: Testbed, opener: str, peer: str, capacity_sat: int, push_sat: int = 0, private: bool = False
) -> Opened:
    """Open a channel, and return when both ends can use it; an announced one, when all running nodes know of it.

    Fund the opener first if it has too few coins. Mines the necessary blocks. Raises TestbedError if such a channel is
    not possible, NodeError, WaitTimeoutError.
    """
    spec = _spec(testbed, opener, peer, capacity_sat, push_sat, private)
    one, other = _running(testbed, opener, peer)
    _refuse_phones(testbed, opener, peer)
    testbed.connect(opener, peer)
    if one.onchain_sat() < capacity_sat + OPENER_RESERVE_SAT + FEE_RESERVE_SAT:
        fund(testbed, opener, capacity_sat + OPENER_RESERVE_SAT)
    funding = one.open_channel(other, spec)
    _wait_for_mempool(testbed, "funding_in_mempool", funding.partition(":")[0])
    testbed.mine(ANNOUNCEMENT_BLOCKS)
    wait_for(usable(one, other, funding), USABLE_SECONDS)
    channel = _by_funding(one, funding)
    assert channel is not None
    if not private:
        each(lambda node: wait_for(policies_published(node), KNOWN_SECONDS), (one, other))
        wait_for(known_everywhere(testbed.running(), channel, one), KNOWN_SECONDS)
    return Opened(channel.short_channel_id, funding, (opener, peer), capacity_sat, push_sat, private)


def close_channel(
    testbed: Testbed, closer: str, peer: str, short_channel_id: str | None = None, force: bool = False
) -> Closed:
    """Close a channel, and return when its closing transaction is confirmed and neither end lists it any more.

    After a cooperative close, both ends have their coins by then. With `force` the closer publishes its commitment
    transaction: its own coins are locked until the CSV delay is over, and are swept in blocks that are mined later.

    short_channel_id: the channel, if the two have several. Raises TestbedError if there is none, or if it cannot be
    closed by agreement now; NodeError, WaitTimeoutError.
    """
    if force:  # the peer is not involved, and may be offline
        (one,), other = _running(testbed, closer), testbed[peer]
    else:
        one, other = _running(testbed, closer, peer)
    channel = _choose(one, other, short_channel_id)
    if force:
        one.force_close(channel)
    elif channel.htlcs or not channel.active:
        why = f"it has {channel.htlcs} HTLC in flight" if channel.htlcs else "it is not usable now"
        advice = "no-htlcs" if channel.htlcs else f"channels-usable {closer}"
        raise TestbedError(
            f"channel {channel.short_channel_id} of {closer} and {peer} cannot be closed by agreement: {why}. "
            f"Wait (`testbed wait {advice}`), or close it with --force"
        )
    else:
        one.close_channel(channel)
    closing_txid = _wait_until_spent(testbed, channel.funding)
    testbed.mine(CLOSE_BLOCKS)
    ends = [node for node in testbed.running() if node in (one, other)]
    wait_for(not_listed(ends, channel), USABLE_SECONDS)
    return Closed(channel.short_channel_id, (closer, peer), closing_txid, force)


def usable(one: Node, other: Node, funding: str) -> Predicate:
    """Both ends list the channel with this funding output as open and usable."""

    def missing() -> str | None:
        for node in (one, other):
            channel = _by_funding(node, funding)
            if channel is None or not channel.active:
                return f"{node.name} {'does not list' if channel is None else 'cannot use'} channel {funding}"
        return None

    return Predicate("channel_usable", missing)


def known_everywhere(nodes: list[Node], channel: Channel, end: Node) -> Predicate:
    """Each of these nodes knows the policies of both directions of a channel; end: one of its two ends."""
    directions = {(channel.short_channel_id, node_id) for node_id in (end.node_id, channel.peer_id)}

    def missing() -> str | None:
        for node, policies in zip(nodes, each(lambda node: node.policies().keys(), nodes), strict=True):
            if not directions <= policies:
                return f"{node.name} knows {len(directions & policies)} of 2 policies of {channel.short_channel_id}"
        return None

    return Predicate("channel_known", missing)


def not_listed(nodes: list[Node], channel: Channel) -> Predicate:
    """None of these nodes lists the channel as open."""

    def missing() -> str | None:
        for node in nodes:
            if _by_funding(node, channel.funding) is not None:
                return f"{node.name} still lists channel {channel.short_channel_id}"
        return None

    return Predicate("channel_closed", missing)


def _spec(testbed: Testbed, opener: str, peer: str, capacity_sat: int, push_sat: int, private: bool) -> ChannelSpec:
    """Return the channel as a topology file would specify it. Raises TestbedError if it would be rejected there."""
    if opener == peer:
        raise TestbedError(f"{opener} cannot have a channel to itself. Name two nodes of testbed {testbed.name}")
    most_sat = capacity_sat - OPENER_RESERVE_SAT
    if push_sat > max(0, most_sat):
        raise TestbedError(
            f"{opener} cannot push {push_sat} sat of {capacity_sat} sat: it must keep {OPENER_RESERVE_SAT} sat for "
            f"reserve and fees. Push {max(0, most_sat)} sat at most"
        )
    try:
        return ChannelSpec.model_validate(
            {"from": opener, "to": peer, "capacity_sat": capacity_sat, "push_sat": push_sat, "private": private}
        )
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise TestbedError(f"the channel cannot be opened: {said}. Choose another capacity") from None


def _running(testbed: Testbed, *names: str) -> list[Node]:
    """The nodes of these names. Raises NodeError if one does not run."""
    nodes = [testbed[name] for name in names]
    running = testbed.running()
    for node in nodes:
        if node not in running:
            raise NodeError(f"{node.name} cannot be called: it does not run. Start it, or wake its phone")
    return nodes


def _refuse_phones(testbed: Testbed, *ends: str) -> None:
    """Raise TestbedError if one end is a phone whose LSP is not the other."""
    for name, other in (ends, ends[::-1]):
        if name in testbed.phones and testbed.phones[name].lsp.name != other:
            lsp = testbed.phones[name].lsp.name
            raise TestbedError(
                f"the phone {name} cannot have a channel with {other}: it connects only to its LSP. Use {lsp}"
            )


def _choose(one: Node, other: Node, short_channel_id: str | None) -> Channel:
    """Return the selected channel. Raises TestbedError if there is none, or if there are several and none is named."""
    ids = {channel.short_channel_id: channel for channel in one.channels() if channel.peer_id == other.node_id}
    if short_channel_id is None and len(ids) == 1:
        return next(iter(ids.values()))
    if short_channel_id in ids:
        return ids[short_channel_id]
    if not ids:
        raise TestbedError(f"{one.name} and {other.name} have no open channel. `testbed status` lists all channels")
    named = "have several channels" if short_channel_id is None else f"have no channel {short_channel_id}"
    raise TestbedError(f"{one.name} and {other.name} {named}. Choose one with --channel: {', '.join(ids)}")


def _by_funding(node: Node, funding: str) -> Channel | None:
    return next((channel for channel in node.channels() if channel.funding == funding), None)


def _wait_for_mempool(testbed: Testbed, name: str, txid: str) -> None:
    wait_for(Predicate(name, lambda: None if txid in testbed.chain.mempool() else f"{txid} is not in the mempool"))


def _wait_until_spent(testbed: Testbed, funding: str) -> str:
    """The id of the transaction in the mempool that spends a channel's funding output."""
    txid, _, index = funding.partition(":")
    found: list[str] = []

    def missing() -> str | None:
        spent = testbed.chain.call("gettxspendingprevout", [{"txid": txid, "vout": int(index)}])
        found[:] = [each["spendingtxid"] for each in spent if "spendingtxid" in each]
        return None if found else f"no transaction of the mempool spends {funding}"

    wait_for(Predicate("closing_transaction_in_mempool", missing))
    return found[0]
