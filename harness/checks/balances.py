"""Balances: every millisatoshi of every channel belongs to one of its two ends."""

from dataclasses import dataclass

from harness.errors import TestbedError
from harness.nodes.predicates import no_htlcs
from harness.testbed import Testbed
from harness.waits import wait_for


class BalanceError(TestbedError):
    """The balances of a testbed do not add up; the message says where and by how much."""


@dataclass(frozen=True)
class Balances:
    """What each node has in its channels, in millisatoshi, by the node's name."""

    channels_msat: dict[str, int]

    def moved_since(self, before: "Balances") -> dict[str, int]:
        """Return the change of each node's balance since `before`, in millisatoshi."""
        return {name: msat - before.channels_msat[name] for name, msat in self.channels_msat.items()}


def count(testbed: Testbed) -> Balances:
    """Wait until no HTLC is in flight, then count every node's balance in its channels.

    All nodes must run, and no channel be closed. Raises BalanceError if the nodes together do not have
    exactly the capacity of the channels, WaitTimeoutError if an HTLC stays.
    """
    wait_for(no_htlcs(list(testbed.nodes.values())))
    balances = Balances({name: node.channel_balance_msat() for name, node in testbed.nodes.items()})
    capacity_msat = 1_000 * sum(channel.capacity_sat for channel in testbed.topology.channels)
    if sum(balances.channels_msat.values()) != capacity_msat:
        raise BalanceError(
            f"testbed {testbed.name}: the channels hold {capacity_msat} msat, "
            f"the nodes together have {sum(balances.channels_msat.values())}: {balances.channels_msat}"
        )
    return balances
