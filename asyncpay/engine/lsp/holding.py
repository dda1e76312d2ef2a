"""HTLCs on their way through this node: which pass, which are held, and what becomes of them.

Every HTLC gets a record before it gets an answer, also one that merely passes. Nodes offer an HTLC again
after it was forwarded (lnd#5115, lnd#8172); by then a block or an absent client might ask for it to be held,
and to fail it later would pay for it out of the LSP's own pocket. What has a verdict keeps it.
"""

from dataclasses import replace
from hashlib import sha256

from asyncpay.engine.lsp import answers, blocks, deadlines, links, release, waiting, waking
from asyncpay.engine.lsp.effects import TakeCensus
from asyncpay.engine.lsp.events import AnswerUndelivered, Census
from asyncpay.engine.lsp.records import Block, Htlc, Method, Outcome
from asyncpay.engine.lsp.stages import FACTS, FINISHED, Stage, Trigger
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import HeldHtlc, HtlcKey, NodeId, Verdict
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled


def offered(turn: Turn, event: HtlcOffered) -> None:
    """The node wants to know what to do with an HTLC, for the first time or again."""
    turn.state.on_offer.add(event.htlc.key)
    known = turn.tables.htlcs.get(event.htlc.key)
    if known is None:
        _welcome(turn, event.htlc)
        return
    if known.gone and links.can_be_claimed(turn, known.htlc):
        known = replace(known, gone=False)
        turn.put(known)
    answers.give(turn, known)
    if known.block is None:
        reconsider_waiting(turn)
    else:
        release.review(turn, known.block)


def settled(turn: Turn, event: HtlcSettled) -> None:
    """The payee has taken an HTLC."""
    known = _concerned(turn, event.key)
    if known is None or known.outcome is not None:
        return
    if sha256(event.preimage).digest() != known.htlc.payment_hash:
        turn.log("settlement ignored", because=f"wrong preimage for HTLC {event.key}")
        return
    turn.put(replace(known, outcome=Outcome.SETTLED, preimage=event.preimage))
    _conclude(turn, event.key)


def failed(turn: Turn, event: HtlcFailed) -> None:
    """An HTLC that was resumed has failed, here or further on. That is final, for its siblings too."""
    known = _concerned(turn, event.key)
    if known is None or known.outcome is not None or known.verdict in (Verdict.FAIL, Verdict.SETTLE):
        return
    if known.verdict is None:  # the node gave up on it by itself
        gone(turn, HtlcGone(event.key))
        return
    turn.put(replace(known, outcome=Outcome.FAILED))
    if known.block is not None:
        _recall_unsent(turn, turn.tables.blocks[known.block])
    _conclude(turn, event.key)


def gone(turn: Turn, event: HtlcGone) -> None:
    """An HTLC cannot be answered any more."""
    known = turn.tables.htlcs.get(event.key)
    turn.state.forget_htlc(event.key)
    if known is None:
        return
    if known.block is None:
        turn.drop(known)
    else:
        _lose(turn, known, known.block)


def undelivered(turn: Turn, event: AnswerUndelivered) -> None:
    """An answer never left. The node offers the HTLC again; until then it is known not to be on its way."""
    if event.key in turn.state.tried_once:
        turn.state.tried_once.discard(event.key)
        turn.state.untried.add(event.key)


def take_census(turn: Turn) -> None:
    """Compare notes with the node: events may have been missed."""
    turn.state.census += 1
    turn.state.census_under_way = True
    turn.state.census_wanted = False
    turn.state.moved.clear()
    turn.do(TakeCensus(turn.state.census))


def take_census_in_time(turn: Turn) -> None:
    """The same, but after the one that is under way: else a peer that comes and goes all the time would see to it that
    every census is out of date before it arrives, and nobody would be told of anything.
    """
    if turn.state.census_under_way:
        turn.state.census_wanted = True
    else:
        take_census(turn)


def census(turn: Turn, event: Census) -> bool:
    """The node lists every HTLC that it has. What it lacks is gone. False for a list that a later one has overtaken."""
    if event.number != turn.state.census:
        return False
    turn.state.census_under_way = False
    if turn.state.newborn:
        turn.state.newborn = False
        _adopt(turn, event)
    present = {each.key for each in event.pending if each.incoming}
    for key in list(turn.tables.htlcs):
        if key not in present and key not in turn.state.moved:
            _missed(turn, turn.tables.htlcs[key])
    _see_results(turn, event, present)
    soonest = turn.state.soonest_expiry
    soonest.clear()
    for each in event.pending:
        soonest[each.peer] = min(each.expiry, soonest.get(each.peer, each.expiry))
    return True


def take_wanted_census(turn: Turn) -> None:
    """Take the census that was to follow the one that has just been dealt with."""
    if turn.state.census_wanted:
        take_census(turn)


def rename(turn: Turn) -> None:
    """Earlier releases kept an HTLC by a name of its channel, which may change: give those their channel's id."""
    for key, known in list(turn.tables.htlcs.items()):
        name = key.channel_id.name
        link = None if name is None else turn.state.channels.named(name)
        if link is None or link.channel_id == key.channel_id:
            continue
        turn.drop(known)
        turn.put(replace(known, htlc=replace(known.htlc, key=HtlcKey(link.channel_id, key.htlc_id))))


def reconsider_waiting(turn: Turn) -> None:
    """Forward what waited for a client that is there now, fail what has waited for long enough."""
    for held in turn.tables.waiting():
        if deadlines.waited_enough(turn, held):
            answers.decide(turn, held, Verdict.FAIL)
        elif held.key in turn.state.on_offer and links.can_forward(turn, held.htlc):
            answers.decide(turn, held, Verdict.RESUME)


def _missed(turn: Turn, missing: Htlc) -> None:
    """An HTLC is on no open channel. If it went on chain with its channel, a preimage still claims it there."""
    on_chain = missing.key in turn.state.on_offer and not links.can_be_claimed(turn, missing.htlc)
    if on_chain and missing.block is not None:
        _lose(turn, missing, missing.block)
    else:
        gone(turn, HtlcGone(missing.key))


def _lose(turn: Turn, part: Htlc, block: bytes) -> None:
    """A part can be forwarded or returned no more."""
    if part.gone:
        return
    turn.put(replace(part, gone=True))
    if part.verdict is None:
        blocks.advance(turn, block, Trigger.PART_LOST)


def _welcome(turn: Turn, offered_htlc: HeldHtlc) -> None:
    """An HTLC is offered for the first time. Whatever its onion says, it carries no more than it brings."""
    carried = min(offered_htlc.outgoing_amount_msat, offered_htlc.incoming_amount_msat)
    htlc = replace(offered_htlc, outgoing_amount_msat=carried)
    turn.state.moved.add(htlc.key)
    block = turn.tables.block_for(htlc.peer, htlc.payment_hash)
    if block is not None:
        _welcome_to_block(turn, htlc, block)
        return
    held = Htlc(htlc=htlc, block=None, offered_at=turn.now, verdict=None)
    client = links.next_peer(turn, htlc)
    if client is not None and waiting.admit(turn, held, client):
        turn.put(held)
        waking.wake(turn, client, Method.PAYMENT_INCOMING)
    else:
        _answer_at_once(turn, held, Verdict.RESUME)


def _welcome_to_block(turn: Turn, htlc: HeldHtlc, block: Block) -> None:
    newcomer = FACTS[block.stage].newcomer
    if newcomer is not None:
        held = Htlc(htlc=htlc, block=None, offered_at=turn.now, verdict=None)
        _answer_at_once(turn, held, newcomer)
        return
    turn.put(Htlc(htlc=htlc, block=block.key, offered_at=turn.now, verdict=None))
    if block.first_part_at is None:
        turn.put(replace(block, first_part_at=turn.now))
    turn.log("part", block, because=str(htlc.key))
    if _over_limit(turn, block.client):
        blocks.advance(turn, block.key, Trigger.OVER_LIMIT)
    elif not blocks.end_if_over(turn, block.key):
        _count(turn, block.key)


def _count(turn: Turn, unblock_hash: bytes) -> None:
    """See whether the set is complete. It stays so; a part more is one more to tell the payer of."""
    block = turn.tables.blocks[unblock_hash]
    parts = turn.tables.parts(block)
    covered = {part.htlc.payment_hash for part in parts} == set(block.payment_hashes)
    if covered and sum(part.htlc.outgoing_amount_msat for part in parts) >= block.amount_msat:
        if not blocks.advance(turn, unblock_hash, Trigger.COMPLETE):
            blocks.tell(turn, unblock_hash)
        release.review(turn, unblock_hash)


def _over_limit(turn: Turn, client: NodeId) -> bool:
    held = [
        part
        for block in turn.tables.blocks_of(client)
        if block.stage not in FINISHED
        for part in turn.tables.parts(block)
        if part.verdict is None
    ]
    value = sum(part.htlc.incoming_amount_msat for part in held)
    return len(held) > turn.policy.max_holds or value > turn.policy.max_held_msat


def _answer_at_once(turn: Turn, held: Htlc, verdict: Verdict) -> None:
    turn.put(replace(held, verdict=verdict))
    answers.give(turn, turn.tables.htlcs[held.key])


def _recall_unsent(turn: Turn, block: Block) -> None:
    """A set that has lost a part can only fail: parts of which the node does not know yet need not go."""
    for part in turn.tables.parts(block):
        if part.key in turn.state.untried and part.verdict is Verdict.RESUME:
            turn.put(replace(part, verdict=Verdict.FAIL, outcome=Outcome.FAILED))


def _concerned(turn: Turn, key: HtlcKey) -> Htlc | None:
    """The HTLC, if anything depends on its outcome: its block, or a client who may have to come for it."""
    known = turn.tables.htlcs.get(key)
    if known is None or (known.block is None and not turn.tables.is_client(known.htlc.peer)):
        return None
    return known


def _conclude(turn: Turn, key: HtlcKey) -> None:
    """An HTLC's outcome is known: so may be its block's, and its payer has something to come back for."""
    known = turn.tables.htlcs[key]
    waking.wake(turn, known.htlc.peer, Method.SETTLEMENT_PENDING)
    if known.block is None:
        return
    block = turn.tables.blocks[known.block]
    outcomes = [part.outcome for part in turn.tables.parts(block)]
    if block.stage is not Stage.RELEASED or None in outcomes:
        return
    taken = Outcome.SETTLED in outcomes
    blocks.advance(turn, block.key, Trigger.SETTLED_BY_PAYEE if taken else Trigger.RETURNED_BY_NETWORK)


def _see_results(turn: Turn, event: Census, present: set[HtlcKey]) -> None:
    """An HTLC that is no longer on its way, and not yet back, has a result that waits for its payer.

    Mostly an event has said so before; but not if it came while this process was away.
    """
    on_the_way = {each.payment_hash for each in event.pending if not each.incoming}
    turn.state.resolved_ahead = {
        known.key
        for known in turn.tables.htlcs.values()
        if known.verdict is Verdict.RESUME
        and known.htlc.payment_hash not in on_the_way
        and known.key in present
        and known.key not in turn.state.on_offer
        and known.key not in turn.state.moved
    }


def _adopt(turn: Turn, event: Census) -> None:
    """At its very first start the LSP finds HTLCs that the node let pass without it: that verdict stands."""
    for each in event.pending:
        blocked = turn.tables.block_for(each.peer, each.payment_hash) is not None
        if not each.incoming or blocked or each.key in turn.tables.htlcs:
            continue
        htlc = HeldHtlc(
            key=each.key,
            payment_hash=each.payment_hash,
            peer=each.peer,
            incoming_amount_msat=each.amount_msat,
            outgoing_amount_msat=each.amount_msat,
            incoming_expiry=each.expiry,
            outgoing_expiry=each.expiry,
        )
        turn.put(Htlc(htlc=htlc, block=None, offered_at=turn.now, verdict=Verdict.RESUME))
