"""What was claimed from a payer who stays away is taken on chain, before a node that forgot it fails the HTLC."""

from dataclasses import replace
from typing import Any

import pytest

from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import ForceClose, ForceCloseReported, HtlcSnapshot, Log, RequestHtlcSnapshot
from asyncpay.engine.lsp.lookups import LspRecords
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.schedule import Schedule
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import Capability, ChannelId, HeldHtlc, HtlcKey, Resolution
from asyncpay.node_events import HtlcOffered

from .factories import CHANNEL_A, CHANNEL_A2, CUTOFF_BLOCKS, FINAL_EXPIRY, HASH, PREIMAGE, START, A, cln, lnd
from .harness import LspHarness, payer_away, paying_on_behalf

EXPIRY = FINAL_EXPIRY + 80
"""Of A's HTLC."""
CLOSES_AT = EXPIRY - 40
ID_A, ID_A2 = ChannelId.from_name(CHANNEL_A), ChannelId.from_name(CHANNEL_A2)


def claimed(harness: LspHarness | None = None) -> LspHarness:
    """The LSP has paid on behalf and claimed, and A is still away."""
    harness = paying_on_behalf() if harness is None else harness
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED
    harness.effects.clear()
    return harness


@pytest.mark.parametrize("forgotten", [True, False], ids=["its node was restarted", "its node was not"])
def test_at_forty_blocks_its_channel_is_force_closed_once(forgotten: bool) -> None:
    """The LSP cannot know whether the node still has the claim."""
    harness = claimed()
    if forgotten:
        harness.restart_node()
    harness.mine_to(CLOSES_AT - 1)
    assert harness.force_closes == []
    harness.mine()
    assert harness.force_closes == [ID_A]
    (said,) = [each for each in harness.did(Log) if each.what == "force-close"]
    assert said.because == f"HTLC {ID_A}/0 is claimed and expires in 40 blocks"
    harness.mine(60)
    assert harness.force_closes == [ID_A]
    harness.connect(A)
    assert harness.losses == []


def test_without_it_a_payer_that_comes_back_late_takes_back_what_was_paid() -> None:
    """What the node does is played here as LND does it: this is the loss."""
    harness = claimed()
    harness.closes_channels = False
    harness.restart_node()
    harness.mine_to(EXPIRY - 21)
    harness.connect(A)
    assert harness.losses == [f"{ID_A}/0 was claimed, and the node has failed it"]


def payer_away_and_paying(harness: LspHarness) -> LspHarness:
    payer_away(harness).release()
    return harness


def test_a_payer_that_is_back_in_time_takes_it_and_keeps_its_channel() -> None:
    harness = claimed()
    harness.restart_node()
    harness.mine_to(CLOSES_AT - 1)
    harness.connect(A)
    harness.mine(40)
    assert (harness.force_closes, harness.fates(), harness.losses) == ([], ["settled"], [])


def test_offered_again_while_the_snapshot_is_taken_it_gets_a_block_more() -> None:
    """The payer is back: the list of HTLCs is older than the answer to the one that was offered anew."""
    harness = SlowNode()
    claimed(payer_away_and_paying(harness))
    harness.restart_node()
    harness.slow = True
    harness.mine_to(CLOSES_AT)
    [each] = harness.htlcs.values()
    harness.feed(HtlcOffered(each.htlc))
    snapshot = tuple(harness._pending())
    harness.feed(HtlcSnapshot(harness.did(RequestHtlcSnapshot)[-1].number, snapshot))
    assert harness.force_closes == []
    harness.slow = False
    harness.mine()
    assert harness.force_closes == [ID_A], "it is still there"


def test_a_list_that_a_later_one_has_overtaken_closes_nothing() -> None:
    harness = SlowNode()
    claimed(payer_away_and_paying(harness))
    harness.slow = True
    harness.mine_to(CLOSES_AT)
    number, pending = harness.did(RequestHtlcSnapshot)[-1].number, tuple(harness._pending())
    harness.mine()
    harness.feed(HtlcSnapshot(number, pending))
    assert harness.force_closes == []
    harness.feed(HtlcSnapshot(number + 1, pending))
    assert harness.force_closes == [ID_A]


class SlowNode(LspHarness):
    """A node that has not told yet what is on its channels."""

    slow = False

    def _carry_out(self, effect: Any) -> None:
        if not (self.slow and isinstance(effect, RequestHtlcSnapshot)):
            super()._carry_out(effect)


def test_what_is_not_done_is_asked_for_again_with_the_next_block() -> None:
    harness = claimed()
    harness.closes_channels = False
    harness.mine_to(CLOSES_AT + 2)
    assert harness.force_closes == [ID_A] * 3


def test_nothing_is_asked_for_again_while_the_node_is_at_it_until_it_is_lost_sight_of() -> None:
    harness = claimed()
    harness.closes_channels = harness.tells_closes = False
    harness.mine_to(CLOSES_AT + 2)
    assert harness.force_closes == [ID_A]
    harness.detach()
    harness.attach()
    assert harness.force_closes == [ID_A] * 2


@pytest.mark.parametrize("late_blocks", [0, 5, 25, 60])
def test_a_process_that_was_away_at_that_height_does_it_at_its_start(late_blocks: int) -> None:
    harness = claimed()
    harness.attached = False
    harness.mine_to(CLOSES_AT + late_blocks)
    harness.start()
    assert harness.force_closes == [ID_A]


def test_killed_before_it_asks_it_asks_after_its_start() -> None:
    harness = claimed()
    harness.crash_before = ForceClose
    harness.mine_to(CLOSES_AT)
    assert harness.force_closes == [ID_A]
    assert harness.losses == []


def test_every_channel_that_a_part_came_in_on_is_closed() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(600), harness.pay(300), harness.pay(600, channel=CHANNEL_A2)
    harness.disconnect(A)
    harness.release()
    claimed(harness)
    harness.mine_to(CLOSES_AT)
    assert sorted(harness.force_closes) == [ID_A, ID_A2]


def test_parts_are_closed_for_each_in_its_time() -> None:
    harness = LspHarness()
    harness.block(invoice="lnbcrt1")
    harness.pay(600, incoming_expiry=EXPIRY + 10)
    harness.pay(600, channel=CHANNEL_A2)
    harness.disconnect(A)
    harness.release()
    claimed(harness)
    harness.mine_to(CLOSES_AT)
    assert harness.force_closes == [ID_A2]
    harness.mine_to(CLOSES_AT + 10)
    assert harness.force_closes == [ID_A2, ID_A]


def test_what_was_forwarded_or_failed_closes_nothing() -> None:
    """Of those the node keeps what became of them; and what it was to fail it fails by itself, too."""
    harness = LspHarness()
    harness.block()
    harness.pay(1100)
    harness.release()
    harness.disconnect(A)
    harness.payee_settles()
    harness.mine_to(EXPIRY - 20)
    assert (harness.state(), harness.force_closes) == (State.SETTLED, [])


def test_a_channel_that_is_on_chain_already_is_left_alone() -> None:
    harness = claimed()
    harness.close_channel(CHANNEL_A)
    harness.mine_to(CLOSES_AT + 1)
    assert harness.force_closes == []


def test_a_node_that_keeps_what_it_is_told_needs_no_close() -> None:
    able = replace(lnd(), keeps_settlements=Capability(True, "played"))
    harness = claimed(payer_away_and_paying(LspHarness(able)))
    harness.mine_to(EXPIRY - 20)
    assert harness.force_closes == []


def test_a_report_on_a_channel_that_nobody_asked_about_is_nothing() -> None:
    claimed().feed(ForceCloseReported(ID_A2))


@pytest.mark.parametrize("blocks", [-1, 0, CUTOFF_BLOCKS + 7, CUTOFF_BLOCKS + 144 + 1, 2**63])
def test_too_near_the_expiry_or_too_far_from_it_is_refused_at_the_start(blocks: int) -> None:
    with pytest.raises(
        ValueError, match=rf"force_close_blocks = {blocks} is out of range: set it to {CUTOFF_BLOCKS + 8} or more, and"
    ):
        Lsp(LspPolicy(settle_force_close_blocks=blocks), lnd())


@pytest.mark.parametrize("blocks", [CUTOFF_BLOCKS + 8, CUTOFF_BLOCKS + 144])
def test_the_limits_themselves_are_allowed(blocks: int) -> None:
    Lsp(LspPolicy(settle_force_close_blocks=blocks), lnd())


def test_where_it_is_not_needed_any_number_will_do() -> None:
    Lsp(LspPolicy(settle_force_close_blocks=0), cln())


def test_only_what_is_about_to_expire_is_looked_at() -> None:
    """However many parts are claimed and wait for their payers."""
    schedule = Schedule(LspPolicy(), LspRecords())
    parts = {each.key: each for number in range(1000) if (each := part(number, expiry=EXPIRY + number % 100))}
    for each in parts.values():
        schedule.put(each)

    def expiries(height: int) -> list[int]:
        return [parts[key].htlc.incoming_expiry for key in schedule.claimed.due(height)]

    assert expiries(EXPIRY + 1) == [EXPIRY] * 10 + [EXPIRY + 1] * 10
    for each in list(parts.values())[::100]:
        schedule.put(replace(each, gone=True))
    assert set(expiries(EXPIRY + 1)) == {EXPIRY + 1}
    for each in parts.values():
        schedule.drop(each)
    assert expiries(EXPIRY + 1000) == []


def part(number: int, expiry: int) -> Htlc:
    """A part of a block that is claimed."""
    htlc = HeldHtlc(
        key=HtlcKey(ID_A, number),
        payment_hash=HASH,
        peer=A,
        incoming_amount_msat=1,
        outgoing_amount_msat=1,
        incoming_expiry=expiry,
        outgoing_expiry=expiry,
    )
    return Htlc(htlc=htlc, block=bytes(32), offered_at=START, resolution=Resolution.SETTLE, preimage=PREIMAGE)
