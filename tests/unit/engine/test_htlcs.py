"""HTLCs: what passes, what is held, and when a set of parts is complete."""

import pytest

from asyncpay.engine.lsp.interface import HtlcSnapshot, ResolutionUndelivered, ResolveHtlc, WebhookSet
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import ChannelId, HtlcKey, Resolution
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled
from asyncpay.wire.messages import BlockState

from .factories import CHANNEL_A, CHANNEL_A2, CHANNEL_B, HASH, PREIMAGE, ROUTER, A, B
from .harness import LspHarness

OTHER = b"h" * 32


def test_an_htlc_without_a_block_passes_at_once_with_one_answer() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay(payment_hash=OTHER)
    assert harness.answered(key) == [[Resolution.RESUME]]
    assert harness.fates() == ["forwarded"]


def test_an_htlc_of_another_peer_with_a_blocked_hash_passes() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay(peer=ROUTER, channel=CHANNEL_B)
    assert harness.fates() == ["forwarded"]
    assert harness.state() is State.ACCEPTED


def test_parts_over_two_channels_of_the_payer_are_one_set() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    harness.pay()
    assert (harness.state(), harness.updates()) == (State.ACCEPTED, [])
    harness.pay(channel=CHANNEL_A2)
    assert (harness.state(), harness.updates()) == (State.HELD, [(BlockState.HELD, 2)])
    assert harness.fates() == ["held", "held"]


@pytest.mark.parametrize(("amount", "state"), [(999, State.ACCEPTED), (1000, State.HELD), (1001, State.HELD)])
def test_the_sum_of_outgoing_amounts_must_be_reached(amount: int, state: State) -> None:
    harness = LspHarness()
    harness.block(amount_msat=1000)
    harness.pay(amount)
    assert harness.state() is state


def test_a_part_counts_for_no_more_than_it_brings() -> None:
    """The onion is the payer's to write; 2^64 - 1 must not even be too much for the store."""
    harness = LspHarness()
    harness.block(amount_msat=1011)
    harness.pay(1000, outgoing_amount_msat=2**64 - 1)
    assert harness.state() is State.ACCEPTED
    (record,) = (record for record in harness.stored.values() if isinstance(record, Htlc))
    assert record.htlc.outgoing_amount_msat == 1010


def test_every_hash_needs_a_part_however_large_the_sum() -> None:
    harness = LspHarness()
    harness.block(payment_hashes=(HASH, OTHER))
    harness.pay(5000)
    assert harness.state() is State.ACCEPTED
    harness.pay(1, payment_hash=OTHER)
    assert harness.state() is State.HELD


def test_completeness_is_sticky_and_one_part_more_is_counted_and_told() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.pay()
    assert harness.state() is State.HELD
    assert harness.updates() == [(BlockState.HELD, 1), (BlockState.HELD, 2)]
    harness.release()
    assert harness.fates() == ["forwarded", "forwarded"]


def test_later_parts_pass_after_a_release() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    late = harness.pay()
    assert harness.answered(late) == [[Resolution.RESUME]]
    assert harness.updates()[-1] == (BlockState.RELEASED, 1)


def test_what_has_passed_is_never_held_nor_failed_later() -> None:
    """lnd#5115: an HTLC is offered again after it was forwarded; by then its payer has asked for a block."""
    harness = LspHarness()
    key = harness.pay()
    harness.block()
    harness.replay(key)
    harness.cancel()
    harness.restart()
    harness.replay(key)
    assert harness.answered(key)[0] == [Resolution.RESUME] * 3
    assert harness.losses == []


def test_what_has_passed_to_a_client_is_never_failed_when_that_client_goes_away() -> None:
    harness = LspHarness()
    key = harness.pay(outgoing_channel=CHANNEL_B, peer=ROUTER)
    harness.disconnect(B)
    harness.restart()
    harness.replay(key)
    harness.sleep(3600)
    assert set(harness.answered(key)[0]) == {Resolution.RESUME}
    assert harness.losses == []


def test_htlcs_from_before_the_very_first_start_have_passed() -> None:
    harness = LspHarness(clients=())
    harness.detach()
    harness.stored.clear()
    key = HtlcKey(ChannelId.from_name(CHANNEL_A), 7)
    harness.htlcs[key] = harness.htlcs.get(key) or _forwarded(harness, key)
    harness.start()
    harness.feed(WebhookSet(B, "phone", "https://push.example/x"))
    harness.disconnect(B)
    harness.block()
    harness.replay(key)
    harness.sleep(600)
    assert harness.losses == []
    assert harness.answered(key) == [[Resolution.RESUME]]


def _forwarded(harness: LspHarness, key: HtlcKey):  # type: ignore[no-untyped-def]
    made = LspHarness()
    there = made.pay(outgoing_channel=CHANNEL_B)
    each = made.htlcs[there]
    each.htlc = type(each.htlc)(
        key=key,
        payment_hash=HASH,
        peer=A,
        incoming_amount_msat=1010,
        outgoing_amount_msat=1000,
        incoming_expiry=harness.height + 200,
        outgoing_expiry=harness.height + 160,
        outgoing_channel=CHANNEL_B,
    )
    each.answers.clear()
    return each


def test_a_part_offered_again_is_held_again_and_not_counted_twice() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    key = harness.pay()
    harness.replay(key)
    harness.restart()
    assert harness.state() is State.ACCEPTED
    assert harness.answered(key) == [[]]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE])
def test_a_lost_part_fails_the_others_back(state: State) -> None:
    harness = LspHarness()
    harness.disconnect(ROUTER)
    harness.block(amount_msat=1000 if state in (State.HELD, State.DUE) else 5000)
    lost, other = harness.pay(channel=CHANNEL_A2), harness.pay()
    if state in (State.UNLOCKED, State.DUE):
        harness.release()
    assert harness.state() is state
    harness.close_channel(CHANNEL_A2)
    assert harness.state() is State.FAILED_BACK
    assert harness.answered(lost, other) == [[], [Resolution.FAIL]]
    harness.release()
    assert harness.state() is State.FAILED_BACK


@pytest.mark.parametrize("event", [HtlcGone, HtlcFailed])
def test_a_part_that_the_node_gave_up_on_counts_as_lost(event: type[HtlcGone | HtlcFailed]) -> None:
    harness = LspHarness()
    harness.block()
    gone, other = harness.pay(), harness.pay()
    harness.feed(event(gone))
    assert harness.state() is State.FAILED_BACK
    assert harness.answered(gone, other) == [[], [Resolution.FAIL]]


def test_an_old_snapshot_says_nothing_of_what_was_offered_since() -> None:
    harness = LspHarness()
    harness.block()
    number = harness.engine.state.snapshot_number
    harness.pay()
    harness.feed(HtlcSnapshot(number, ()))
    assert harness.state() is State.HELD


def test_more_than_the_client_may_hold_fails_its_set_back() -> None:
    harness = LspHarness(policy=LspPolicy(max_holds=2))
    harness.block(amount_msat=9000)
    keys = [harness.pay() for _ in range(3)]
    assert harness.state() is State.FAILED_BACK
    assert harness.answered(*keys) == [[Resolution.FAIL]] * 3


@pytest.mark.parametrize(("limit", "state"), [(2020, State.HELD), (2019, State.FAILED_BACK)])
def test_the_value_really_held_is_limited(limit: int, state: State) -> None:
    harness = LspHarness(policy=LspPolicy(max_held_msat=limit))
    harness.block(amount_msat=2000)
    harness.pay()
    harness.pay()  # each brings 1010 in
    assert harness.state() is state


def test_the_payee_takes_the_parts() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.disconnect(A)
    harness.payee_settles()
    assert harness.state() is State.SETTLED
    assert "async_payments.settlement_pending" in harness.pushes(A)
    harness.connect(A)
    assert harness.updates()[-1] == (BlockState.SETTLED, 1)


def test_a_settlement_with_a_wrong_preimage_is_not_believed() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.release()
    harness.feed(HtlcSettled(key, b"x" * 32))
    assert harness.state() is State.RELEASED


def test_a_released_set_that_comes_back_is_told_as_failed() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    keys = harness.pay(), harness.pay()
    harness.release()
    harness.payee_fails(keys[0])
    assert harness.state() is State.RELEASED
    harness.payee_fails(keys[1])
    assert harness.state() is State.RETURNED
    assert harness.updates()[-1] == (BlockState.FAILED_BACK, 2)


def test_parts_that_never_left_are_failed_when_a_sibling_has_failed() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    first, second = harness.pay(), harness.pay()
    harness.release()
    harness.htlcs[second].fate, harness.htlcs[second].forwarded = "held", False  # the stream broke in between
    harness.feed(ResolutionUndelivered(second))
    harness.detach()
    harness.payee_fails(first)
    harness.feed(HtlcFailed(first))
    harness.attach()
    assert harness.htlcs[second].answers[-1] is Resolution.FAIL
    assert harness.losses == []
    assert harness.state() is State.RETURNED


def test_a_part_that_may_have_left_is_not_failed_when_a_sibling_has_failed() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    first, second = harness.pay(), harness.pay()
    harness.release()
    harness.restart()  # this process does not know what the last one managed to say
    harness.feed(ResolutionUndelivered(second))
    harness.payee_fails(first)
    harness.replay(second)
    assert harness.losses == []


def test_nor_one_whose_second_answer_was_lost() -> None:
    harness = LspHarness()
    harness.block(amount_msat=2000)
    first, second = harness.pay(), harness.pay()
    harness.release()
    harness.replay(second)
    harness.feed(ResolutionUndelivered(second))
    harness.payee_fails(first)
    harness.replay(second)
    assert harness.losses == []


def test_records_of_passing_htlcs_do_not_pile_up() -> None:
    harness = LspHarness()
    key = harness.pay(payment_hash=OTHER)
    harness.mine()
    assert (Htlc, key) in harness.stored
    harness.payee_fails(key)
    harness.mine()
    assert not [kind for kind, _ in harness.stored if kind is Htlc]


def test_an_htlc_offered_again_after_it_was_thought_gone_is_answered_alike() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.cancel()
    harness.feed(HtlcGone(key))
    effects = harness.feed(HtlcOffered(harness.htlcs[key].htlc))
    assert [effect.resolution for effect in effects if isinstance(effect, ResolveHtlc)] == [Resolution.FAIL]
    assert sum(kind is Htlc for kind, _ in harness.stored) == 1
    assert PREIMAGE
