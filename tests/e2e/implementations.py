"""An LSP keeps its promises on whichever node: these tests run once for each. Where there is no Core Lightning its rows
are UNAVAILABLE, and counted as such. Where the protocol lets nodes differ, the tests ask for the declared capability.
"""

from asyncpay.lightning import Capabilities
from asyncpay.nodes.cln.node import CAPABILITIES as OF_CLN
from asyncpay.nodes.lnd.node import CAPABILITIES as OF_LND
from harness.testbed import Testbed
from harness.topology import Implementation

IMPLEMENTATIONS = tuple(implementation.value for implementation in Implementation)
"""Parameters of a fixture `testbed`."""

_CAPABILITIES = {Implementation.LND: OF_LND, Implementation.CLN: OF_CLN}


def capabilities(testbed: Testbed, node: str) -> Capabilities:
    """What this node's implementation is declared to do."""
    return _CAPABILITIES[testbed.topology.nodes[node].implementation]
