"""Waiting: named predicates with a bound, and what was last seen when the bound is reached.

A predicate answers with what is still missing, in words, or None once nothing is. So the error of a wait
that ran out says more than "timeout":

    graph_complete not reached in 30 s: router: 1 of 2 announced channels known with both policies
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import tenacity

from harness.errors import NodeError, TestbedError
from harness.inside.phone_config import State
from harness.lsp import Lsp
from harness.nodes.base import Node
from harness.phone_container import PhoneContainer


class WaitTimeoutError(TestbedError):
    """A predicate was not reached within its bound; the message ends with what was last seen."""


@dataclass(frozen=True)
class Predicate:
    """A condition with a name; `missing()` says what it lacks, None when it holds."""

    name: str
    missing: Callable[[], str | None]


def wait_for(predicate: Predicate, timeout_seconds: float = 30, interval_seconds: float = 0.1) -> None:
    """Return when the predicate holds. A node that does not answer (NodeError) counts as missing.

    interval_seconds: between the first questions; it grows to five times that, since many a question is a process.
    Raises WaitTimeoutError with the last thing seen.
    """

    def missing() -> str | None:
        try:
            return predicate.missing()
        except NodeError as error:
            return str(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: seen is not None),
        wait=tenacity.wait_exponential(multiplier=interval_seconds, exp_base=1.2, max=5 * interval_seconds),
        stop=tenacity.stop_after_delay(timeout_seconds),
    )
    try:
        retrying(missing)
    except tenacity.RetryError as error:
        seen = error.last_attempt.result()
        raise WaitTimeoutError(f"{predicate.name} not reached in {timeout_seconds:g} s; last seen: {seen}") from None


def ready(node: Node) -> Predicate:
    """The node answers every call and has followed the chain."""
    return Predicate("ready", node.missing_to_be_ready)


def peer_gone(node: Node, peer: Node) -> Predicate:
    """The node knows that this peer is not connected."""

    def missing() -> str | None:
        return f"{node.name} still lists {peer.name} as its peer" if peer.node_id in node.peers() else None

    return Predicate("peer_gone", missing)


def peers_connected(one: Node, other: Node) -> Predicate:
    """Each of the two lists the other as its peer."""

    def missing() -> str | None:
        for node, peer in ((one, other), (other, one)):
            if peer.node_id not in node.peers():
                return f"{node.name} does not list {peer.name} as its peer"
        return None

    return Predicate("peers_connected", missing)


def apps_running(phone: PhoneContainer) -> Predicate:
    """The phone is awake, and every app that is not told to stay down has a process that is not suspended."""
    return _apps("apps_running", phone, State.AWAKE, lambda app: bool(app["pid"]) and "T" not in app["process_states"])


def apps_stopped(phone: PhoneContainer) -> Predicate:
    """The phone sleeps, and no app has a process."""
    return _apps("apps_stopped", phone, State.ASLEEP, lambda app: not app["pid"])


def apps_suspended(phone: PhoneContainer) -> Predicate:
    """The phone is frozen, and every process of its apps is suspended."""
    return _apps("apps_suspended", phone, State.FROZEN, lambda app: app["process_states"] in ("T", ""))


def _apps(name: str, phone: PhoneContainer, state: State, as_wanted: Callable[[dict[str, Any]], bool]) -> Predicate:
    def missing() -> str | None:
        seen = phone.status()
        others = [app for app in seen["apps"] if not (as_wanted(app) or app["stays_down"])]
        if seen["state"] == state and not others:
            return None
        apps = ", ".join(f"its {app['name']} {'runs' if app['pid'] else 'does not run'}" for app in others)
        return f"{phone.name} is {seen['state']}" + (f", {apps}" if apps else "")

    return Predicate(name, missing)


def half_open(phone: PhoneContainer, node: Node, peer: Node) -> Predicate:
    """The phone's processes are suspended, and the node still takes it for its peer: TCP is half-open."""

    def missing() -> str | None:
        if suspended := apps_suspended(phone).missing():
            return suspended
        return None if peer.node_id in node.peers() else f"{node.name} has noticed that {peer.name} is gone"

    return Predicate("half_open", missing)


def nodes_announced(nodes: Sequence[Node], announced: Collection[Node]) -> Predicate:
    """Each of `nodes` knows the announcement, and so the features, of all others in `announced`."""

    def missing() -> str | None:
        for node in nodes:
            known = node.announced_nodes()
            unknown = [other.name for other in announced if other is not node and other.node_id not in known]
            if unknown:
                return f"{node.name} does not know the announcement of {', '.join(unknown)}"
        return None

    return Predicate("nodes_announced", missing)


def no_htlcs(nodes: Sequence[Node]) -> Predicate:
    """No channel of these nodes has an HTLC in flight: every payment has ended, on every hop."""

    def missing() -> str | None:
        for node in nodes:
            if htlcs := sum(channel.htlcs for channel in node.channels()):
                return f"{node.name} has {htlcs} HTLC in flight"
        return None

    return Predicate("no_htlcs", missing)


def payment_gone(nodes: Sequence[Node], payment_hash: str) -> Predicate:
    """No channel of these nodes has an HTLC of this payment; what else is in flight does not matter."""

    def missing() -> str | None:
        for node in nodes:
            if any(payment_hash in channel.htlc_hashes for channel in node.channels()):
                return f"{node.name} has an HTLC of payment {payment_hash} in flight"
        return None

    return Predicate("payment_gone", missing)


def interceptor_attached(lsp: Lsp) -> Predicate:
    """The LSP's component has its node, which forwards HTLCs from now on."""
    return Predicate("interceptor_attached", lsp.missing_to_be_attached)


def htlcs_held(lsp: Lsp, parts: int) -> Predicate:
    """The LSP holds exactly this many HTLCs under blocks: on offer by its node, and not answered."""

    def missing() -> str | None:
        held = sum(
            part["on_offer"] and part["verdict"] is None for block in lsp.status()["blocks"] for part in block["parts"]
        )
        return None if held == parts else f"{lsp.name} holds {held} of {parts} HTLCs"

    return Predicate("htlcs_held", missing)
