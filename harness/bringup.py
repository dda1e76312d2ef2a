"""Turn running containers into a network that can pay: coins, peers, channels, gossip.

Slow steps run in parallel: one transaction funds every node, all channels are opened at
the same time and confirmed by the same blocks.
"""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from harness.checks.early_exits import bitcoind_watched, unless_ended
from harness.errors import TestbedError
from harness.nodes import node_class
from harness.nodes.base import Channel, Node
from harness.nodes.predicates import nodes_announced, ready
from harness.progress import Phases, each
from harness.services import bitcoind
from harness.services.lsp import interceptor_attached
from harness.services.phone import Phone
from harness.testbed import Testbed
from harness.topology import OPENER_RESERVE_SAT, ChannelSpec, Topology
from harness.waits import Predicate, WaitTimeoutError, wait_for

ANNOUNCEMENT_BLOCKS = 6
"""Confirmations before a channel may be announced (BOLT 7)."""
REACH_SECONDS = 10
"""The time for bitcoind, which has already mined, to answer through its published port."""
FEE_RESERVE_SAT = 1_000_000
"""The coins of every node in addition to its channels: LND refuses a channel without coins to bump its commitment."""


def up(testbed: Testbed, phases: Phases) -> None:
    """Start a prepared testbed; return when every node has the whole graph, and every LSP is attached to its node.


    Raises ContainerError, NodeError, WaitTimeoutError.
    """
    with phases.phase("containers"), bitcoind_watched(testbed.engine), ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(bitcoind.miner_key)  # this imports bitcoinlib, which takes seconds, while containers start
        testbed.fill_new_volumes()
        testbed.create()
    establish(testbed, phases)


def establish(testbed: Testbed, phases: Phases) -> None:
    """Fund the nodes of a testbed whose containers run, and open its channels."""
    with phases.phase("nodes ready"):
        reach_chain(testbed)
        wait_for(nodes_ready(testbed), 90)
        testbed.remember_node_ids()
    with phases.phase("funded"):
        testbed.chain.send(_funding(testbed))
        testbed.chain.mine()
        for pairs in connection_rounds(testbed.topology):
            each(lambda channel: testbed.connect(channel.opener, channel.peer), pairs)
        each(lambda node: wait_for(funded(node)), testbed.nodes.values())
        wait_for(testbed.at_height(testbed.chain.height_blocks))
    *earlier, last = _rounds(testbed.topology)
    for number, channels in enumerate(earlier, start=1):
        with phases.phase(f"channels announced, round {number}"):
            _open_channels(testbed, channels)
            _see_graph(testbed)
    with phases.phase("channels open"):
        _open_channels(testbed, last)
        wait_for(channels_active(testbed))
    with phases.phase("graph complete"):
        wait_for_graph(testbed)
    if testbed.lsps:  # last, because only payments need the components
        with phases.phase("components attached"):
            attached = [unless_ended(testbed, lsp.name, interceptor_attached(lsp)) for lsp in testbed.lsps.values()]
            each(wait_for, attached)
    if testbed.phones:
        with phases.phase("phones registered"):
            each(lambda phone: register(testbed, phone), testbed.phones.values())


def nodes_ready(testbed: Testbed) -> Predicate:
    """Every node answers every call and is synced to the chain. Raises EndedError if one has exited."""
    waiting = [unless_ended(testbed, node.name, ready(node)) for node in testbed.nodes.values()]

    def missing() -> str | None:
        seen = each(lambda predicate: predicate.missing(), waiting)
        waiting[:] = [predicate for predicate, lack in zip(waiting, seen, strict=True) if lack is not None]
        return next(filter(None, seen), None)

    return Predicate("nodes_ready", missing)


def reach_chain(testbed: Testbed) -> None:
    """Check that published ports are reachable, with bitcoind's, which has already mined before any node starts.

    Raises TestbedError.
    """

    def missing() -> str | None:
        testbed.chain.call("getblockcount")
        return None

    try:
        wait_for(Predicate("chain_reachable", missing), REACH_SECONDS)
    except WaitTimeoutError as error:
        raise TestbedError(
            f"bitcoind runs, and its port cannot be reached from here ({error}). The Docker engine publishes ports on "
            "its own machine's 127.0.0.1: run the testbed there, outside of any container"
        ) from None


def register(testbed: Testbed, phone: Phone) -> None:
    """Subscribe a phone at the push gateway; if its LSP has a component, make its wallet register the webhook there."""
    if phone.lsp.name in testbed.lsps:
        url = testbed.push.subscribe(phone.name, phone.lsp.node_id)
        registered = webhook_registered(phone, url)
        wait_for(unless_ended(testbed, phone.name, registered), 60, interval_seconds=0.5)


def webhook_registered(phone: Phone, url: str) -> Predicate:
    """The LSP has accepted the webhook from the phone's wallet, which retries the registration until then."""

    def missing() -> str | None:
        phone.wallet.call("register", url)  # a WalletError (not possible yet) counts as missing
        return None

    return Predicate("webhook_registered", missing)


def funded(node: Node) -> Predicate:
    """The node's wallet has confirmed coins."""
    return Predicate("funded", lambda: None if node.onchain_sat() else f"{node.name} has no confirmed coins")


def channels_active(testbed: Testbed) -> Predicate:
    """Both ends of every channel of the topology list it as open and usable."""

    def missing() -> str | None:
        for node in testbed.nodes.values():
            wanted = sum(node.name in (channel.opener, channel.peer) for channel in testbed.topology.channels)
            active = sum(channel.active for channel in node.channels())
            if active < wanted:
                return f"{node.name}: {active} of {wanted} channels active"
        return None

    return Predicate("channels_active", missing)


def policies_published(node: Node) -> Predicate:
    """The node has published the policies of its announced channels."""
    return Predicate("policies_published", node.publish_policies)


def graph_complete(testbed: Testbed) -> Predicate:
    """Every node knows both policies of every announced channel, and of its own private ones."""

    def missing() -> str | None:
        own = dict(zip(testbed.nodes, each(lambda node: node.channels(), testbed.nodes.values()), strict=True))
        known = each(lambda node: node.policies().keys(), testbed.nodes.values())
        announced = {
            end
            for name, channels in own.items()
            for channel in channels
            if not channel.private
            for end in _ends(testbed[name], channel)
        }
        for node, policies in zip(testbed.nodes.values(), known, strict=True):
            wanted = announced | {end for channel in own[node.name] for end in _ends(node, channel)}
            if not wanted <= policies:
                return f"{node.name} knows {len(wanted & policies)} of {len(wanted)} channel policies"
        return None

    return Predicate("graph_complete", missing)


def _ends(node: Node, channel: Channel) -> tuple[tuple[str, str], tuple[str, str]]:
    return (channel.short_channel_id, node.node_id), (channel.short_channel_id, channel.peer_id)


def _funding(testbed: Testbed) -> list[tuple[str, int]]:
    """Return one output for each channel, for its opener, so that concurrent opens do not share a coin, and one for
    each node.
    """
    addresses = dict(zip(testbed.nodes, each(lambda node: node.new_address(), testbed.nodes.values()), strict=True))
    for_channels = [
        (addresses[channel.opener], channel.capacity_sat + OPENER_RESERVE_SAT) for channel in testbed.topology.channels
    ]
    return for_channels + [(address, FEE_RESERVE_SAT) for address in addresses.values()]


def connection_rounds(topology: Topology) -> list[list[ChannelSpec]]:
    """Return one channel for each pair of peers: first of the pairs that announce one, then of the others.

    Core Lightning takes gossip from its first peer alone, until that peer has sent nothing new for 5 to 10 s
    (gossipd/seeker.c, with dev-fast-gossip); and a phone has none.
    """
    announced = {frozenset((c.opener, c.peer)): c for c in topology.channels if not c.private}
    others = {frozenset((c.opener, c.peer)): c for c in topology.channels}
    return [list(announced.values()), [channel for pair, channel in others.items() if pair not in announced]]


def _announced(testbed: Testbed) -> list[Node]:
    """Return the nodes that have an announced channel, and therefore are announced themselves."""
    ends = {
        end for channel in testbed.topology.channels if not channel.private for end in (channel.opener, channel.peer)
    }
    return [node for node in testbed.nodes.values() if node.name in ends]


def wait_for_graph(testbed: Testbed) -> None:
    """Wait until every node knows every channel with its policies, and the announcement of every other node."""
    _see_graph(testbed)
    wait_for(nodes_announced(list(testbed.nodes.values()), _announced(testbed)), 90)


def _see_graph(testbed: Testbed) -> None:
    """Wait until all announcements are known to all nodes."""
    each(lambda node: wait_for(policies_published(node), 60), testbed.nodes.values())
    wait_for(graph_complete(testbed), 60)


def _rounds(topology: Topology) -> list[list[ChannelSpec]]:
    """Return the channels in groups that may be opened together.

    Some nodes list queried channels (reply_channel_range, BOLT 7) in the order in which they learned them, and others
    disconnect a peer that sends such a list, at each reconnection. If a network has both, channels are announced one
    after the other, by rising short_channel_id.
    """
    classes = {node_class(implementation) for implementation in topology.implementations}
    unsorted = any(each.lists_channels_unsorted for each in classes)
    if not (unsorted and any(each.refuses_unsorted_channels for each in classes)):
        return [list(topology.channels)]
    private = [channel for channel in topology.channels if channel.private]
    announced = [channel for channel in topology.channels if not channel.private]
    return [[*private, *announced[:1]], *([channel] for channel in announced[1:])]


def _open_channels(testbed: Testbed, channels: list[ChannelSpec]) -> None:
    """Open these channels in parallel, but sequentially between the same two nodes: CLN negotiates one at a time.

    Return when they have the confirmations that an announcement needs.
    """
    between: dict[frozenset[str], list[ChannelSpec]] = defaultdict(list)
    for channel in channels:
        between[frozenset((channel.opener, channel.peer))].append(channel)

    def open_all(same: list[ChannelSpec]) -> list[str]:
        return [testbed[c.opener].open_channel(testbed[c.peer], c) for c in same]

    fundings = [funding for opened in each(open_all, between.values()) for funding in opened]
    in_mempool = Predicate(
        "fundings_in_mempool",
        lambda: ", ".join({f.split(":")[0] for f in fundings} - set(testbed.chain.mempool())) or None,
    )
    wait_for(in_mempool)
    testbed.mine(ANNOUNCEMENT_BLOCKS)
