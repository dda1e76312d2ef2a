"""An LSP behaves the same on every implementation: these tests run once for each. Without Core Lightning, its rows are
counted as UNAVAILABLE. Where the protocol allows nodes to differ, the tests check the declared capability.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from asyncpay.engine.policy import LspPolicy, suited
from asyncpay.lightning import Capabilities
from harness.nodes import node_class
from harness.testbed import Testbed
from harness.topology import Topology, load

TOPOLOGIES = Path(__file__).parents[1] / "e2e" / "topologies"

IMPLEMENTATIONS = ("lnd", pytest.param("cln", marks=pytest.mark.full), pytest.param("ldk", marks=pytest.mark.full))
"""All of them, with the rows of Core Lightning and LDK in the full run only."""
CLN_IN_FULL = IMPLEMENTATIONS[:2]
"""Without LDK, for tests that fail on it: they say why."""


def topology_on(implementation: str, name: str, *lsps: str, settings: Mapping[str, str] | None = None) -> Topology:
    """Return one of the topologies in the folder TOPOLOGIES, with these nodes of that implementation.

    An LSP does not dial phones: nodes that would dial a phone that a test has taken offline are configured not to.
    """
    topology = load(TOPOLOGIES / name, dict.fromkeys(lsps, implementation) | dict(settings or {}))
    for lsp in lsps:
        topology = with_arguments(topology, lsp, *node_class(implementation).no_dialling)
    return topology


def all_on(implementation: str, name: str, settings: Mapping[str, str] | None = None) -> Topology:
    """Return one of those topologies with every node of that implementation."""
    nodes = load(TOPOLOGIES / name).nodes
    return load(TOPOLOGIES / name, dict.fromkeys(nodes, implementation) | dict(settings or {}))


def with_arguments(topology: Topology, node: str, *arguments: str) -> Topology:
    """Return the topology with additional arguments for this node."""
    spec = topology.nodes[node]
    changed = spec.model_copy(update={"args": (*spec.args, *arguments)})
    return topology.model_copy(update={"nodes": topology.nodes | {node: changed}})


def capabilities(testbed: Testbed, node: str) -> Capabilities:
    """Return the declared capabilities of this node's implementation."""
    return testbed[node].capabilities


def lsp_policy(testbed: Testbed, node: str) -> LspPolicy:
    """Return the policy of this node's component, with the margin that its implementation needs."""
    return suited(testbed.topology.components[node].policy, capabilities(testbed, node))
