"""How patient a payee is: every number a user may set, with the protocol's defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeePolicy:
    """release_seconds: between two releases of one claim; doubles up to release_most_seconds.
    max_releases: of one claim, until it is announced again.
    max_claims: live ones for one payment hash.
    unsynced_seconds: before a release that the node was not ready for is tried again, unless a block comes before.
    old_tip_seconds: how long a node that takes its best block for too old must stay connected and without another,
    until it is believed to have followed the chain: by then bitcoind drops a dead connection (TIMEOUT_INTERVAL).
    max_remembered: finished claims that are kept, so that strangers cannot fill the disk; the oldest go first, and
    those that were not proven before all others.
    accept_unproven: whether a payment is also released if its announcement does not prove to come from a holder of the
    invoice, as payers of other implementations may send it. Then everyone who knows a payment hash can find out
    whether this node waits for it.
    max_unproven_claims, max_unproven: live ones that were not proven, for one payment hash and in all.
    """

    release_seconds: float = 10
    release_most_seconds: float = 600
    max_releases: int = 20
    max_claims: int = 3
    unsynced_seconds: float = 60
    old_tip_seconds: float = 1200
    max_remembered: int = 1000
    accept_unproven: bool = False
    max_unproven_claims: int = 3
    max_unproven: int = 30
