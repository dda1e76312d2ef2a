"""Schedules that once broke a rule: what the simulator found, shrunk, and kept. See test_simulation.py."""

from .disturbances import CloseChannel
from .kernel import Moment
from .schedule import Schedule
from .setup import Setup

FOUND = {
    # LSP_a pays on behalf while the payer's channel goes on chain. The HTLC is on no open channel any more, so a
    # census made the engine forget that the node still asks for its preimage: B was paid, and LSP_a never claimed.
    "a channel closed while LSP_a pays on behalf": Schedule(
        Setup(payer_leaves=1.0, payee_awake=False),
        ((Moment("LSP_a has stored OnionInTransit", 1), CloseChannel(0)),),
    ),
}
