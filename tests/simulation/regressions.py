"""Schedules that once broke a rule: what the simulator found, shrunk, and kept. See test_simulation.py."""

from .disturbances import Attack, CloseChannel, Mine, NodeCrash, Orphaned, Sleep, Wake
from .kernel import Failpoint
from .schedule import Schedule
from .setup import Setup

REGRESSIONS = {
    # LSP_a pays on behalf while the payer's channel goes on chain. The HTLC is on no open channel any more, so a
    # snapshot made the engine forget that the node still asks for its preimage: B was paid, and LSP_a never claimed.
    "a channel closed while LSP_a pays on behalf": Schedule(
        Setup(payer_leaves=1.0, payee_awake=False),
        ((Failpoint("LSP_a has stored OnionInTransit", 1), CloseChannel(0)),),
    ),
    # One of three released parts went on chain before it was answered, and LND asked for its preimage there. It was
    # taken for a part that waits for its channel: past hold_until the engine asked to be woken again and again.
    "a channel closed while its part is being released": Schedule(
        Setup(parts=3, hold_seconds=1800),
        ((Failpoint("LSP_a does ResolveHtlc", 1), CloseChannel(1)),),
    ),
    # LSP_a is killed with its order to pay on behalf in transit to LND, which then knows of none. The parts went back
    # past hold_until; then LND carried the order out.
    "an order to pay on behalf that comes after it was denied": Schedule(
        Setup(slack_blocks=80, hold_seconds=120, payer_leaves=0.0, payer_wakes_after=None, turbulence_seconds=1500.0),
        ((Failpoint("LSP_a is told to pay", 1), Orphaned("LSP_a", 400.0, 500.0)),),
    ),
    # B came and went, and LSP_a decided on both together: the push left after it was told that B is there. The check
    # took the time of the push for that of the decision, and so the next one for too soon (schedule 31415926015772).
    "a client connects between the decision to notify it and the push": Schedule(
        Setup(shared=True),
        (
            (Failpoint("LSP_a decides on BlockRequested", 1), Mine(1)),
            (Failpoint("LSP_a decides on BlockRequested", 1), Mine(5)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), NodeCrash("LSP_a", 1.0)),
            (Failpoint("C-LSP_a reconnects", 2), Sleep("B", silently=True)),
            (Failpoint("LSP_a does RequestHtlcSnapshot", 4), Wake("B", 60.0)),
            (Failpoint("LSP_a does RequestHtlcSnapshot", 5), Attack("sends an HTLC with A's payment hash")),
            (
                Failpoint("LSP_a has stored LinkChanged+PeerConnected+PeerDisconnected", 1),
                NodeCrash("LSP_a", 8.0),
            ),
        ),
    ),
}
