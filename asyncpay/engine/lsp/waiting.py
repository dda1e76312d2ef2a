"""Fair shares of the slots in which HTLCs wait for an offline client.

The slots of a client, and their value, are few. Anybody may send it HTLCs, and whose they are the node does not know:
it knows the peer that they came from. So they are shared by peer, and within one peer those that cost their
sender the least make room: of too many HTLCs the smallest, of too much value the largest.
"""

from collections import Counter

from asyncpay.engine.lsp import answers, deadlines, links
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import NodeId, Verdict


def admit(turn: Turn, newcomer: Htlc, client: NodeId) -> bool:
    """Whether an HTLC waits for its client. If others have to make room for it, they are failed back."""
    if not turn.tables.is_client(client) or links.way_on(turn, newcomer.htlc):
        return False
    if deadlines.near_expiry(turn, newcomer.htlc):
        return False
    waiting = [each for each in turn.tables.waiting() if links.next_peer(turn, each.htlc) == client]
    displaced = _displaced(turn, [*waiting, newcomer])
    if newcomer in displaced:
        return False
    for each in displaced:
        turn.log("waiting HTLC displaced", because=f"{each.key} makes room for {newcomer.key}")
        answers.decide(turn, each, Verdict.FAIL)
    return True


def _displaced(turn: Turn, candidates: list[Htlc]) -> list[Htlc]:
    """Those, of one client's HTLCs in the order in which they came, that do not fit into its slots."""
    displaced: list[Htlc] = []
    while True:
        if len(candidates) > turn.policy.max_waiting:
            share = Counter(each.htlc.peer for each in candidates)
            first = min
        elif sum(map(_value_msat, candidates)) > turn.policy.max_waiting_msat:
            share = Counter()
            for each in candidates:
                share[each.htlc.peer] += _value_msat(each)
            first = max
        else:
            return displaced
        greediest = max(share.values())
        # Among equals the latest goes: `min` and `max` take the first that they find.
        theirs = [each for each in reversed(candidates) if share[each.htlc.peer] == greediest]
        displaced.append(first(theirs, key=_value_msat))
        candidates.remove(displaced[-1])


def _value_msat(waiting: Htlc) -> int:
    return waiting.htlc.outgoing_amount_msat
