"""The Lightning nodes of a testbed: one interface, one file an implementation."""

from harness.nodes.base import Node
from harness.nodes.cln import ClnNode
from harness.nodes.lnd import LndNode
from harness.topology import Implementation

BY_IMPLEMENTATION: dict[Implementation, type[Node]] = {
    Implementation.LND: LndNode,
    Implementation.CLN: ClnNode,
}
