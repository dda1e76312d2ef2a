"""The current status of a testbed: nodes, components, channels with balances. harness.cli.tables shows it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

from harness.engines.base import ServiceState
from harness.errors import NodeError
from harness.inside.interface import PhoneState
from harness.nodes.base import Channel, Info, Node
from harness.progress import each
from harness.services.lsp import Lsp
from harness.services.phone import Phone
from harness.services.phone_container import WALLET
from harness.testbed import Testbed


@dataclass(frozen=True)
class NodeStatus:
    """One node; all but the first four fields are None unless it answers, node_id unless it was ever known."""

    name: str
    role: str
    implementation: str
    container: str
    """The state of its container: running, exited, frozen, ..."""
    problem: str | None = None
    """Why the node does not answer."""
    version: str | None = None
    node_id: str | None = None
    height_blocks: int | None = None
    synced: bool | None = None
    onchain_sat: int | None = None
    channel_balance_msat: int | None = None


@dataclass(frozen=True)
class ComponentStatus:
    """The LSP component of a node."""

    name: str
    node: str
    container: str
    attached: bool
    """Whether it is attached to its node, which forwards no HTLC until then."""
    problem: str | None = None
    """Why it is not attached."""
    held_payments: int | None = None
    """The number of active blocks; None unless it is attached."""
    said: dict[str, Any] | None = None
    """What `asyncpay lsp status --json` tells; None unless it answers."""


@dataclass(frozen=True)
class PhoneStatus:
    """One phone; its node is among the nodes, too."""

    name: str
    lsp: str
    state: str
    """awake, asleep, frozen, or why the state is unknown."""
    link: str
    """normal, disconnected, or its conditions."""
    wallet_runs: bool
    apps: tuple[dict[str, Any], ...] = ()
    """Node and wallet, as the phone's init tells of them."""
    payments: dict[str, Any] | None = None
    """What `asyncpay wallet payments --json` tells, `sent` and `announced`; None unless the wallet answers."""


@dataclass(frozen=True)
class ChannelStatus:
    """One channel between two nodes of the testbed; a balance is None if its end does not answer."""

    short_channel_id: str
    ends: tuple[str, str]
    capacity_sat: int
    balances_msat: tuple[int | None, int | None]
    private: bool
    active: bool
    htlcs: int
    payment_hashes: tuple[str, ...] = ()
    """Of these HTLCs, in hex, as far as either end names them."""


@dataclass(frozen=True)
class Status:
    """A whole testbed."""

    testbed: str
    topology: str
    height_blocks: int | None
    chain_kept_fresh: bool
    """Whether a block is mined whenever the last one is an hour old."""
    nodes: list[NodeStatus]
    components: list[ComponentStatus]
    phones: list[PhoneStatus]
    channels: list[ChannelStatus]

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the fields' names as keys."""
        return asdict(self)


def look(testbed: Testbed) -> Status:
    """Query every node and component that runs. One that does not answer is reported, and is not an error."""
    states = testbed.engine.states()

    def state(service: str) -> str:
        return states.get(service, "absent")

    # In parallel: most of the time is spent waiting for answers.
    asked: list[Callable[[], Any]] = [
        *(partial(_look_at, node, state(node.name), testbed.phones.get(node.name)) for node in testbed.nodes.values()),
        *(partial(look_at_phone, phone) for phone in testbed.phones.values()),
        *(partial(_look_at_component, lsp, state(lsp.name)) for lsp in testbed.lsps.values()),
        partial(_height_blocks, testbed, state("bitcoind")),
    ]
    answers = iter(each(_call, asked))
    seen: list[tuple[NodeStatus, list[Channel]]] = list(islice(answers, len(testbed.nodes)))
    phones: list[PhoneStatus] = list(islice(answers, len(testbed.phones)))
    components: list[ComponentStatus] = list(islice(answers, len(testbed.lsps)))
    height_blocks: int | None = next(answers)
    nodes = [status for status, _ in seen]
    names = {node.known_node_id or "": node.name for node in testbed.nodes.values()}
    channels = _channels(names, list(testbed.nodes), [channels for _, channels in seen])
    return Status(
        testbed.name,
        testbed.topology.name,
        height_blocks,
        testbed.topology.chain.keep_fresh,
        nodes,
        components,
        phones,
        channels,
    )


def look_at_phone(phone: Phone) -> PhoneStatus:
    """Return the status of one phone. If it does not answer, that is reported, and is not an error."""
    try:
        link = phone.link().words
    except NodeError as error:
        link = str(error)
    try:
        seen = phone.container.status()
    except NodeError as error:
        return PhoneStatus(phone.name, phone.lsp.name, str(error), link, wallet_runs=False)
    apps = tuple(seen["apps"])
    running = [app for app in apps if app["name"] == WALLET and app["pid"]]
    payments = _payments(phone, running) if seen["state"] == PhoneState.AWAKE else None
    return PhoneStatus(phone.name, phone.lsp.name, seen["state"], link, bool(running), apps, payments)


def _payments(phone: Phone, running: list[dict[str, Any]]) -> dict[str, Any] | None:
    """running: the wallet, if it runs. One that is suspended would let the question wait."""
    if not running or "T" in running[0]["process_states"]:
        return None
    try:
        return phone.wallet.all_payments()
    except NodeError:  # it has just been started, or has ended
        return None


def _call(question: Callable[[], Any]) -> Any:
    return question()


def _height_blocks(testbed: Testbed, container: str) -> int | None:
    try:
        return testbed.chain.height_blocks if container == ServiceState.RUNNING else None
    except NodeError:
        return None


def _look_at(node: Node, container: str, phone: Phone | None) -> tuple[NodeStatus, list[Channel]]:
    """phone: the phone in which the node runs, if any."""
    known = (node.name, node.spec.role.value, node.implementation, container)
    node_id = node.known_node_id
    if container != ServiceState.RUNNING:
        return NodeStatus(*known, problem=f"its container is {container}", node_id=node_id), []
    try:
        if phone is not None and not phone.node_runs():
            return NodeStatus(*known, problem="its phone sleeps or is frozen", node_id=node_id), []
        info: Info = node.info()
        channels = node.channels()
        status = NodeStatus(
            *known,
            version=info.version,
            node_id=info.node_id,
            height_blocks=info.height_blocks,
            synced=info.synced,
            onchain_sat=node.onchain_sat(),
            channel_balance_msat=node.channel_balance_msat(),
        )
    except NodeError as error:
        return NodeStatus(*known, problem=str(error), node_id=node_id), []
    return status, channels


def _look_at_component(lsp: Lsp, container: str) -> ComponentStatus:
    known = (lsp.name, lsp.node, container)
    if container != "running":
        return ComponentStatus(*known, attached=False, problem=f"its container is {container}")
    try:
        status = lsp.status()
        problem = lsp.missing_to_be_attached(status)
        if problem is not None:
            return ComponentStatus(*known, attached=False, problem=problem, said=status)
        held_payments = sum(not block["finished"] for block in status["blocks"])
    except NodeError as error:
        return ComponentStatus(*known, attached=False, problem=str(error))
    return ComponentStatus(*known, attached=True, held_payments=held_payments, said=status)


def _channels(names: dict[str, str], nodes: list[str], views: list[list[Channel]]) -> list[ChannelStatus]:
    """Join both ends' views of each channel by the funding output; the end that is first in `nodes` comes first.

    names: by node id.
    """
    joined: dict[str, list[tuple[str, Channel]]] = {}
    for node, channels in zip(nodes, views, strict=True):
        for channel in channels:
            joined.setdefault(channel.funding, []).append((node, channel))
    result = []
    for (first, channel), *others in joined.values():
        views_of_it = [channel, *(other for _, other in others)]
        peer = others[0][0] if others else names.get(channel.peer_id, channel.peer_id[:8])
        result.append(
            ChannelStatus(
                short_channel_id=channel.short_channel_id,
                ends=(first, peer),
                capacity_sat=channel.capacity_sat,
                balances_msat=(channel.local_msat, others[0][1].local_msat if others else None),
                private=channel.private,
                active=all(view.active for view in views_of_it),
                htlcs=max(view.htlcs for view in views_of_it),
                payment_hashes=tuple(sorted(frozenset().union(*(view.htlc_hashes for view in views_of_it)))),
            )
        )
    return result
