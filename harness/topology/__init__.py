"""Topologies: which nodes a testbed has and which channels connect them, read from a YAML file.

A topology file has three sections, of which only `nodes` is required:

    chain:
      args: [-minrelaytxfee=0.00001]
    nodes:
      A: {role: payer}
      LSP_a: {role: lsp, component: asyncpay}
    channels:
      - {from: A, to: LSP_a, capacity_sat: 5_000_000, push_sat: 1_000_000, private: true}

Every error names the file, the line and the field; all errors are reported together.
"""

from harness.topology.loading import load, shipped
from harness.topology.model import (
    ASYNCPAY,
    COMPONENT_SUFFIX,
    FUNDS_SAT,
    IMPLEMENTATIONS,
    OPENER_RESERVE_SAT,
    WALLET_SUFFIX,
    ChainSpec,
    ChannelSpec,
    ComponentSpec,
    NodeSpec,
    Role,
    Topology,
    TopologyError,
    WalletSpec,
)

__all__ = [
    "ASYNCPAY",
    "COMPONENT_SUFFIX",
    "FUNDS_SAT",
    "IMPLEMENTATIONS",
    "OPENER_RESERVE_SAT",
    "WALLET_SUFFIX",
    "ChainSpec",
    "ChannelSpec",
    "ComponentSpec",
    "NodeSpec",
    "Role",
    "Topology",
    "TopologyError",
    "WalletSpec",
    "load",
    "shipped",
]
