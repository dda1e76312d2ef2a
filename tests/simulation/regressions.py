"""Schedules that once broke an invariant: found by the simulator, shrunk, and kept. See test_simulation.py."""

from .disturbances import Attack, ClockJumps, CloseChannel, Crash, Mine, NodeCrash, Orphaned, Rename, Sleep, Wake
from .kernel import Failpoint
from .network import Lost
from .schedule import Schedule
from .setup import Setup

REGRESSIONS = {
    # LSP_a pays on behalf while the payer's channel goes on chain. The HTLC is on no open channel any more, so a
    # snapshot made the engine forget that the node still waits for its preimage: B was paid, and LSP_a never claimed.
    "a channel closed while LSP_a pays on behalf": Schedule(
        Setup(payer_leaves=1.0, payee_awake=False),
        ((Failpoint("LSP_a has stored OnionInTransit", 1), CloseChannel(0)),),
    ),
    # One of three released parts went on chain before it was answered, and LND waited for its preimage there. The
    # engine treated it as a part that waits for its channel: after hold_until it requested ticks without end.
    "a channel closed while its part is being released": Schedule(
        Setup(parts=3, hold_seconds=1800),
        ((Failpoint("LSP_a does ResolveHtlc", 1), CloseChannel(1)),),
    ),
    # LSP_a is killed with its order to pay on behalf in transit to LND, which then knows of no payment. The parts were
    # returned after hold_until; then LND executed the order.
    "an order to pay on behalf that comes after it was denied": Schedule(
        Setup(slack_blocks=80, hold_seconds=120, payer_leaves=0.0, payer_wakes_after=None, turbulence_seconds=1500.0),
        ((Failpoint("LSP_a is told to pay", 1), Orphaned("LSP_a", 400.0, 500.0)),),
    ),
    # B connected and disconnected, and LSP_a handled both together: it sent the push after it had seen B connected. The
    # check used the time of the push instead of that of the decision: the next was too early (schedule 31415926015772).
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
    # LSP_a's clock is an hour ahead over two restarts. The time stored after the first included that hour, so the
    # second regarded it as elapsed time, and the hold ended 99 s early (schedule 20261121007233).
    "a clock that is ahead over two restarts": Schedule(
        Setup(hold_seconds=120, payer_leaves=0.0, payee_awake=False),
        (
            (Failpoint("LSP_a decides on BlockRequested", 1), Rename(1)),
            (Failpoint("LSP_a decides on BlockRequested", 1), Attack("sends B many small HTLCs")),
            (Failpoint("LSP_a decides on BlockRequested", 1), ClockJumps("LSP_a", 3600.0, 200.0)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Rename(0)),
            (Failpoint("HTLC update LSP_a->C", 1), Crash("LSP_a", 1.0)),
            (Failpoint("LSP_a has stored Tick", 1), Wake("A", 60.0)),
            (Failpoint("LSP_a decides on LinkChanged", 4), Crash("LSP_a", 1.0)),
        ),
    ),
    # B is paid while the node of LSP_b is down, and the router takes its own HTLC back before LSP_b runs again. A real
    # node loses this, too: the check blamed the component (like schedule 20261122004144, without a final loss).
    "a node that is dead until its peer takes its HTLC back": Schedule(
        Setup(),
        (
            (Failpoint("HTLC update B->LSP_b", 1), NodeCrash("LSP_b", 400.0)),
            *((Failpoint("HTLC update B->LSP_b", 1), Mine(60)) for _ in range(5)),
        ),
    ),
    "a node that dies with a stranger's HTLC on its way": Schedule(
        Setup(payer_lsp="CLN"),
        (
            (Failpoint("LSP_a decides on BlockRequested", 1), Sleep("B", silently=True)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Attack("sends an HTLC with A's payment hash")),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Crash("LSP_a", 1.0)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Mine(60)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Mine(20)),
            (Failpoint("LSP_a decides on HtlcSnapshot", 2), NodeCrash("LSP_b", 400.0)),
        ),
    ),
    # 400 s without a process did not count at the first start, where the clock was a day ahead; they counted at the
    # second, after the clock was corrected. So B was notified again after 9 s (schedule 20261122001518).
    "a clock that is put right between two restarts": Schedule(
        Setup(payee_awake=False, payee_wakes_after=200.0, turbulence_seconds=4000.0),
        (
            (Failpoint("LSP_b decides on OnionInTransit", 2), Crash("LSP_b", 400.0)),
            (Failpoint("B's wallet decides on LinkChanged", 2), ClockJumps("LSP_b", 86_400.0, 280.0)),
            (Failpoint("LSP_b decides on NotificationReported", 3), Crash("LSP_b", 1.0)),
        ),
    ),
    # LSP_b delivers A's message, which is lost on its way to B, and so notifies B of a repetition an hour later only.
    # The check expected B to be paid within twenty minutes (schedule 20261128100001568).
    "a message that was lost after it was delivered": Schedule(
        Setup(payee_awake=False, payee_stays=3.0, turbulence_seconds=200.0),
        (
            (Failpoint("payment_pending A->LSP_a", 1), Lost()),
            (Failpoint("payment_pending router->LSP_b", 1), Lost()),
            (Failpoint("LSP_b has stored OnionInTransit", 1), Crash("LSP_b", 1.0)),
            (Failpoint("payment_pending LSP_b->B", 1), Lost()),
            (Failpoint("LSP_a has stored Tick", 5), Attack("floods B with messages")),
            (Failpoint("payment_pending LSP_a->router", 5), Lost()),
            (Failpoint("LSP_b has stored DeliveryReported", 2), Crash("LSP_b", 400.0)),
        ),
    ),
    # LSP_a's node is killed with the order to pay on behalf in transit. In the simulator that call never ended, and the
    # block waited for its end for good; a real call ends with an error (schedule 20261128101010452).
    "a node that dies with an order to pay in transit": Schedule(
        Setup(shared=True, payer_leaves=30.0),
        (
            *((Failpoint("payment_release B->LSP_a", number), Lost()) for number in range(1, 5)),
            (Failpoint("LSP_a is told to pay", 1), NodeCrash("LSP_a", 1.0)),
        ),
    ),
    # B's wallet starts for the first time with a clock an hour back, which is right at its second start. It has no
    # other time to compare the clock with, so its time leaps: the check blamed it (schedule 20261128101031868).
    "a clock that is put right after a first start": Schedule(
        Setup(payee_awake=False),
        (
            (Failpoint("LSP_a decides on BlockRequested", 1), ClockJumps("B's wallet", -3600.0, 280.0)),
            (Failpoint("LSP_a has stored HtlcOffered", 1), Sleep("A", silently=True)),
        ),
    ),
}
