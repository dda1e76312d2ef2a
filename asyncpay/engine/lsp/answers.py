"""Verdicts on HTLCs: decided once, stored, and given as often as the node asks."""

from dataclasses import replace

from asyncpay.engine.lsp import deadlines, links
from asyncpay.engine.lsp.effects import Answer
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.turn import Turn
from asyncpay.lightning import Verdict


def decide(turn: Turn, held: Htlc, verdict: Verdict) -> None:
    """Store the verdict on an HTLC that has none, and give it if the node is waiting."""
    assert held.verdict is None, f"HTLC {held.key} was decided before"
    turn.put(replace(held, verdict=verdict))
    turn.state.untried.add(held.key)
    give(turn, turn.tables.htlcs[held.key])


def give(turn: Turn, decided: Htlc) -> None:
    """Tell the node, if it waits for this HTLC and the verdict can be carried out. On chain only a preimage counts."""
    if decided.key not in turn.state.on_offer or decided.verdict is None:
        return
    if decided.gone and decided.verdict is not Verdict.SETTLE:
        turn.state.on_offer.discard(decided.key)
        return
    if not _is_time(turn, decided):
        return
    turn.state.on_offer.discard(decided.key)
    turn.state.tried(decided.key)
    turn.state.moved.add(decided.key)
    turn.do(Answer(decided.key, decided.verdict, decided.preimage))


def give_all(turn: Turn) -> None:
    """Try again whatever is decided and not yet given: channels, height or time have changed."""
    for key in sorted(turn.state.on_offer):
        give(turn, turn.tables.htlcs[key])


def _is_time(turn: Turn, decided: Htlc) -> bool:
    """A part that was released, then offered again after a crash, waits for its channels once more.

    To resume it without them would fail it while its siblings go through. It never waits beyond the block's
    deadlines: it may be on its way already, so then the node must know what to do.
    """
    if decided.verdict is not Verdict.RESUME or decided.block is None:
        return True
    block = turn.tables.blocks[decided.block]
    return links.can_forward(turn, decided.htlc) or deadlines.over(turn, block) is not None
