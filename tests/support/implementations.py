"""An LSP keeps its promises on whichever node: these tests run once for each. Where there is no Core Lightning its rows
are UNAVAILABLE, and counted as such. Where the protocol lets nodes differ, the tests ask for the declared capability.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from asyncpay.lightning import Capabilities
from harness.nodes import node_class
from harness.testbed import Testbed
from harness.topology import Topology, load

TOPOLOGIES = Path(__file__).parents[1] / "e2e" / "topologies"

CLN_IN_FULL = ("lnd", pytest.param("cln", marks=pytest.mark.full))
"""The same where Core Lightning's row is for the full run only."""
LDK_TOO = (*CLN_IN_FULL, pytest.param("ldk", marks=pytest.mark.full))
"""The same with LDK, for the full run too. What has no such row was not tried on LDK."""


def topology_on(implementation: str, name: str, *lsps: str, settings: Mapping[str, str] | None = None) -> Topology:
    """One of the topologies in the folder TOPOLOGIES, with these nodes of that implementation.

    An LSP does not dial phones; a node that would, as soon as a test has sent one offline, is told not to.
    """
    topology = load(TOPOLOGIES / name, dict.fromkeys(lsps, implementation) | dict(settings or {}))
    for lsp in lsps:
        topology = with_arguments(topology, lsp, *node_class(implementation).no_dialling)
    return topology


def all_on(implementation: str, name: str, settings: Mapping[str, str] | None = None) -> Topology:
    """One of those topologies with every node of that implementation."""
    nodes = load(TOPOLOGIES / name).nodes
    return load(TOPOLOGIES / name, dict.fromkeys(nodes, implementation) | dict(settings or {}))


def with_arguments(topology: Topology, node: str, *arguments: str) -> Topology:
    """The topology, in which this node has more arguments."""
    spec = topology.nodes[node]
    changed = spec.model_copy(update={"args": (*spec.args, *arguments)})
    return topology.model_copy(update={"nodes": topology.nodes | {node: changed}})


def capabilities(testbed: Testbed, node: str) -> Capabilities:
    """What this node's implementation is declared to do."""
    return testbed[node].capabilities
